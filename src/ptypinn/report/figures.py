"""Figures of a reconstruction: the object, the probe, and how they compare with a reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.metrics.masks import bounding_box
from ptypinn.report.style import AMPLITUDE_MAP, CYCLIC_MAP, PHASE_MAP, new_figure, robust_limits, show_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LIT_FRACTION = 0.05


def object_figure(recon: Reconstruction, title: str = "") -> Figure:
    """Amplitude and phase of the object where it was lit, with scale bars.

    The phase is shown relative to its mean over the lit pixels.
    """
    lit, box = _lit_box(recon)
    patch, shown = recon.object[box], lit[box]
    amplitude = np.where(shown, np.abs(patch), np.nan)
    phase = np.where(shown, np.angle(patch * np.exp(-1j * _mean_phase(patch[shown]))), np.nan)
    figure = new_figure(10.0, 0.6 + 4.4 * min(max(patch.shape[0] / patch.shape[1], 0.4), 1.6))
    left, right = figure.subplots(1, 2)
    if title:
        figure.suptitle(title, fontsize=11)
    show_image(left, amplitude, "Amplitude", AMPLITUDE_MAP, pixel_size_m=recon.pixel_size_m)
    show_phase(right, phase, "Phase", recon.pixel_size_m)
    return figure


def show_phase(axes: Axes, phase: np.ndarray, title: str, pixel_size_m: float | None) -> None:
    """Draw a phase image, radians.

    A phase that spans more than half a turn gets a cyclic map over the full turn, so that a wrap is no edge; a smaller
    one gets a sequential map over its span, because the ends of a cyclic map look alike.
    """
    low, high = robust_limits(phase)
    if high - low > np.pi:
        show_image(axes, phase, title, CYCLIC_MAP, (-np.pi, np.pi), "rad", pixel_size_m)
    else:
        show_image(axes, phase, title, PHASE_MAP, (low, high), "rad", pixel_size_m)


def _lit_box(recon: Reconstruction) -> tuple[np.ndarray, tuple[slice, slice]]:
    lit = recon.well_lit(LIT_FRACTION)
    if not lit.any():
        lit = np.ones(recon.object.shape, bool)
    return lit, bounding_box(lit)


def _mean_phase(values: np.ndarray) -> float:
    return float(np.angle(values.astype(np.complex128).sum()))
