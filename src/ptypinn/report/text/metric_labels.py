"""Plain words for figures of merit: label, unit and what a value means."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Word:
    """How a figure of merit is told to people."""

    label: str
    """Name in plain words."""
    meaning: str
    """What it says, and which value is good."""
    unit: str = ""
    """Unit, empty for pure numbers."""


@dataclass(frozen=True)
class Row:
    """One line of the table of figures."""

    name: str
    """Public name, as in JSON."""
    value: str
    """Value in four digits, or a dash."""
    word: Word
    """Label, unit and meaning."""
    note: str = ""
    """Why the value is absent, or at its limit."""
    number: float | None = None
    """The value itself."""


HEADLINE = (
    "residual_over_noise",
    "flux_closure",
    "output_vs_truth_ratio",
    "complex_error",
    "frc_half_bit_px",
    "split_half_frc_half_bit_px",
    "typical_uncertainty",
)
"""Figures that stand at the top of a report, where they are known."""

WORDS: dict[str, Word] = {
    "output_vs_truth_ratio": Word(
        "Amplitude scale", "Mean amplitude over that of the reference, without any fit; 1 is right."
    ),
    "complex_error": Word(
        "Complex error", "Relative distance to the reference after one global phase; 0 is perfect, scale errors count."
    ),
    "complex_error_after_factor": Word(
        "Complex error, scale forgiven", "The same after the best complex factor, as in most publications."
    ),
    "frc_half_bit_px": Word(
        "Resolution, half-bit",
        "Finest period on which two images agree by the half-bit criterion; 2 is the limit.",
        "px",
    ),
    "frc_half_px": Word("Resolution, 0.5", "Finest period with a Fourier ring correlation above 0.5.", "px"),
    "split_half_frc_half_bit_px": Word(
        "Resolution of two halves, half-bit", "The same between reconstructions of two halves of the positions.", "px"
    ),
    "split_half_frc_half_px": Word("Resolution of two halves, 0.5", "The same with the threshold 0.5.", "px"),
    "amplitude_residual": Word(
        "Amplitude residual",
        "Misfit of measured and predicted amplitudes over all photons; compare it with the next line.",
    ),
    "expected_residual": Word(
        "Residual of counting noise", "What a perfect model would leave if the counts are photons: the floor."
    ),
    "residual_over_noise": Word(
        "Residual over counting noise", "The ratio of the two: about 1 where the picture explains the data."
    ),
    "flux_closure": Word("Flux closure", "Predicted over measured photons; 1 is right, no truth needed."),
    "object_contrast": Word("Contrast", "Share of the object that is not uniform; near 0 the picture is flat."),
    "pearson_r_amplitude": Word(
        "Correlation, amplitude", "Pearson's r with the reference; 1 is perfect, 0 is unrelated."
    ),
    "pearson_r_phase": Word("Correlation, phase", "Pearson's r with the reference; 1 is perfect, 0 is unrelated."),
    "ssim_amplitude": Word("SSIM, amplitude", "Structural similarity with the reference; 1 is perfect."),
    "ssim_phase": Word("SSIM, phase", "Structural similarity with the reference; 1 is perfect."),
    "amplitude_mae": Word("Mean error, amplitude", "Mean absolute difference from the reference."),
    "amplitude_rmse": Word("RMS error, amplitude", "Root mean square difference from the reference."),
    "amplitude_psnr": Word("PSNR, amplitude", "Span of the reference over the RMS error; more is better.", "dB"),
    "phase_mae": Word("Mean error, phase", "Mean absolute wrapped difference from the reference.", "rad"),
    "phase_rmse": Word("RMS error, phase", "Root mean square wrapped difference from the reference.", "rad"),
    "phase_psnr": Word("PSNR, phase", "Span of the reference over the RMS error; more is better.", "dB"),
    "typical_uncertainty": Word(
        "Typical uncertainty", "Expected error of the transmission of a pixel, rms over well-lit pixels."
    ),
    "error_over_uncertainty": Word(
        "Error over uncertainty", "How large errors are against the uncertainty map, rms; 1 is right."
    ),
    "compared_pixels": Word("Pixels compared", "Well-lit pixels that the figures are taken on."),
}


def rows_of(metrics: Mapping[str, float], notes: Mapping[str, str]) -> list[Row]:
    """Lines of the table in their fixed order, known figures and those that a note explains; unknown names last."""
    names = [name for name in WORDS if name in metrics or name in notes]
    names += [name for name in metrics if name not in WORDS]
    return [row_of(name, metrics, notes) for name in names]


def row_of(name: str, metrics: Mapping[str, float], notes: Mapping[str, str]) -> Row:
    """One line of the table."""
    number = metrics.get(name)
    text = DASH if number is None else digits_of(number)
    return Row(name, text, word_of(name), notes.get(name, ""), number)


def word_of(name: str) -> Word:
    """How a figure is told; one without words of its own by its name."""
    return WORDS.get(name, Word(name.replace("_", " "), ""))


DASH = "–"  # noqa: RUF001 - a dash for people
LARGEST_PLAIN, SMALLEST_POWER, LARGEST_POWER = 1e5, -4, 5
_METRES = ((1.0, "m"), (1e-3, "mm"), (1e-6, "µm"), (1e-9, "nm"), (1e-12, "pm"))
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def digits_of(value: float, digits: int = 4) -> str:
    """Significant digits, with a power of ten from 100,000 on, smaller whole numbers in full; a dash for no number."""
    if not math.isfinite(value):
        return DASH
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    power = int(exponent)
    if float(value).is_integer() and abs(value) < LARGEST_PLAIN:
        return f"{value:.0f}"
    if SMALLEST_POWER <= power < LARGEST_POWER:
        return f"{value:.{max(0, digits - 1 - power)}f}"
    return f"{mantissa} × {power_of_ten(power)}"  # noqa: RUF001 - a sign for people


def power_of_ten(power: int) -> str:
    """A power of ten with its exponent raised."""
    return f"10{str(power).translate(_RAISED)}"


def metres(length: float, digits: int = 3) -> str:
    """A length with the SI prefix that suits it: `metres(2e-6)` is `2 µm`."""
    scale, unit = next((item for item in _METRES if abs(length) >= item[0] * (1 - 1e-9)), _METRES[-1])
    return f"{length / scale:.{digits}g} {unit}"
