"""Figures of a reconstruction: the object, the probe, and how they compare with a reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.metrics.masks import bounding_box
from ptypinn.report.style import AMPLITUDE_MAP, PHASE_MAP, new_figure, robust_limits, show_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LIT_FRACTION = 0.05


def object_figure(recon: Reconstruction, title: str = "") -> Figure:
    """Amplitude and phase of the object where it was lit, with scale bars.

    The phase is shown relative to its mean over the well-lit pixels, on a cyclic map where it spans more than half a
    turn, so that a wrap is not drawn as an edge.
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


def show_phase(axes: object, phase: np.ndarray, title: str, pixel_size_m: float | None) -> None:
    """Draw a phase image: cyclic over a full turn where it needs it, else the same map centred on its span."""
    reach = float(np.nanmax(np.abs(robust_limits(phase))))
    limit = np.pi if reach > np.pi / 2 else max(reach, 1e-3)
    show_image(axes, phase, title, PHASE_MAP, (-limit, limit), "rad", pixel_size_m)  # type: ignore[arg-type]


def _lit_box(recon: Reconstruction) -> tuple[np.ndarray, tuple[slice, slice]]:
    lit = recon.well_lit(LIT_FRACTION)
    if not lit.any():
        lit = np.ones(recon.object.shape, bool)
    return lit, bounding_box(lit)


def _mean_phase(values: np.ndarray) -> float:
    return float(np.angle(values.astype(np.complex128).sum()))
