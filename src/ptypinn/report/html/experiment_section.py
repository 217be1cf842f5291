"""Section of a report: departures of the experiment from the ideal one, their size, and their course over the scan."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import TERMS, ScanData
from ptypinn.report.figures.colours import COUNTS_MAP, ColourScale
from ptypinn.report.figures.images import ScaledImage
from ptypinn.report.figures.panels import draw_panels
from ptypinn.report.html.page import Block, Drawing, Figures, Points, Section
from ptypinn.report.html.svg_chart import UNITS_PER_INCH, Axis, Curve, axis_for, line_chart
from ptypinn.report.text.experiment import experiment_sentences

Positions = Float64[np.ndarray, "patterns 2"]
KEY, TITLE = "experiment", "The experiment"
NOTHING = "No departure from the ideal experiment is on record."
WIDTH, HEIGHT = 700.0, 200.0
MAX_PX = 256
"""Longest edge of the picture of the background."""
SQUARE, CIRCLE, MAX_MOVES = 420.0, 0.008, 1500
"""Width of the chart of positions; radius of a circle over the extent of the scan; most moves that are drawn."""
MAX_IMAGES = 2
"""Images of a varying probe whose course is drawn."""
MAX_POINTS = 2000
"""Frames that a chart shows; of longer scans, means over equal numbers of frames."""


def experiment_section(recon: Reconstruction, recorded_px: Positions | None = None) -> Section:
    """Return the departures from the ideal experiment, with positions, background and flux where they were solved for.

    Args:
        recon: The reconstruction.
        recorded_px: Recorded positions of its patterns, (patterns, 2), pixels; None where they are not at hand.
    """
    sentences = experiment_sentences(recon)
    if not sentences and all(getattr(recon, name) is None for name in TERMS):
        return Section(KEY, TITLE, absent=NOTHING)
    blocks: list[Block] = [Points(sentences)] if sentences else []
    if recon.has_solved("positions") and recorded_px is not None:
        caption = "From the recorded positions (circles) to those that were solved for, beside their common shift."
        blocks.append(Figures([_positions_drawing(recon, recorded_px)], caption, 1))
    if recon.background is not None:
        panels = draw_panels([_background_image(recon.background)], None, bar=False, max_px=MAX_PX)
        blocks.append(Figures(panels, "Background of every frame, the same in all.", 1))
    if recon.flux is not None:
        blocks.append(Figures([_flux_drawing(recon.flux)], "Flux of every frame, in the order of the scan.", 1))
    if recon.beam_px is not None:
        caption = "Displacement of every pattern on the detector, in the order of the scan: along y (dark) and x."
        blocks.append(Figures([_beam_drawing(recon.beam_px)], caption, 1))
    if recon.probe_variation is not None:
        caption = "Part of the strongest images that the probe has beside its mean, in the order of the scan."
        blocks.append(Figures([_variation_drawing(recon)], caption, 1))
    return Section(KEY, TITLE, blocks)


def recorded_positions(recon: Reconstruction, scan: ScanData) -> Positions:
    """Return the recorded positions of the patterns of a reconstruction.

    Args:
        recon: The reconstruction.
        scan: The scan as it was read.
    """
    if recon.fresnel_number is not None and scan.fresnel_number is None and recon.pixel_size_m is not None:
        scan = scan.rescale_pixel(recon.pixel_size_m)
    if len(recon.positions_px) == scan.n_patterns or recon.patterns is None:
        return scan.positions_px
    return scan.positions_px[recon.patterns]


def _positions_drawing(recon: Reconstruction, recorded_px: Positions) -> Drawing:
    """Return the moves of the positions as lines from circles; of many, evenly spaced ones."""
    solved = recon.positions_px + np.asarray(recon.origin_px, float)
    moves = solved - recorded_px
    index = np.unique(np.linspace(0, len(moves) - 1, min(len(moves), MAX_MOVES)).astype(int))
    start, move = recorded_px[index], (moves - moves.mean(0))[index]
    gap = np.full(len(index), np.nan)
    lines = [np.stack([start[:, axis], start[:, axis] + move[:, axis], gap], 1).ravel() for axis in (0, 1)]
    turn = np.linspace(0, 2 * np.pi, 9)
    radius = CIRCLE * float(np.ptp(recorded_px, axis=0).max())
    rings = [
        np.column_stack([start[:, axis, None] + radius * wave, gap]).ravel()
        for axis, wave in ((0, np.sin(turn)), (1, np.cos(turn)))
    ]
    down, across = (np.concatenate([lines[axis], rings[axis]]) for axis in (0, 1))
    y, x = axis_for(-down, "-y, pixels"), axis_for(across, "x, pixels")
    edge = SQUARE * (y.high - y.low) / (x.high - x.low)
    curves = [Curve(lines[1], -lines[0], width=1.2), Curve(rings[1], -rings[0], colour="ink", width=0.6)]
    chart = line_chart(x, y, curves, SQUARE, min(max(edge, HEIGHT), 2 * SQUARE))
    largest = float(np.linalg.norm(moves - moves.mean(0), axis=1).max())
    return Drawing(chart, f"Moves of {len(moves)} positions, at most {largest:.3g} pixels.", SQUARE / UNITS_PER_INCH)


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


def _beam_drawing(beam_px: np.ndarray) -> Drawing:
    """Return the displacement of the patterns over the frames as a chart."""
    (frames, y), (_, x) = (_thin_out(values) for values in beam_px.T)
    chart = line_chart(
        Axis(0.0, max(float(len(beam_px) - 1), 1.0), "frame", integer=True),
        axis_for(np.concatenate([y, x]), "detector pixels"),
        [Curve(frames, y, colour="ink", width=1.0), Curve(frames, x, width=1.0)],
        WIDTH,
        HEIGHT,
    )
    reach = float(np.linalg.norm(beam_px - beam_px[0], axis=1).max())
    title = f"Beam of {len(beam_px)} frames, at most {reach:.3g} detector pixels from its start."
    return Drawing(chart, title, WIDTH / UNITS_PER_INCH)


def _variation_drawing(recon: Reconstruction) -> Drawing:
    """Return the parts of the strongest images that frames add to the probe, over its mean, as a chart."""
    import torch

    from ptypinn.physics.probe_variation import ProbeVariation, sort_variation

    variation = ProbeVariation(torch.from_numpy(recon.probe_variation), torch.from_numpy(recon.probe_weights))
    images, weights = sort_variation(variation)
    norm = float(np.linalg.norm(recon.probe))
    parts = [
        _thin_out(weight * float(torch.linalg.vector_norm(image)) / norm)
        for image, weight in zip(images[:MAX_IMAGES], weights.T.numpy(), strict=False)
    ]
    number, colours = len(weights), ("ink", "accent")
    chart = line_chart(
        Axis(0.0, max(float(number - 1), 1.0), "frame", integer=True),
        axis_for(np.concatenate([values for _, values in parts]), "amplitude over the mean"),
        [
            Curve(frames, values, colour=colour, width=1.0)
            for (frames, values), colour in zip(parts, colours, strict=False)
        ],
        WIDTH,
        HEIGHT,
    )
    largest = max(float(np.abs(values).max()) for _, values in parts)
    return Drawing(chart, f"Change of the probe, at most {largest:.2g} of its amplitude.", WIDTH / UNITS_PER_INCH)


def _thin_out(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return frame numbers and values, averaged over equal numbers of frames where there are many."""
    width = -(-len(values) // MAX_POINTS)
    starts = np.arange(0, len(values), width)
    counts = np.diff(np.append(starts, len(values)))
    return starts + (counts - 1) / 2, np.add.reduceat(values, starts) / counts
