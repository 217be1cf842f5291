"""The images of a reconstruction with their colour scales: what figures and pages draw, each in its own way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.metrics import phase_difference
from ptypinn.metrics.comparison import Comparison
from ptypinn.metrics.split import bounding_box
from ptypinn.report.figures.colours import (
    AMPLITUDE_MAP,
    COUNTS_MAP,
    DIFFERENCE_MAP,
    ColourScale,
    amplitude_scale,
    difference_scale,
    phase_scale,
    positive_scale,
    turn_scale,
)
from ptypinn.report.figures.display import Frame, View, reduced, step_for

MOST_MODES = 5
PROBE_PHASE_FLOOR = 0.03
DETAIL_PX = 512
"""Longest edge of the images that stand beside the object."""


@dataclass(frozen=True)
class ScaledImage:
    """An image that knows its title, its colours and its pixel."""

    title: str
    """A few words."""
    image: np.ndarray
    """Real values, (height, width); NaN where there is none."""
    scale: ColourScale
    """What the colours mean."""
    step: int = 1
    """Object pixels along the edge of a pixel."""


def object_images(view: View) -> list[ScaledImage]:
    """Amplitude and phase, their colours spread over the well-lit pixels."""
    lit = view.well_lit if view.well_lit.any() else np.isfinite(view.amplitude)
    return [
        ScaledImage("Amplitude", view.amplitude, amplitude_scale(view.amplitude[lit]), view.step),
        ScaledImage("Phase", view.phase, phase_scale(view.phase[lit]), view.step),
    ]


def probe_images(probe: np.ndarray) -> list[tuple[ScaledImage, ScaledImage]]:
    """Amplitude and phase of the strongest modes; the phase where there is light."""
    found = []
    for number, share in enumerate(mode_shares(probe)[:MOST_MODES], start=1):
        mode = probe[number - 1].astype(np.complex128)
        amplitude = np.abs(mode)
        lit = amplitude > PROBE_PHASE_FLOOR * amplitude.max()
        scale = ColourScale(AMPLITUDE_MAP, 0.0, max(float(amplitude.max()), 1e-12), "sqrt(photons)")
        first = ScaledImage(f"Mode {number}: {100 * share:.1f} %", amplitude, scale)
        found.append((first, ScaledImage("Phase", np.where(lit, np.angle(mode), np.nan), turn_scale())))
    return found


def mode_shares(probe: np.ndarray) -> np.ndarray:
    """Share of every mode in the power of the probe."""
    powers = mode_photons(probe)
    return np.asarray(powers / max(powers.sum(), 1e-300))


def mode_photons(probe: np.ndarray) -> np.ndarray:
    """Photons per pattern in every mode."""
    return np.asarray(np.sum(np.abs(probe.astype(np.complex128)) ** 2, axis=(1, 2)))


def comparison_images(comparison: Comparison, *, equal_steps: bool = False) -> list[list[ScaledImage]]:
    """Reference, reconstruction and difference of amplitude, and of phase; two images of a row share one scale.

    Args:
        comparison: The aligned object beside its reference.
        equal_steps: The difference spans as many units as the other two, rather than its own values.
    """
    mask, box = comparison.alignment.mask, bounding_box(comparison.alignment.mask)
    shown, fields = mask[box], [comparison.reference[box], comparison.alignment.image[box]]
    step = step_for(shown.shape, DETAIL_PX)
    names = [comparison.kind.capitalize(), "Reconstruction"]
    amplitudes = [reduced(field, step, shown, np.abs) for field in fields]
    target, image = (reduced(field, step, shown) for field in fields)
    known = np.isfinite(target)
    centre = np.exp(-1j * np.angle(target[known].sum()))
    phases = [np.where(known, np.angle(field * centre), np.nan) for field in (target, image)]
    kinds = (
        ("amplitude", amplitudes, amplitude_scale(np.stack(amplitudes)), amplitudes[1] - amplitudes[0]),
        ("phase", phases, phase_scale(np.stack(phases)), np.where(known, phase_difference(image, target), np.nan)),
    )
    rows = []
    for name, pair, scale, error in kinds:
        reach = (scale.high - scale.low) / 2
        apart = (
            ColourScale(DIFFERENCE_MAP, -reach, reach, scale.unit)
            if equal_steps
            else difference_scale(error, scale.unit)
        )
        row = [ScaledImage(f"{who}: {name}", one, scale, step) for who, one in zip(names, pair, strict=True)]
        rows.append([*row, ScaledImage(f"Difference of {name}", error, apart, step)])
    return rows


def light_images(recon: Reconstruction, frame: Frame) -> list[ScaledImage]:
    """Photons on every object pixel, and the expected error of its transmission where that is known."""
    light, step = recon.illumination[frame.box], step_for(frame.shown.shape, DETAIL_PX)
    photons = reduced(light, step, light > 0)
    found = [ScaledImage("Illumination", photons, positive_scale(photons, "photons per pixel", COUNTS_MAP), step)]
    if recon.uncertainty is not None:
        sigma = reduced(recon.uncertainty[frame.box], step, frame.shown)
        scale = positive_scale(sigma, name=AMPLITUDE_MAP)
        found.append(ScaledImage("Uncertainty of the transmission", sigma, scale, step))
    return found
