"""A scan at a glance: where it went, what the detector saw, how bright, and with which probe."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ptypinn.physics.optics import mode_photons
from ptypinn.report.figures.colours import AMPLITUDE_MAP, COUNTS_MAP, ColourScale, phase_scale, turn_scale
from ptypinn.report.figures.style import ACCENT, INK, MUTED, escape_mathtext, new_figure, show_image
from ptypinn.report.text.orientation import describe_orientation
from ptypinn.report.text.scan import QUANTA
from ptypinn.utils.number_format import format_length

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ptypinn.solvers.direct_images import DirectImages
    from ptypinn.stages.info import ScanInfo
    from ptypinn.stages.orient import Candidate, Ranking


PHASE_FLOOR = 0.05
"""The probe's phase is drawn where its amplitude exceeds this fraction of the largest."""


def info_figure(info: ScanInfo) -> Figure:
    """Positions, mean pattern and pattern sums, and the strongest probe mode where there is a probe."""
    probe, tilted = info.scan.probe, None if info.beam is None else info.beam.tilted
    rows = 1 + (probe is not None) + (tilted is not None)
    figure = new_figure(12.5, 0.8 + 3.4 * rows)
    figure.suptitle(escape_mathtext(_title(info)), fontsize=11, color=INK)
    axes = figure.subplots(rows, 3, squeeze=False)
    _draw_positions(axes[0, 0], info)
    _draw_mean_pattern(axes[0, 1], info)
    _draw_sums(axes[0, 2], info)
    if probe is not None:
        _draw_probe(axes[1, 0], axes[1, 1], info)
        _draw_radial_mean(axes[1, 2], info)
    if info.beam is not None and tilted is not None:
        from ptypinn.solvers.direct_images import form_direct_images

        turn = None if info.beam.orientation is None else info.beam.orientation.turn
        images = form_direct_images(tilted, info.beam.shifts, turn, info.scan.size)
        _draw_direct(axes[-1], images, info.scan.pixel_size_m)
    return figure


def _draw_direct(axes: np.ndarray, images: DirectImages, pixel_size_m: float | None) -> None:
    """Draw the pictures of an electron scan that nothing was solved for."""
    pictures = [
        ("Bright field", images.bright_field, images.step_px, ""),
        ("Bright field, tilts corrected", images.tilt_corrected, images.fine_step_px, ""),
        ("Phase from the deflection, rad", images.phase, images.step_px, "rad"),
    ]
    for panel, (title, image, step, unit) in zip(axes, pictures, strict=True):
        if image is None:
            panel.axis("off")
            panel.set_title("No shifts of tilted images", fontsize=10, color=MUTED)
            continue
        low, high = (float(value) for value in np.percentile(image, (1, 99)))
        scale = phase_scale(image) if unit else ColourScale("gray", low, max(high, low + 1e-9))
        show_image(panel, image, title, scale, None if pixel_size_m is None else step * pixel_size_m)


def _title(info: ScanInfo) -> str:
    scan = info.scan
    pixel = "" if scan.pixel_size_m is None else f", object pixel {format_length(scan.pixel_size_m)}"
    return f"{scan.source}: {scan.n_patterns} patterns of {scan.size} x {scan.size} pixels{pixel}"


def _draw_positions(axes: Axes, info: ScanInfo) -> None:
    y, x = info.scan.positions_px.T + info.scan.size / 2
    drawn = axes.scatter(x, y, c=info.patterns.sums, s=np.clip(4000 / len(x), 2, 30), cmap=COUNTS_MAP)
    if info.probe_diameter_px is not None:
        from matplotlib.patches import Circle

        axes.add_patch(Circle((x[0], y[0]), info.probe_diameter_px / 2, fill=False, color=ACCENT, lw=1.2))
    axes.set_aspect("equal")
    axes.margins(0.08)
    axes.invert_yaxis()
    _label(axes, f"Probe centres, coloured by {QUANTA[info.scan.particle]}", "x (object pixels)", "y (object pixels)")
    bar = axes.figure.colorbar(drawn, cax=axes.inset_axes((1.02, 0.0, 0.04, 1.0)))
    bar.ax.tick_params(labelsize=8)


def _draw_mean_pattern(axes: Axes, info: ScanInfo) -> None:
    mean, good = info.patterns.mean_pattern, info.scan.good
    lowest = 1.0 / info.scan.n_patterns
    logarithm = np.where(good, np.log10(np.maximum(mean, lowest)), np.nan)
    scale = ColourScale(COUNTS_MAP, *_span(logarithm))
    show_image(axes, logarithm, "Mean pattern, log10 counts", scale, bar=False)
    _mark(axes, ~good, "#4ecdc4", "masked")
    _mark(axes, info.patterns.dead, "#ff4d4d", "dead")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower right", fontsize=8, framealpha=0.8)


