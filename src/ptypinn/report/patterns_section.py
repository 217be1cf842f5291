"""The part of a report that shows measured patterns beside predicted ones: the best, the median and the worst."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float32

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.metrics import DataFit
from ptypinn.metrics.data_fit import predict
from ptypinn.physics.propagate import to_centred
from ptypinn.report.blocks import Block, Figures, Points, Section
from ptypinn.report.colours import COUNTS_MAP, ColourScale, difference_scale
from ptypinn.report.digits import digits_of
from ptypinn.report.images import ScaledImage
from ptypinn.report.told import panels_of

KEY, TITLE = "patterns", "Measured and predicted patterns"
FAINTEST_COUNT = 0.1
MOST_PX = 256
NOISE = "Differences of square roots scatter by about one half where only counting noise is left."

Pattern = Float32[np.ndarray, "y x"]


def patterns_section(recon: Reconstruction, scan: ScanData | None, fit: DataFit | None) -> Section:
    """Measured and predicted counts, logarithmic, and their difference, of up to three patterns."""
    if scan is None or fit is None:
        return Section(KEY, TITLE, absent="Not shown: the patterns were not at hand. `--scan SCAN` names them.")
    chosen = chosen_patterns(fit.per_pattern_residual)
    blocks: list[Block] = [Points([NOISE])]
    for rank, j in chosen.items():
        images = pattern_images(*_pair(recon, scan, j), rank)
        blocks.append(Figures(panels_of(images, None, bar=False, most_px=MOST_PX), _told(fit, j)))
    return Section(KEY, TITLE, blocks)


def chosen_patterns(residual: np.ndarray) -> dict[str, int]:
    """Index of the best, the median and the worst pattern by residual; of fewer than three, each once."""
    order = np.argsort(residual)
    ranks = {"Best": order[0], "Worst": order[-1], "Median": order[len(order) // 2]}
    found: dict[str, int] = {}
    for rank, index in ranks.items():
        if int(index) not in found.values():
            found[rank] = int(index)
    return {rank: found[rank] for rank in ("Best", "Median", "Worst") if rank in found}


def pattern_images(measured: Pattern, predicted: Pattern, rank: str) -> list[ScaledImage]:
    """Both patterns as logarithms on one scale, and the difference of their square roots.

    Args:
        measured: Counts; NaN where the detector is masked.
        predicted: Likewise.
        rank: What the pattern is among the others.
    """
    top = float(np.nanmax(measured)) if np.isfinite(measured).any() else 1.0
    scale = ColourScale(COUNTS_MAP, np.log10(FAINTEST_COUNT), np.log10(max(top, 1.0)), "counts", decades=True)
    logarithms = [np.log10(np.maximum(counts, FAINTEST_COUNT)) for counts in (measured, predicted)]
    names = (f"{rank}: measured", f"{rank}: predicted")
    difference = np.sqrt(predicted) - np.sqrt(measured)
    apart = difference_scale(difference, "√counts", least=0.5)
    images = [ScaledImage(name, image, scale) for name, image in zip(names, logarithms, strict=True)]
    return [*images, ScaledImage(f"{rank}: predicted - measured", difference, apart)]


def _told(fit: DataFit, j: int) -> str:
    residual, noise = fit.per_pattern_residual[j], fit.per_pattern_expected[j]
    ratio = f", {residual / noise:.3g} times what counting noise leaves" if noise > 0 else ""
    photons = digits_of(float(fit.per_pattern_photons[j]))
    return f"Pattern {j}, {photons} photons: residual {residual:.3g}{ratio}."


def _pair(recon: Reconstruction, scan: ScanData, j: int) -> tuple[Pattern, Pattern]:
    """Measured and predicted counts of one pattern, centred; masked pixels are NaN."""
    canvas, probe = torch.from_numpy(recon.object)[None], torch.from_numpy(recon.probe)
    predicted = to_centred(predict(canvas, probe, recon.positions_px[j : j + 1]))[0].numpy()
    measured = scan.counts[j : j + 1][0].astype(np.float32)
    blank = np.float32(np.nan)
    return np.where(scan.good, measured, blank), np.where(scan.good, predicted, blank)
