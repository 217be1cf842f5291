"""The part of a report that says how far to trust the picture, in words and maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.evaluate import Evaluation
from ptypinn.metrics import DataFit
from ptypinn.report.page import Picture, picture_of
from ptypinn.report.trust_figures import fit_map_figure, uncertainty_figure

OUTLIER = 2.0
"""A pattern that fits so many times worse than counting noise explains is counted in the text."""
CLEAR = 0.05
"""Uncertainty over the object's contrast below which single pixels can be believed."""


@dataclass(frozen=True)
class TrustSection:
    """What the page shows."""

    sentences: list[str]
    """What the maps say, one statement each."""
    pictures: list[Picture]
    """The maps."""


def trust_section(recon: Reconstruction, result: Evaluation) -> TrustSection:
    """How well a reconstruction explains its data, and where it can be believed."""
    sentences, pictures = [], []
    if result.fit is not None:
        sentences += fit_sentences(result.fit)
        caption = (
            "Each point is a pattern. Where the data are explained, the second row's ratio is about 1 everywhere; a "
            "patch or an edge that stands out points to positions or to the sample."
        )
        pictures.append(picture_of("Fit over the scan", caption, fit_map_figure(recon, result.fit)))
    sentences += light_sentences(recon)
    if recon.uncertainty is not None:
        sentences += uncertainty_sentences(recon, result.metrics)
    caption = "Light is what the picture is made of: errors grow where it fades. Grey was not measured."
    pictures.insert(0, picture_of("Light and uncertainty", caption, uncertainty_figure(recon)))
    return TrustSection(sentences, pictures)


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
    if ratio < 0.8:
        return "less than noise would leave, so some of the noise is in the picture."
    if ratio < 1.1:
        return "the picture explains the data as far as photons allow."
    if ratio < 2:
        return "the picture explains most of the data."
    return "something is left that the picture does not explain: probe, positions, coherence, or more iterations."


def light_sentences(recon: Reconstruction) -> list[str]:
    """What the illumination says."""
    lit = recon.illumination[recon.well_lit()]
    if not lit.size:
        return []
    low, middle = np.percentile(lit, [10, 50])
    return [
        f"Half of the well-lit pixels received more than {middle:.3g} photons over the scan, one in ten fewer than "
        f"{low:.3g}."
    ]


def uncertainty_sentences(recon: Reconstruction, metrics: dict[str, float]) -> list[str]:
    """What the uncertainty map says, and how it compares with the error where a truth is known."""
    lit = recon.well_lit()
    if recon.uncertainty is None or not lit.any():
        return []
    low, middle, high = np.percentile(recon.uncertainty[lit], [5, 50, 95])
    contrast = float(np.std(recon.object[lit]))
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
