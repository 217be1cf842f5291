"""Figures of how well the measured patterns are predicted: three of them in full, all of them on a map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float32

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.metrics import DataFit
from ptypinn.metrics.data_fit import predict
from ptypinn.physics.propagate import to_centred
from ptypinn.report.style import COUNTS_MAP, DIFFERENCE_MAP, new_figure, show_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FAINTEST_COUNT = 0.1


def patterns_figure(recon: Reconstruction, scan: ScanData, fit: DataFit) -> Figure:
    """Measured and predicted counts of the best, the median and the worst pattern, logarithmic, and their difference.

    The difference is of square roots, where counting noise has a standard deviation of about one half everywhere.
    """
    order = np.argsort(fit.per_pattern_residual)
    chosen = {"best": order[0], "median": order[len(order) // 2], "worst": order[-1]}
    figure = new_figure(10.5, 9.4)
    axes = figure.subplots(3, 3)
    for row, (rank, j) in zip(axes, chosen.items(), strict=True):
        measured, predicted = _pattern_pair(recon, scan, int(j))
        top = max(float(np.nanmax(measured)), 1.0)
        limits = (np.log10(FAINTEST_COUNT), np.log10(top))
        for panel, counts, title in zip(row, (measured, predicted), ("measured", "predicted"), strict=False):
            name = f"{rank.capitalize()}, pattern {j}: {title}"
            shown = np.log10(np.maximum(counts, FAINTEST_COUNT))
            show_image(panel, shown, name, COUNTS_MAP, limits, "log10 counts", scale_bar=False)
        residual = fit.per_pattern_residual[j]
        difference = np.sqrt(predicted) - np.sqrt(measured)
        reach = max(float(np.nanpercentile(np.abs(difference), 99.5)), 0.5)
        title = f"Predicted - measured, residual {residual:.3g}"
        show_image(row[2], difference, title, DIFFERENCE_MAP, (-reach, reach), "sqrt(counts)", scale_bar=False)
    return figure


def residual_map_figure(recon: Reconstruction, fit: DataFit) -> Figure:
    """Amplitude residual and flux closure of every pattern, where its probe's centre was on the object."""
    y, x = (recon.positions_px + recon.probe.shape[-1] / 2).T
    aspect = (np.ptp(y) + 1) / (np.ptp(x) + 1)
    figure = new_figure(10.0, 0.6 + 4.0 * float(np.clip(aspect, 0.4, 1.6)))
    size = np.clip(9000 / len(x), 4, 120)
    closure_reach = max(float(np.percentile(np.abs(fit.per_pattern_closure - 1), 99)), 0.01)
    panels = (
        ("Amplitude residual per pattern", fit.per_pattern_residual, COUNTS_MAP, _span(fit.per_pattern_residual)),
        ("Flux closure per pattern", fit.per_pattern_closure, DIFFERENCE_MAP, (1 - closure_reach, 1 + closure_reach)),
    )
    for axes, (title, values, colours, limits) in zip(figure.subplots(1, 2), panels, strict=True):
        points = axes.scatter(x, y, c=values, s=size, cmap=colours, vmin=limits[0], vmax=limits[1], lw=0)
        figure.colorbar(points, cax=axes.inset_axes((1.02, 0.0, 0.04, 1.0))).ax.tick_params(labelsize=8)
        axes.set(aspect="equal", xlabel="x, pixels", ylabel="y, pixels")
        axes.margins(0.08)
        axes.invert_yaxis()
        axes.set_title(title, fontsize=10)
        axes.tick_params(labelsize=8)
        axes.set_facecolor("#f4f5f7")
    return figure


def _span(values: np.ndarray) -> tuple[float, float]:
    low, high = (float(v) for v in np.percentile(values, [0, 99]))
    return low, max(high, low * (1 + 1e-6) + 1e-12)


def _pattern_pair(
    recon: Reconstruction, scan: ScanData, j: int
) -> tuple[Float32[np.ndarray, "y x"], Float32[np.ndarray, "y x"]]:
    """Measured and predicted counts of one pattern, centred; masked pixels are NaN."""
    canvas, probe = torch.from_numpy(recon.object)[None], torch.from_numpy(recon.probe)
    predicted = to_centred(predict(canvas, probe, recon.positions_px[j : j + 1]))[0].numpy()
    measured = scan.counts[j : j + 1][0].astype(np.float32)
    blank = np.float32(np.nan)
    return np.where(scan.good, measured, blank), np.where(scan.good, predicted, blank)
