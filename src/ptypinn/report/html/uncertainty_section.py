"""Section of a report: agreement with the data and uncertainty, in words and maps."""

from __future__ import annotations

import numpy as np

from ptypinn.data.reconstruction import DataFit, Reconstruction
from ptypinn.metrics.summary import BELOW_NOISE, FAR_ABOVE_NOISE
from ptypinn.report.figures.display import VisibleRegion
from ptypinn.report.figures.panels import Panel, ReconstructionPanels, draw_panels
from ptypinn.report.html.page import Block, Figures, Points, Section
from ptypinn.report.html.patterns_section import fit_images
from ptypinn.report.text.verdict import EXPLAINED
from ptypinn.stages.evaluate import Evaluation
from ptypinn.utils.number_format import format_number

OUTLIER = 2.0
"""Residual over counting noise from which a pattern is counted as an outlier in the text."""
RELIABLE = 0.05
"""Uncertainty over the object's contrast below which single pixels are reliable."""


def uncertainty_section(recon: Reconstruction, evaluation: Evaluation, panels: ReconstructionPanels) -> Section:
    """Return the agreement of a reconstruction with its data, and its uncertainty."""
    sentences, captions = uncertainty_sentences(recon, evaluation, panels.region), list[str]()
    maps: list[Panel] = []
    if evaluation.fit is not None:
        maps += draw_panels(fit_images(recon, panels.region, evaluation.fit), recon.pixel_size_m)
        captions.append(
            "Each place has the value of the nearest pattern. Where the data are explained, the ratio is about 1 "
            "everywhere; a patch or an edge that stands out points to positions or to the sample."
        )
    else:
        sentences.append("The residual over the positions is not shown: the patterns were not at hand.")
    if panels.uncertainty is not None:
        maps.append(panels.uncertainty)
        captions.append("Uncertainty is the expected error of the complex transmission, one standard deviation.")
    else:
        sentences.append("The uncertainty of single pixels is not shown: none was estimated.")
    blocks: list[Block] = [Points(sentences)]
    if maps:
        blocks.append(Figures(maps, " ".join(captions)))
    return Section("uncertainty", "Fit to the data and uncertainty", blocks)


def uncertainty_sentences(recon: Reconstruction, evaluation: Evaluation, region: VisibleRegion) -> list[str]:
    """Return statements on fit, illumination and uncertainty, one each."""
    fit = [] if evaluation.fit is None else _fit_sentences(evaluation.fit)
    return [*fit, *_illumination_sentences(recon, region), *_pixel_sentences(recon, region, evaluation.metrics)]


def _fit_sentences(fit: DataFit) -> list[str]:
    """Return statements on residual and closure."""
    ratio = fit.amplitude_residual / fit.expected_residual if fit.expected_residual > 0 else np.inf
    ratios = fit.per_pattern_residual / np.maximum(fit.per_pattern_expected, 1e-30)
    outliers = int((ratios > OUTLIER).sum())
    count = {0: "No pattern fits", 1: "1 pattern fits"}.get(outliers, f"{outliers} patterns fit")
    low, high = np.percentile(fit.per_pattern_closure, [5, 95])
    return [
        f"The predicted amplitudes differ from the measured ones by {ratio:.3g} times what counting noise alone would "
        f"leave (residual {fit.amplitude_residual:.3g}, expected {fit.expected_residual:.3g}): {_rate_fit(ratio)}",
        f"{count} more than {OUTLIER:.0f} times worse than counting noise explains, of {len(ratios)}; the median "
        f"pattern is at {np.median(ratios):.3g}.",
        f"Predicted over measured photons: {fit.flux_closure:#.4g} over all, and "
        f"{low:#.4g} to {high:#.4g} in nine patterns of ten.",
    ]


def _rate_fit(ratio: float) -> str:
    if ratio < BELOW_NOISE:
        return "less than noise would leave, so some of the noise is in the picture."
    if ratio < EXPLAINED:
        return "the picture explains the data as far as photons allow."
    if ratio < FAR_ABOVE_NOISE:
        return "the picture explains most of the data."
    return "something is left that the picture does not explain: probe, positions, coherence, or more iterations."


def _illumination_sentences(recon: Reconstruction, region: VisibleRegion) -> list[str]:
    """Return a statement on the photons per object pixel."""
    illumination = recon.illumination[region.box][region.well_illuminated]
    if not illumination.size:
        return []
    low, middle = np.percentile(illumination, [10, 50])
    return [
        f"Half of the well-illuminated pixels received more than {format_number(float(middle), 3)} photons over the "
        f"scan, one in ten fewer than {format_number(float(low), 3)}."
    ]


def _pixel_sentences(recon: Reconstruction, region: VisibleRegion, metrics: dict[str, float]) -> list[str]:
    """Return statements on the uncertainty map, and on its agreement with the error where a truth is at hand."""
    mask = region.well_illuminated
    if recon.uncertainty is None or not mask.any():
        return []
    low, middle, high = (float(value) for value in np.percentile(recon.uncertainty[region.box][mask], [5, 50, 95]))
    sentences = [
        f"The transmission of a typical pixel is expected to be off by {middle:.2g} ({low:.2g} to {high:.2g} for nine "
        f"pixels of ten), which is {middle / 2**0.5:.2g} in amplitude; about two pixels in three are closer to the "
        f"truth than the map states.{_compare_with_contrast(middle, recon.object[region.box][mask])}"
    ]
    ratio = metrics.get("error_over_uncertainty")
    if ratio is not None:
        sentences.append(f"Compared with the truth, errors are {ratio:.3g} times as large as the map states.")
    return sentences


def _compare_with_contrast(uncertainty: float, values: np.ndarray) -> str:
    """Return a sentence on the uncertainty beside the object's own variation; empty for a uniform object."""
    finite = values[np.isfinite(values)]
    contrast = float(np.std(finite)) if finite.size else 0.0
    if not contrast > 0:
        return ""
    ratio = uncertainty / contrast
    if ratio < RELIABLE:
        conclusion = ": single pixels are reliable."
    elif ratio < 0.3:
        conclusion = ", so detail is well above the noise."
    elif ratio < 1:
        conclusion = ", so detail of single pixels is noisy."
    else:
        conclusion = ", so detail of single pixels is lost in noise: only larger shapes count."
    return f" The object's own variation is {contrast:.3g}{conclusion}"
