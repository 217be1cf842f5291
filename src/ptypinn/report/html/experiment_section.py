"""Section of a report: departures of the experiment from the ideal one, their size, and their course over the scan."""

from __future__ import annotations

import numpy as np

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.report.figures.colours import COUNTS_MAP, ColourScale
from ptypinn.report.figures.images import ScaledImage
from ptypinn.report.figures.panels import draw_panels
from ptypinn.report.html.page import Block, Drawing, Figures, Points, Section
from ptypinn.report.html.svg_chart import UNITS_PER_INCH, Axis, Curve, axis_for, line_chart
from ptypinn.report.text.experiment import experiment_sentences

KEY, TITLE = "experiment", "The experiment"
NOTHING = "No departure from the ideal experiment is on record."
WIDTH, HEIGHT = 700.0, 200.0
MAX_PX = 256
"""Longest edge of the picture of the background."""
MAX_POINTS = 2000
"""Frames that a chart shows; of longer scans, means over equal numbers of frames."""


def experiment_section(recon: Reconstruction) -> Section:
    """Return the departures from the ideal experiment, with the background and the flux of the frames where given."""
    sentences = experiment_sentences(recon)
    if not sentences and recon.flux is None and recon.background is None:
        return Section(KEY, TITLE, absent=NOTHING)
    blocks: list[Block] = [Points(sentences)] if sentences else []
    if recon.background is not None:
        panels = draw_panels([_background_image(recon.background)], None, bar=False, max_px=MAX_PX)
        blocks.append(Figures(panels, "Background of every frame, the same in all.", 1))
    if recon.flux is not None:
        blocks.append(Figures([_flux_drawing(recon.flux)], "Flux of every frame, in the order of the scan.", 1))
    return Section(KEY, TITLE, blocks)


def _background_image(background: np.ndarray) -> ScaledImage:
    """Return the background on a linear scale from 0."""
    top = float(np.nanmax(background, initial=0.0))
    return ScaledImage("Background", background, ColourScale(COUNTS_MAP, 0.0, top or 1.0, "counts per pixel"))


def _flux_drawing(flux: np.ndarray) -> Drawing:
    """Return the flux over the frames as a chart."""
    frames, values = _thin_out(flux)
    chart = line_chart(
        Axis(0.0, max(float(len(flux) - 1), 1.0), "frame", integer=True),
        axis_for(values, "flux over its mean"),
        [Curve(frames, values, width=1.0)],
        WIDTH,
        HEIGHT,
    )
    spread = f"between {values.min():.3g} and {values.max():.3g} times its mean"
    return Drawing(chart, f"Flux of {len(flux)} frames, {spread}.", WIDTH / UNITS_PER_INCH)


def _thin_out(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return frame numbers and values, averaged over equal numbers of frames where there are many."""
    width = -(-len(values) // MAX_POINTS)
    starts = np.arange(0, len(values), width)
    counts = np.diff(np.append(starts, len(values)))
    return starts + (counts - 1) / 2, np.add.reduceat(values, starts) / counts
