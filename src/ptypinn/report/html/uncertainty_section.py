"""The part of a report that says how far to trust the picture, in words and maps."""

from __future__ import annotations

import numpy as np

from ptypinn.data.reconstruction import DataFit, Reconstruction
from ptypinn.metrics.summary import BELOW_NOISE, FAR_ABOVE_NOISE
from ptypinn.report.figures.display import Frame
from ptypinn.report.figures.images import ScaledImage, light_images
from ptypinn.report.html.page_elements import Block, Figures, Points, Section
from ptypinn.report.figures.panels import panels_of
from ptypinn.report.html.patterns_section import fit_images
from ptypinn.report.text.metric_labels import digits_of
from ptypinn.stages.evaluate import Evaluation

OUTLIER = 2.0
"""A pattern that fits so many times worse than counting noise explains is counted in the text."""
CLEAR = 0.05
"""Uncertainty over the object's contrast below which single pixels can be believed."""
GOOD = 1.1
"""Residual over counting noise up to which a picture explains its data."""


def trust_section(recon: Reconstruction, result: Evaluation, frame: Frame) -> Section:
    """How well a reconstruction explains its data, and where it can be believed."""
    sentences, images, captions = trust_sentences(recon, result, frame), list[ScaledImage](), list[str]()
    if result.fit is not None:
        images += fit_images(recon, frame, result.fit)
        captions.append(
            "Each place has the value of the nearest pattern. Where the data are explained, the ratio is about 1 "
            "everywhere; a patch or an edge that stands out points to positions or to the sample."
        )
    else:
        sentences.append("The residual over the positions is not shown: the patterns were not at hand.")
    if recon.uncertainty is not None:
        images += light_images(recon, frame)[1:]
        captions.append("Uncertainty is the expected error of the complex transmission, one standard deviation.")
    else:
        sentences.append("The uncertainty of single pixels is not shown: none was estimated.")
    blocks: list[Block] = [Points(sentences)]
    if images:
        blocks.append(Figures(panels_of(images, recon.pixel_size_m), " ".join(captions)))
    return Section("trust", "How far to trust this", blocks)


def trust_sentences(recon: Reconstruction, result: Evaluation, frame: Frame) -> list[str]:
    """What fit, light and uncertainty say, one statement each."""
    fit = [] if result.fit is None else fit_sentences(result.fit)
    return [*fit, *light_sentences(recon, frame), *uncertainty_sentences(recon, frame, result.metrics)]


def fit_sentences(fit: DataFit) -> list[str]:
    """What residual and closure say."""
    ratio = fit.amplitude_residual / fit.expected_residual if fit.expected_residual > 0 else np.inf
    each = fit.per_pattern_residual / np.maximum(fit.per_pattern_expected, 1e-30)
    far = int((each > OUTLIER).sum())
    count = {0: "No pattern fits", 1: "1 pattern fits"}.get(far, f"{far} patterns fit")
    low, high = np.percentile(fit.per_pattern_closure, [5, 95])
    return [
        f"The predicted amplitudes miss the measured ones by {ratio:.3g} times what counting noise alone would leave "
        f"(residual {fit.amplitude_residual:.3g}, expected {fit.expected_residual:.3g}): {_verdict(ratio)}",
        f"{count} more than {OUTLIER:.0f} times worse than counting noise explains, of {len(each)}; the median "
        f"pattern is at {np.median(each):.3g}.",
        f"Predicted over measured photons: {fit.flux_closure:#.4g} over all, and "
        f"{low:#.4g} to {high:#.4g} in nine patterns of ten.",
    ]


def _verdict(ratio: float) -> str:
    if ratio < BELOW_NOISE:
        return "less than noise would leave, so some of the noise is in the picture."
    if ratio < GOOD:
        return "the picture explains the data as far as photons allow."
    if ratio < FAR_ABOVE_NOISE:
        return "the picture explains most of the data."
    return "something is left that the picture does not explain: probe, positions, coherence, or more iterations."


def light_sentences(recon: Reconstruction, frame: Frame) -> list[str]:
    """What the illumination says."""
    lit = recon.illumination[frame.box][frame.well_lit]
    if not lit.size:
        return []
    low, middle = np.percentile(lit, [10, 50])
    return [
        f"Half of the well-lit pixels received more than {digits_of(float(middle), 3)} photons over the scan, one in "
        f"ten fewer than {digits_of(float(low), 3)}."
    ]


def uncertainty_sentences(recon: Reconstruction, frame: Frame, metrics: dict[str, float]) -> list[str]:
    """What the uncertainty map says, and how it compares with the error where a truth is known."""
    lit = frame.well_lit
    if recon.uncertainty is None or not lit.any():
        return []
    low, middle, high = np.percentile(recon.uncertainty[frame.box][lit], [5, 50, 95])
    seen = recon.object[frame.box][lit]
    seen = seen[np.isfinite(seen)]
    contrast = float(np.std(seen)) if seen.size else 0.0
    against = f" The object's own variation is {contrast:.3g}" if contrast > 0 else ""
    if against:
        clear = middle < CLEAR * contrast
        against += ": single pixels can be believed." if clear else ", so detail " + _detail(middle / contrast)
    found = [
        f"The transmission of a typical pixel is expected to be off by {middle:.2g} ({low:.2g} to {high:.2g} for nine "
        f"pixels of ten), which is {middle / 2**0.5:.2g} in amplitude; about two pixels in three are closer to the "
        f"truth than the map says.{against}"
    ]
    ratio = metrics.get("error_over_uncertainty")
    if ratio is not None:
        found.append(f"Compared with the truth, errors are {ratio:.3g} times as large as the map says.")
    return found


def _detail(share: float) -> str:
    if share < 0.3:
        return "is well above the noise."
    return "of single pixels is noisy." if share < 1 else "of single pixels is lost in noise: only larger shapes count."
