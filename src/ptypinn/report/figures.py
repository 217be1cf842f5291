"""Figures of a reconstruction: the object, the probe, and how they compare with a reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.evaluate import Comparison
from ptypinn.metrics import phase_difference
from ptypinn.metrics.masks import bounding_box
from ptypinn.report.style import (
    AMPLITUDE_MAP,
    CYCLIC_MAP,
    DIFFERENCE_MAP,
    PHASE_MAP,
    new_figure,
    robust_limits,
    show_image,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LIT_FRACTION = 0.05
MOST_MODES = 5
PROBE_PHASE_FLOOR = 0.03


def object_figure(recon: Reconstruction, title: str = "") -> Figure:
    """Amplitude and phase of the object where it was lit, with scale bars; the title tells of prediction scaling.

    The phase is shown relative to its mean over the lit pixels.
    """
    lit, box = _lit_box(recon)
    patch, shown = recon.object[box], lit[box]
    amplitude = np.where(shown, np.abs(patch), np.nan)
    phase = np.where(shown, np.angle(patch * np.exp(-1j * _mean_phase(patch[shown]))), np.nan)
    figure = new_figure(10.0, 0.6 + 4.4 * _aspect(patch.shape))
    left, right = figure.subplots(1, 2)
    if title := ", ".join(text for text in (title, recon.scale_note) if text):
        figure.suptitle(title, fontsize=11)
    show_image(left, amplitude, "Amplitude", AMPLITUDE_MAP, pixel_size_m=recon.pixel_size_m)
    show_phase(right, phase, "Phase", recon.pixel_size_m)
    return figure


def probe_figure(recon: Reconstruction) -> Figure:
    """Amplitude and phase of the strongest probe modes, with the share of the power in each."""
    modes = recon.probe[:MOST_MODES].astype(np.complex128)
    powers = np.sum(np.abs(recon.probe.astype(np.complex128)) ** 2, axis=(1, 2))
    columns = len(modes)
    figure = new_figure(max(3.1 * columns, 6.2), 5.6) if columns > 1 else new_figure(7.0, 3.2)
    axes = figure.subplots(2, columns, squeeze=False) if columns > 1 else figure.subplots(1, 2).reshape(2, 1)
    photons = f"{powers.sum():.4g} photons per pattern"
    figure.suptitle(f"{len(powers)} mode{'s' * (len(powers) > 1)}, {photons}", fontsize=11)
    for k, mode in enumerate(modes):
        amplitude = np.abs(mode)
        share = f"Mode {k + 1}: {100 * powers[k] / powers.sum():.1f} %"
        limits = (0.0, max(float(amplitude.max()), 1e-12))
        show_image(axes[0, k], amplitude, share, AMPLITUDE_MAP, limits, "sqrt(photons)", recon.pixel_size_m)
        lit = amplitude > PROBE_PHASE_FLOOR * amplitude.max()
        phase = np.where(lit, np.angle(mode), np.nan)
        show_image(axes[1, k], phase, "Phase", CYCLIC_MAP, (-np.pi, np.pi), "rad", recon.pixel_size_m)
    return figure


def comparison_figure(comparison: Comparison, pixel_size_m: float | None = None, note: str = "") -> Figure:
    """Reference, reconstruction and difference, amplitude above phase; each row's two images share one colour scale.

    Args:
        comparison: The aligned object beside its reference.
        pixel_size_m: Pixel, metres; None draws scale bars in pixels.
        note: Remark on the reconstruction for the title, such as its prediction scaling.
    """
    mask, box = comparison.alignment.mask, bounding_box(comparison.alignment.mask)
    target, image, shown = comparison.reference[box], comparison.alignment.image[box], mask[box]
    figure = new_figure(12.5, 0.8 + 6.6 * _aspect(target.shape))
    axes = figure.subplots(2, 3)
    if note:
        figure.suptitle(f"Reconstruction: {note}", fontsize=11)
    name = comparison.kind.capitalize()
    amplitudes = [np.where(shown, np.abs(field), np.nan) for field in (target, image)]
    limits = robust_limits(np.stack(amplitudes))
    for panel, field, title in zip(axes[0], amplitudes, (name, "Reconstruction"), strict=False):
        show_image(panel, field, f"{title}: amplitude", AMPLITUDE_MAP, limits, pixel_size_m=pixel_size_m)
    _show_difference(axes[0, 2], amplitudes[1] - amplitudes[0], "Difference of amplitude", "", pixel_size_m)
    centre = np.exp(-1j * _mean_phase(target[shown]))
    phases = [np.where(shown, np.angle(field * centre), np.nan) for field in (target, image)]
    for panel, field, title in zip(axes[1], phases, (name, "Reconstruction"), strict=False):
        show_phase(panel, field, f"{title}: phase", pixel_size_m, robust_limits(np.stack(phases)))
    difference = np.where(shown, phase_difference(image, target), np.nan)
    _show_difference(axes[1, 2], difference, "Difference of phase", "rad", pixel_size_m)
    return figure


def show_phase(
    axes: Axes, phase: np.ndarray, title: str, pixel_size_m: float | None, limits: tuple[float, float] | None = None
) -> None:
    """Draw a phase image, radians.

    A phase that spans more than half a turn gets a cyclic map over the full turn, so that a wrap is no edge; a smaller
    one gets a sequential map over its span, because the ends of a cyclic map look alike.
    """
    low, high = limits or robust_limits(phase)
    if high - low > np.pi:
        show_image(axes, phase, title, CYCLIC_MAP, (-np.pi, np.pi), "rad", pixel_size_m)
    else:
        show_image(axes, phase, title, PHASE_MAP, (low, high), "rad", pixel_size_m)


def _show_difference(axes: Axes, difference: np.ndarray, title: str, unit: str, pixel_size_m: float | None) -> None:
    reach = max(abs(limit) for limit in robust_limits(difference))
    show_image(axes, difference, title, DIFFERENCE_MAP, (-reach, reach), unit, pixel_size_m)


def _aspect(shape: tuple[int, ...]) -> float:
    return float(np.clip(shape[0] / shape[1], 0.4, 1.6))


def _lit_box(recon: Reconstruction) -> tuple[np.ndarray, tuple[slice, slice]]:
    lit = recon.well_lit(LIT_FRACTION)
    if not lit.any():
        lit = np.ones(recon.object.shape, bool)
    return lit, bounding_box(lit)


def _mean_phase(values: np.ndarray) -> float:
    return float(np.angle(values.astype(np.complex128).sum()))
