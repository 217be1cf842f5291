"""Figures of how well the measured patterns are predicted: three of them in full."""

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


def _pattern_pair(
    recon: Reconstruction, scan: ScanData, j: int
) -> tuple[Float32[np.ndarray, "y x"], Float32[np.ndarray, "y x"]]:
    """Measured and predicted counts of one pattern, centred; masked pixels are NaN."""
    canvas, probe = torch.from_numpy(recon.object)[None], torch.from_numpy(recon.probe)
    predicted = to_centred(predict(canvas, probe, recon.positions_px[j : j + 1]))[0].numpy()
    measured = scan.counts[j : j + 1][0].astype(np.float32)
    blank = np.float32(np.nan)
    return np.where(scan.good, measured, blank), np.where(scan.good, predicted, blank)