def _mark(axes: Axes, pixels: np.ndarray, colour: str, label: str) -> None:
    y, x = np.nonzero(pixels)
    if 0 < len(y) <= 0.1 * pixels.size:
        axes.scatter(x, y, s=14, marker="s", facecolors="none", edgecolors=colour, lw=0.8, label=f"{len(y)} {label}")


def _draw_sums(axes: Axes, info: ScanInfo) -> None:
    sums = info.patterns.sums
    axes.plot(sums, ".", ms=3, color=ACCENT, label="patterns")
    axes.axhline(sums.mean(), color=MUTED, lw=1, label=f"mean {sums.mean():.4g}")
    axes.legend(fontsize=8, framealpha=0.8)
    quanta = QUANTA[info.scan.particle]
    _label(axes, f"{quanta.capitalize()} in every pattern", "pattern", quanta)


def _draw_probe(left: Axes, right: Axes, info: ScanInfo) -> None:
    modes = info.scan.require_probe()
    strongest = modes[np.argmax(mode_photons(modes))]
    amplitude = np.abs(strongest)
    bright = amplitude > PHASE_FLOOR * amplitude.max()
    phase = np.where(bright, np.angle(strongest * np.conj(strongest.sum())), np.nan)
    unit = f"sqrt({QUANTA[info.scan.particle]})" if info.scan.probe_gauge == "calibrated" else "arbitrary"
    title = "Probe amplitude" if len(modes) == 1 else f"Probe amplitude, strongest of {len(modes)} modes"
    scale = ColourScale(AMPLITUDE_MAP, 0.0, float(amplitude.max()), unit)
    show_image(left, amplitude, title, scale, info.scan.pixel_size_m)
    show_image(right, phase, "Probe phase", turn_scale(), info.scan.pixel_size_m)


def _draw_radial_mean(axes: Axes, info: ScanInfo) -> None:
    mean, good, size = info.patterns.mean_pattern, info.scan.good, info.scan.size
    radius = np.hypot(*np.indices(mean.shape) - size // 2).astype(int)
    pixels = np.bincount(radius[good], minlength=size // 2)[: size // 2]
    counts = np.bincount(radius[good], mean[good], minlength=size // 2)[: size // 2]
    with np.errstate(invalid="ignore", divide="ignore"):
        profile = np.where(counts > 0, counts / pixels, np.nan)
    axes.semilogy(profile, color=ACCENT)
    axes.axhline(1, color=MUTED, lw=1, ls=":")
    _label(axes, "Mean pattern by radius", "distance from the centre (pixels)", "counts per pixel")


def _span(image: np.ndarray) -> tuple[float, float]:
    low, high = float(np.nanmin(image)), float(np.nanmax(image))
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _label(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, fontsize=10, color=INK)
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    axes.tick_params(labelsize=8)


def orient_figure(ranking: Ranking) -> Figure:
    """Residuals as bars, and the phase of the object in every orientation, best first."""
    figure = new_figure(15.0, 6.4)
    title = f"{escape_mathtext(ranking.scan.source)}: phase of the object by how the positions are turned"
    figure.suptitle(title, fontsize=11, color=INK)
    grid = figure.add_gridspec(2, 5)
    _draw_residuals(figure.add_subplot(grid[:, 0]), ranking)
    for place, one in enumerate(ranking.candidates):
        axes = figure.add_subplot(grid[place // 4, 1 + place % 4])
        title = f"{place + 1}. {_name(one, ranking)}\nresidual {one.residual:.4g}"
        _draw_phase(axes, one, title, ranking.scan.pixel_size_m)
    return figure


def _name(one: Candidate, ranking: Ranking) -> str:
    note = " (as read)" if one.is_as_read else " (twin)" if one is ranking.twin else ""
    return describe_orientation(ranking.positions_turned(one)) + note


def _draw_residuals(axes: Axes, ranking: Ranking) -> None:
    residuals = [one.residual for one in ranking.candidates]
    colours = [ACCENT, *[MUTED] * (len(residuals) - 1)]
    numbers = np.arange(1, len(residuals) + 1)
    axes.barh(numbers, residuals, color=colours)
    axes.set_yticks(numbers)
    axes.invert_yaxis()
    axes.set_title(f"Residual; second over first {ranking.margin:.2f}", fontsize=10, color=INK)
    axes.set_xlabel("amplitude residual", fontsize=9)
    axes.set_ylabel("rank", fontsize=9)
    axes.tick_params(labelsize=8)


def _draw_phase(axes: Axes, one: Candidate, title: str, pixel_size_m: float | None) -> None:
    phase = np.angle(one.object * np.conj(one.object.sum()))
    show_image(axes, phase, title, phase_scale(phase), pixel_size_m)
