"""Section of a report: departures of the experiment from the ideal one, their size, and their course over the scan."""

from __future__ import annotations

import numpy as np

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.report.html.page import Block, Drawing, Figures, Points, Section
from ptypinn.report.html.svg_chart import UNITS_PER_INCH, Axis, Curve, axis_for, line_chart
from ptypinn.report.text.verdict import experiment_sentences

KEY, TITLE = "experiment", "The experiment"
NOTHING = "No departure from the ideal experiment is on record."
WIDTH, HEIGHT = 700.0, 200.0
MAX_POINTS = 2000
"""Frames that a chart shows; of longer scans, means over equal numbers of frames."""


def experiment_section(recon: Reconstruction) -> Section:
    """Return the departures from the ideal experiment, and the flux of the frames where it was solved for."""
    sentences = experiment_sentences(recon)
    if not sentences and recon.flux is None:
        return Section(KEY, TITLE, absent=NOTHING)
    blocks: list[Block] = [Points(sentences)] if sentences else []
    if recon.flux is not None:
        blocks.append(Figures([_flux_drawing(recon.flux)], "Flux of every frame, in the order of the scan.", 1))
    return Section(KEY, TITLE, blocks)


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
