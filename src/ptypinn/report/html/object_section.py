"""Sections of a report: the object at its top, the probe, and the comparison with a reference."""

from __future__ import annotations

import numpy as np
import torch

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.physics.optics import equivalent_diameter, mode_photons, power_at_edge
from ptypinn.report.figures.display import ObjectView
from ptypinn.report.figures.images import MAX_MODES, mode_fractions
from ptypinn.report.figures.panels import Panel, ReconstructionPanels, describe_field
from ptypinn.report.html.page import Block, Cell, Facts, Figures, Section, Table, cell_of
from ptypinn.stages.evaluate import Evaluation
from ptypinn.utils.number_format import format_length

COMPARISON_CAPTION = (
    "The first two of a row share one colour scale. Structure in a difference is an error; grain is noise. No "
    "amplitude was fitted."
)


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
        [Cell(f"Mode {k}"), cell_of(float(power), "photons"), cell_of(100 * float(fraction), "%")]
        for k, (power, fraction) in enumerate(zip(photons, fractions, strict=True), start=1)
    ]
    blocks: list[Block] = [Facts(_probe_facts(recon)), _probe_figures(recon, panels)]
    if len(photons) > 1:
        blocks.append(Table("Photons of the modes", ("Mode", "Photons per pattern", "Fraction"), rows))
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
    return [
        ("Modes", cell_of(len(recon.probe))),
        ("Photons per pattern, through vacuum", cell_of(float(mode_photons(recon.probe).sum()))),
        ("Diameter of the disk of equal area", Cell(f"{diameter:.3g}", value=diameter, unit=f"px{length}")),
        ("Power at the edge of the array", cell_of(100 * power_at_edge(probe), "%", digits=2)),
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
