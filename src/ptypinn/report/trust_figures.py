"""Figures of where a reconstruction can be believed: light, uncertainty, and the fit of every pattern."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.metrics import DataFit
from ptypinn.metrics.masks import bounding_box
from ptypinn.report.style import AMPLITUDE_MAP, COUNTS_MAP, DIFFERENCE_MAP, MUTED, new_figure, robust_limits, show_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LIT_FRACTION = 0.05
LARGEST_RATIO = 2.0
"""The colours of the ratio reach at least so far, so that noise stays pale."""


def uncertainty_figure(recon: Reconstruction) -> Figure:
    """Photons on every object pixel, and beside them the expected error of its transmission where it is known."""
    lit = recon.well_lit(LIT_FRACTION)
    box = bounding_box(lit if lit.any() else np.ones(recon.object.shape, bool))
    shown = recon.illumination[box] > 0
    light = np.where(shown, recon.illumination[box], np.nan)
    aspect = float(np.clip(light.shape[0] / light.shape[1], 0.4, 1.6))
    columns = 1 if recon.uncertainty is None else 2
    figure = new_figure(5.2 * columns, 0.6 + 4.4 * aspect)
    axes = figure.subplots(1, columns, squeeze=False)[0]
    limits = (0.0, max(robust_limits(light)[1], 1e-12))
    show_image(axes[0], light, "Illumination", COUNTS_MAP, limits, "photons per pixel", recon.pixel_size_m)
    if recon.uncertainty is not None:
        sigma = np.where(lit[box], recon.uncertainty[box], np.nan)
        limits = (0.0, max(robust_limits(sigma)[1], 1e-12))
        show_image(axes[1], sigma, "Uncertainty of the transmission", AMPLITUDE_MAP, limits, "", recon.pixel_size_m)
    return figure


def fit_map_figure(recon: Reconstruction, fit: DataFit) -> Figure:
    """Residual of every pattern beside what counting noise leaves; their ratio, and the flux closure.

    A point lies where the centre of the probe's array was on the object.
    """
    places = recon.positions_px + recon.probe.shape[-1] / 2
    height, width = np.ptp(places, axis=0) + 1
    figure = new_figure(10.0, 0.9 + 8.4 * float(np.clip(height / width, 0.4, 1.6)))
    (first, second), (third, fourth) = figure.subplots(2, 2)
    residual, expected = fit.per_pattern_residual, fit.per_pattern_expected
    span = _span(np.concatenate([residual, expected]))
    _points(first, places, residual, "Amplitude residual", COUNTS_MAP, span)
    _points(second, places, expected, "Residual of counting noise", COUNTS_MAP, span)
    ratio = residual / np.maximum(expected, 1e-30)
    reach = max(float(np.percentile(ratio, 99)), LARGEST_RATIO) - 1
    _points(third, places, ratio, "Residual over counting noise", DIFFERENCE_MAP, (1 - reach, 1 + reach))
    reach = max(float(np.percentile(np.abs(fit.per_pattern_closure - 1), 99)), 0.01)
    _points(fourth, places, fit.per_pattern_closure, "Flux closure", DIFFERENCE_MAP, (1 - reach, 1 + reach))
    return figure


def _points(
    axes: Axes, places: np.ndarray, values: np.ndarray, title: str, colours: str, limits: tuple[float, float]
) -> None:
    """One point per pattern, coloured by its value."""
    size = float(np.clip(9000 / len(places), 4, 120))
    y, x = places.T
    points = axes.scatter(
        x, y, c=values, s=size, cmap=colours, vmin=limits[0], vmax=limits[1], lw=0.3, edgecolors=MUTED
    )
    axes.figure.colorbar(points, cax=axes.inset_axes((1.02, 0.0, 0.04, 1.0))).ax.tick_params(labelsize=8)
    axes.set(aspect="equal", xlabel="x, pixels", ylabel="y, pixels")
    axes.margins(0.08)
    axes.invert_yaxis()
    axes.set_title(title, fontsize=10)
    axes.tick_params(labelsize=8)
    axes.set_facecolor("#f4f5f7")


def _span(values: np.ndarray) -> tuple[float, float]:
    low, high = (float(v) for v in np.percentile(values, [0, 99]))
    return low, max(high, low * (1 + 1e-6) + 1e-12)
