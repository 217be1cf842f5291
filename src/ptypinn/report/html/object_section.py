"""Sections of a report: the object at its top, the probe, the comparison with a reference, and the uncertainty."""

from __future__ import annotations

import numpy as np
import torch

from ptypinn.data.aberrations import measure_aberrations
from ptypinn.data.reconstruction import DataFit, Reconstruction
from ptypinn.io.provenance import optics_record
from ptypinn.metrics.summary import ABOVE_NOISE, BELOW_NOISE
from ptypinn.physics.optics import equivalent_diameter, mode_photons, power_at_edge
from ptypinn.report.figures.display import ObjectView, VisibleRegion
from ptypinn.report.figures.images import MAX_MODES, mode_fractions
from ptypinn.report.figures.panels import Panel, ReconstructionPanels, describe_field, draw_panels
from ptypinn.report.html.page import Block, Cell, Facts, Figures, Points, Section, Table, cell_of
from ptypinn.report.html.patterns_section import fit_images
from ptypinn.report.text.scan import name_quanta
from ptypinn.report.text.verdict import EXPLAINED
from ptypinn.stages.evaluate import Evaluation
from ptypinn.utils.number_format import format_length, format_number

COMPARISON_CAPTION = (
    "The first two of a row share one colour scale. Structure in a difference is an error; grain is noise. No "
    "amplitude was fitted."
)
OUTLIER = 2.0
"""Residual over counting noise from which a pattern is counted as an outlier in the text."""
RELIABLE = 0.05
"""Uncertainty over the object's contrast below which single pixels are reliable."""


def object_figures(recon: Reconstruction, panels: ReconstructionPanels) -> Figures:
    """Return amplitude and phase, large, with a caption in numbers."""
    return Figures(panels.object, _object_caption(panels.view, recon), 2)


def _object_caption(view: ObjectView, recon: Reconstruction) -> str:
    parts = [_describe_object(view, recon.pixel_size_m)]
    if view.well_illuminated.any() and not view.well_illuminated.all():
        parts.append("Metrics are computed inside the line, where the sample was well illuminated.")
    if view.binning > 1:
        size = f"{view.binning} × {view.binning}"  # noqa: RUF001 - a sign for people
        parts.append(f"Each pixel is the mean of {size}; `reconstruction.h5` holds all.")
    if recon.scale_note:
        parts.append(f"The {recon.scale_note}.")
    return " ".join(parts)


def _describe_object(view: ObjectView, pixel_size_m: float | None) -> str:
    """Return field, amplitude and phase in one sentence."""
    mask = view.reference_mask
    if not np.isfinite(view.amplitude[mask]).any():
        return "The object has no finite pixel."
    low, high = np.nanpercentile(view.amplitude[mask], [5, 95])
    first, last = np.nanpercentile(view.phase[mask], [5, 95])
    return (
        f"Transmission over {describe_field(view, pixel_size_m)}: amplitude {low:.3g} to {high:.3g} and a phase that "
        f"spans {last - first:.2g} rad, for nine pixels in ten."
    )


def probe_section(recon: Reconstruction, panels: list[list[Panel]]) -> Section:
    """Return amplitude and phase of the strongest modes, and the photons in all."""
    photons, fractions = mode_photons(recon.probe), mode_fractions(recon.probe)
    rows = [
        [Cell(f"Mode {k}"), cell_of(float(power), name_quanta(recon)), cell_of(100 * float(fraction), "%")]
        for k, (power, fraction) in enumerate(zip(photons, fractions, strict=True), start=1)
    ]
    blocks: list[Block] = [Facts(_probe_facts(recon)), _probe_figures(recon, panels)]
    if len(photons) > 1:
        quanta = name_quanta(recon).capitalize()
        blocks.append(Table(f"{quanta} of the modes", ("Mode", f"{quanta} per pattern", "Fraction"), rows))
    return Section("probe", "Probe", blocks)


def _probe_figures(recon: Reconstruction, panels: list[list[Panel]]) -> Figures:
    items = [panel for pair in panels for panel in pair]
    caption = (
        "The phase is drawn where the amplitude exceeds 3 % of its maximum. Modes are incoherent: their intensities "
        "add, never their fields."
    )
    if len(recon.probe) > MAX_MODES:
        caption += f" The {MAX_MODES} strongest of {len(recon.probe)} are drawn."
    return Figures(items, caption, min(6, max(4, len(items))))


def _probe_facts(recon: Reconstruction) -> list[tuple[str, Cell]]:
    probe = torch.from_numpy(recon.probe)
    if not float(probe.abs().sum()) > 0:
        return [("Probe", Cell("zero everywhere"))]
    diameter = equivalent_diameter(probe)
    length = "" if recon.pixel_size_m is None else f" = {format_length(diameter * recon.pixel_size_m)}"
    aberrations = measure_aberrations(recon, optics_record(recon))
    lens = [] if aberrations is None else aberrations.describe()
    return [
        ("Modes", cell_of(len(recon.probe))),
        (
            f"{name_quanta(recon).capitalize()} per pattern, through vacuum",
            cell_of(float(mode_photons(recon.probe).sum())),
        ),
        ("Diameter of the disk of equal area", Cell(f"{diameter:.3g}", value=diameter, unit=f"px{length}")),
        ("Power at the edge of the array", cell_of(100 * power_at_edge(probe), "%", digits=2)),
        *((f"Lens: {label}", Cell(text)) for label, text in lens),
    ]


def comparison_section(evaluation: Evaluation, panels: list[list[Panel]], evaluated: bool) -> Section:
    """Return reference, reconstruction and difference, amplitude above phase."""
    if evaluation.comparison is None:
        reason = "neither the truth of a simulation nor a reference was given" if evaluated else "it was not evaluated"
        hint = "`ptypinn evaluate RUN --reference OTHER` compares two runs"
        return Section("comparison", "Compared with a reference", absent=f"Not shown: {reason}. {hint}.")
    captions = ("", COMPARISON_CAPTION)
    blocks = [Figures(row, caption) for row, caption in zip(panels, captions, strict=True)]
    return Section("comparison", f"Compared with the {evaluation.comparison.kind}", blocks)


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
        f"Predicted over measured counts: {fit.flux_closure:#.4g} over all, and "
        f"{low:#.4g} to {high:#.4g} in nine patterns of ten.",
    ]


def _rate_fit(ratio: float) -> str:
    if ratio < BELOW_NOISE:
        return "less than noise would leave, so some of the noise is in the picture."
    if ratio < EXPLAINED:
        return "the picture explains the data as far as counting noise allows."
    if ratio < ABOVE_NOISE:
        return "the picture explains most of the data."
    return "something is left that the picture does not explain: probe, positions, coherence, or more iterations."


def _illumination_sentences(recon: Reconstruction, region: VisibleRegion) -> list[str]:
    """Return a statement on the photons per object pixel."""
    illumination = recon.illumination[region.box][region.well_illuminated]
    if not illumination.size:
        return []
    low, middle = np.percentile(illumination, [10, 50])
    return [
        f"Half of the well-illuminated pixels received more than {format_number(float(middle), 3)} "
        f"{name_quanta(recon)} over the scan, one in ten fewer than {format_number(float(low), 3)}."
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
