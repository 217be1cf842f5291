"""The pictures at the top of a report: amplitude and phase of the object, with the region that figures are taken on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.metrics.split import bounding_box
from ptypinn.physics.probes import equivalent_diameter, power_at_edge
from ptypinn.report.figures.display import MOST_PX, Frame, View, view_of
from ptypinn.report.figures.images import (
    MOST_MODES,
    comparison_images,
    mode_photons,
    mode_shares,
    object_images,
    probe_images,
)
from ptypinn.report.html.page_elements import Block, Cell, Facts, Figures, Section, Table, cell_of
from ptypinn.report.figures.panels import extent, outline_path, panels_of
from ptypinn.report.text.metric_labels import metres
from ptypinn.stages.evaluate import Evaluation


def object_panels(recon: Reconstruction, frame: Frame) -> Figures:
    """Amplitude and phase, large, with what is to be seen in words."""
    view = view_of(recon, frame)
    outline = outline_path(view.well_lit)
    panels = panels_of(
        object_images(view), recon.pixel_size_m, where=f"of the object, {_field(view, recon)}", most_px=MOST_PX
    )
    return Figures([replace(panel, outline=outline) for panel in panels], _caption(view, recon), 2)


def _caption(view: View, recon: Reconstruction) -> str:
    parts = [_seen(view, recon)]
    if view.well_lit.any() and not view.well_lit.all():
        parts.append("Inside the line the sample was well lit: figures of merit are taken there.")
    if view.step > 1:
        parts.append(f"Each pixel is the mean of {view.step} × {view.step}; `reconstruction.h5` holds all.")  # noqa: RUF001
    if recon.scale_note:
        parts.append(f"The {recon.scale_note}.")
    return " ".join(parts)


def _seen(view: View, recon: Reconstruction) -> str:
    """Field, amplitude and phase in one sentence."""
    lit = view.well_lit if view.well_lit.any() else np.isfinite(view.amplitude)
    if not np.isfinite(view.amplitude[lit]).any():
        return "The object has no finite pixel."
    low, high = np.nanpercentile(view.amplitude[lit], [5, 95])
    first, last = np.nanpercentile(view.phase[lit], [5, 95])
    return (
        f"Transmission over {_field(view, recon)}: amplitude {low:.3g} to {high:.3g} and a phase that spans "
        f"{last - first:.2g} rad, for nine pixels in ten."
    )


def _field(view: View, recon: Reconstruction) -> str:
    lit = view.well_lit if view.well_lit.any() else np.isfinite(view.amplitude)
    rows, columns = bounding_box(lit if lit.any() else np.ones_like(lit))
    height, width = (float(part.stop - part.start) for part in (rows, columns))
    return extent(height * view.step, width * view.step, recon.pixel_size_m)


def probe_section(recon: Reconstruction) -> Section:
    """Amplitude and phase of the strongest modes, and the power of all."""
    powers, shares = mode_photons(recon.probe), mode_shares(recon.probe)
    rows = [
        [Cell(f"Mode {k}"), cell_of(float(power), "photons"), cell_of(100 * float(share), "%")]
        for k, (power, share) in enumerate(zip(powers, shares, strict=True), start=1)
    ]
    blocks: list[Block] = [Facts(_facts(recon)), _panels(recon)]
    if len(powers) > 1:
        blocks.append(Table("Power of the modes", ("Mode", "Photons per pattern", "Share"), rows))
    return Section("probe", "Probe", blocks)


def _panels(recon: Reconstruction) -> Figures:
    panels = []
    for number, pair in enumerate(probe_images(recon.probe), start=1):
        panels += panels_of(pair, recon.pixel_size_m, where=f"of probe mode {number}", most_px=256)
    caption = (
        "The phase is drawn where there is light. Modes are incoherent: their intensities add, never their fields."
    )
    if len(recon.probe) > MOST_MODES:
        caption += f" The {MOST_MODES} strongest of {len(recon.probe)} are drawn."
    return Figures(panels, caption, min(6, max(4, len(panels))))


def _facts(recon: Reconstruction) -> list[tuple[str, Cell]]:
    probe = torch.from_numpy(recon.probe)
    if not float(probe.abs().sum()) > 0:
        return [("Probe", Cell("dark"))]
    diameter = equivalent_diameter(probe)
    length = "" if recon.pixel_size_m is None else f" = {metres(diameter * recon.pixel_size_m)}"
    return [
        ("Modes", cell_of(len(recon.probe))),
        ("Photons per pattern, through vacuum", cell_of(float(mode_photons(recon.probe).sum()))),
        ("Diameter of the disk of equal area", Cell(f"{diameter:.3g}", value=diameter, unit=f"px{length}")),
        ("Power at the edge of the array", cell_of(100 * power_at_edge(probe), "%", digits=2)),
    ]


KEY, TITLE = "comparison", "Compared with a reference"
CAPTION = (
    "The first two of a row share one colour scale. Structure in a difference is an error; grain is noise. No "
    "amplitude was fitted."
)


def comparison_section(result: Evaluation, pixel_size_m: float | None, judged: bool) -> Section:
    """Reference, reconstruction and difference, amplitude above phase."""
    if result.comparison is None:
        why = "neither the truth of a simulation nor a reference is at hand" if judged else "nobody compared it"
        return Section(
            KEY, TITLE, absent=f"Not shown: {why}. `ptypinn evaluate RUN --reference OTHER` compares two runs."
        )
    rows = comparison_images(result.comparison)
    captions = ("", CAPTION)
    blocks = [Figures(panels_of(row, pixel_size_m), text) for row, text in zip(rows, captions, strict=True)]
    return Section(KEY, f"Compared with the {result.comparison.kind}", blocks)
