"""Section of a report: the slices of a thick sample, in the order of the beam."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ptypinn.data.depth import SLICES, slice_depths
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.report.figures.colours import PHASE_MAP, ColourScale, amplitude_scale, phase_scale, robust_limits
from ptypinn.report.figures.display import VisibleRegion, view_object
from ptypinn.report.figures.images import DETAIL_PX, ScaledImage
from ptypinn.report.figures.panels import draw_panels
from ptypinn.report.html.page import Block, Figures, Points, Section
from ptypinn.report.text.experiment import slice_sentences
from ptypinn.utils.number_format import format_length

KEY, TITLE = "slices", "Slices along the beam"
THIN = "The sample was taken to be thin. `--slices auto` looks for depth in it."
PROJECTION = "Sum of the phases of all slices, relative to its mean: it may exceed a turn."
MAX_SLICES = 16
"""Most slices that are drawn; of more, evenly spaced ones."""


def slices_section(recon: Reconstruction, region: VisibleRegion) -> Section:
    """Return phase and amplitude of every slice, on one colour scale each.

    Args:
        recon: The reconstruction.
        region: Part of the canvas to draw.
    """
    sentences = slice_sentences(recon)
    blocks: list[Block] = [Points(sentences)] if sentences else []
    if recon.slices is None:
        return Section(KEY, TITLE, blocks) if blocks else Section(KEY, TITLE, absent=THIN)
    phases, amplitudes = slice_images(recon, region)
    caption = (
        "The beam meets slice 1 first. All phases share one colour scale, relative to the mean of their slice; detail "
        "that is coarser than the depth of field resolves is divided among neighbouring slices."
    )
    columns = 2 if len(phases) == 2 else 3
    blocks += [
        Figures(draw_panels([projection_image(recon, region)], recon.pixel_size_m), PROJECTION),
        Figures(draw_panels(phases, recon.pixel_size_m), caption, columns),
    ]
    if not _are_of_phase_alone(recon):
        blocks.append(Figures(draw_panels(amplitudes, recon.pixel_size_m), "Amplitudes, likewise.", columns))
    return Section(KEY, TITLE, blocks)


def projection_image(recon: Reconstruction, region: VisibleRegion) -> ScaledImage:
    """Return the sum of the phases of all slices, on a scale of its own that may exceed a turn.

    Args:
        recon: Reconstruction of a thick sample.
        region: Part of the canvas to draw.
    """
    view = view_object(recon, region, DETAIL_PX)
    limits = robust_limits(view.phase[np.isfinite(view.phase)])
    return ScaledImage("Projected phase", view.phase, ColourScale(PHASE_MAP, *limits, "rad"), view.binning)


def slice_images(recon: Reconstruction, region: VisibleRegion) -> tuple[list[ScaledImage], list[ScaledImage]]:
    """Return the phases and the amplitudes of the slices, each on one colour scale.

    Args:
        recon: Reconstruction of a thick sample.
        region: Part of the canvas to draw.
    """
    assert recon.slices is not None
    chosen = np.unique(np.linspace(0, len(recon.slices) - 1, min(len(recon.slices), MAX_SLICES)).astype(int))
    views = [view_object(replace(recon, object=recon.slices[n], slices=None), region, DETAIL_PX) for n in chosen]
    masks = [view.reference_mask for view in views]
    titles = [_title(recon, int(number)) for number in chosen]
    scales = (
        phase_scale(np.concatenate([view.phase[mask] for view, mask in zip(views, masks, strict=True)])),
        amplitude_scale(np.concatenate([view.amplitude[mask] for view, mask in zip(views, masks, strict=True)])),
    )
    phases, amplitudes = (
        [
            ScaledImage(title, getattr(view, name), scale, view.binning)
            for title, view in zip(titles, views, strict=True)
        ]
        for name, scale in zip(("phase", "amplitude"), scales, strict=True)
    )
    return phases, amplitudes


def _are_of_phase_alone(recon: Reconstruction) -> bool:
    record = recon.provenance.get(SLICES)
    return isinstance(record, Mapping) and record.get("transmission") == "phase"


def _title(recon: Reconstruction, number: int) -> str:
    """Return number and depth of a slice."""
    depths = slice_depths(recon.provenance, 0 if recon.slices is None else len(recon.slices))
    if depths is None:
        return f"Slice {number + 1}"
    return f"Slice {number + 1}, depth {format_length(depths[number], 3) if number else 0}"
