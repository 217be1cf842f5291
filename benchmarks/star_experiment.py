"""What belongs to the real Siemens star and what to its scan: pictures before and after the terms of the experiment.

Solves the scan as if its experiment were ideal, with all terms that the counts demand, and with these terms given from
every other scan line alone: what is in the sample is in both halves, which were taken at other times. Needs the scan
file `siemens_star.npz` (Velociprobe, APS; from the tike project). Prints JSON and draws the picture of the docs.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from scipy.ndimage import binary_erosion, gaussian_filter

import ptypinn as pp
from ptypinn.metrics import align
from ptypinn.metrics.data_fit import compute_data_fit
from ptypinn.report.figures.colours import ColourScale
from ptypinn.report.figures.style import new_figure, png_bytes, show_image

MIN_LINE_STEP_PX = 2.0
"""Smallest step along y between two lines of the scan, pixels."""
STEP = ((192.0, 20.0), (135.0, 260.0))
"""Two points (y, x) on the step of the phase, pixels of the scan."""
CORNER, MIDDLE = (90, 230, 0, 270), (-45, 165, -65, 145)
"""Rows and columns of the lower right and of the middle, pixels of the scan."""
CENTRE, RING_PX = (60.0, 36.0), (40.0, 130.0)
"""Centre of the star, and the radii between which the spots of the amplitude are, pixels of the scan."""
OPEN_RAD = -0.1
"""Phase above which the sample is open."""
MIN_ILLUMINATION = 0.05
"""Illumination of what is drawn, over the largest."""
REACH_PX = 40
"""Largest distance from the step, pixels."""
BEFORE, AFTER, EVEN, ODD = "ideal experiment", "all terms", "even lines", "odd lines"


@dataclass(frozen=True)
class Picture:
    """Object of one solve on the pixels of the scan."""

    image: np.ndarray
    """Transmission, without the ramp of the phase, (height, width)."""
    lit: np.ndarray
    """Well-illuminated pixels."""
    origin: tuple[int, int]
    """Coordinates (y, x) of the first pixel."""

    def cut(self, rows: int, end_row: int, columns: int, end_column: int) -> np.ndarray:
        """Return a part of the image, NaN where it is dark."""
        y, x = self.origin
        part = np.s_[rows - y : end_row - y, columns - x : end_column - x]
        return np.where(self.lit[part], self.image[part], np.nan)

    @property
    def places(self) -> np.ndarray:
        """Coordinates (y, x) of all pixels, (2, height, width)."""
        return np.indices(self.image.shape) + np.reshape(self.origin, (2, 1, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scan", type=Path, help="siemens_star.npz")
    parser.add_argument("--runs", type=Path, required=True, help="folder for the solves; those in it are not repeated")
    parser.add_argument("--picture", type=Path, help="file for the picture")
    parser.add_argument("--output", type=Path, help="file for the JSON; default: standard output")
    arguments = parser.parse_args()
    scan = pp.load(arguments.scan)
    solves = solve_all(scan, arguments.runs)
    pictures = level(solves)
    profiles = {name: measure_step(picture, pictures[AFTER]) for name, picture in pictures.items()}
    text = json.dumps(summarise(scan, solves, pictures, profiles), indent=1) + "\n"
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")
    print(text)
    if arguments.picture:
        arguments.picture.write_bytes(draw(scan, solves, pictures, profiles))


def solve_all(scan: pp.ScanData, folder: Path) -> dict[str, pp.Reconstruction]:
    """Return the solves by name, from the folder where they are in it."""
    folder.mkdir(parents=True, exist_ok=True)

    def solve(name: str, part: pp.ScanData, config: pp.ReconstructConfig) -> pp.Reconstruction:
        path = folder / f"{name.replace(' ', '_')}.h5"
        if not path.exists():
            pp.reconstruct(part, config=config).save(path)
        return pp.Reconstruction.load(path)

    solves = {BEFORE: solve(BEFORE, scan, pp.ReconstructConfig(assume="ideal", threads=1))}
    solves[AFTER] = solve(AFTER, scan, pp.ReconstructConfig(threads=1))
    terms = solves[AFTER].scan_part(scan).replace(probe=solves[AFTER].probe, probe_gauge="calibrated", truth=None)
    held = pp.ReconstructConfig(refine_probe=False, assume="ideal", threads=1)
    for name, parity in ((EVEN, 0), (ODD, 1)):
        steps = np.abs(np.diff(scan.positions_px[:, 0])) > MIN_LINE_STEP_PX
        lines = np.concatenate([[0], np.cumsum(steps)])
        solves[name] = solve(name, terms.subset(np.flatnonzero(lines % 2 == parity)), held)
    return solves


def level(solves: Mapping[str, pp.Reconstruction]) -> dict[str, Picture]:
    """Return the objects on the pixels that all of them have, without their ramps, phase 0 where the sample is open."""
    low = np.max([recon.origin_px for recon in solves.values()], axis=0)
    high = np.min([np.add(recon.origin_px, recon.object.shape) for recon in solves.values()], axis=0)
    images, lit = {}, np.ones(high - low, bool)
    for name, recon in solves.items():
        y, x = low - recon.origin_px
        part = np.s_[y : y + high[0] - low[0], x : x + high[1] - low[1]]
        images[name] = recon.object[part]
        lit &= (recon.illumination > MIN_ILLUMINATION * recon.illumination.max())[part]
    flat = images[AFTER]
    for axis in (0, 1):
        steps = (np.roll(flat, -1, axis) * flat.conj())[lit & np.roll(lit, -1, axis)]
        flat = flat * np.exp(-1j * np.angle(steps.sum()) * np.indices(flat.shape)[axis])
    flat = flat * np.exp(-1j * np.angle(flat[lit].sum()))
    flat = flat * np.exp(-1j * np.median(np.angle(flat)[lit & (np.angle(flat) > OPEN_RAD)]))
    origin = int(low[0]), int(low[1])
    return {name: Picture(align(image, flat, lit, ramp=True).image, lit, origin) for name, image in images.items()}


def find_open(picture: Picture, margin: int) -> np.ndarray:
    """Return the pixels between the spokes, further from them than a margin."""
    phase = gaussian_filter(np.angle(picture.image), 1.0)
    return binary_erosion(picture.lit & (phase > OPEN_RAD - 0.2), iterations=margin)


def measure_step(picture: Picture, reference: Picture) -> np.ndarray:
    """Return the mean phase between the spokes by the distance from the step, pixels, within `REACH_PX`."""
    (y0, x0), (y1, x1) = STEP
    y, x = picture.places
    along = np.hypot(y1 - y0, x1 - x0)
    distance = ((y - y0) * (x1 - x0) - (x - x0) * (y1 - y0)) / along
    place = ((y - y0) * (y1 - y0) + (x - x0) * (x1 - x0)) / along
    usable = find_open(reference, 3) & (place > 0) & (place < along)
    phase = np.angle(picture.image)
    return np.array([np.median(phase[usable & (np.abs(distance - d) < 1)]) for d in range(-REACH_PX, REACH_PX + 1)])


def spot_scatter(picture: Picture, reference: Picture) -> float:
    """Return the standard deviation of the smoothed amplitude between the spokes around the middle."""
    y, x = picture.places
    radius = np.hypot(y - CENTRE[0], x - CENTRE[1])
    ring = find_open(reference, 2) & (radius > RING_PX[0]) & (radius < RING_PX[1])
    return float(gaussian_filter(np.abs(picture.image), 2.0)[ring].std())


def summarise(
    scan: pp.ScanData,
    solves: Mapping[str, pp.Reconstruction],
    pictures: Mapping[str, Picture],
    profiles: Mapping[str, np.ndarray],
) -> dict[str, object]:
    """Return residuals, terms, step and spots as plain values."""
    moves = measure_moves(scan, solves[AFTER])
    flux = solves[AFTER].flux
    return {
        "residual": {name: solves[name].metrics["amplitude_residual"] for name in (BEFORE, AFTER)},
        "expected": solves[AFTER].metrics["expected_residual"],
        "flux_std": 0.0 if flux is None else float(flux.std()),
        "moves_rms_px": moves.std(0).tolist(),
        "step": {name: measure_edge(profile) for name, profile in profiles.items()},
        "spots": {name: spot_scatter(picture, pictures[AFTER]) for name, picture in pictures.items()},
    }


def measure_edge(profile: np.ndarray) -> dict[str, float]:
    """Return the step between 8 pixels on both sides, rad, and where it falls from 80 to 20 %, its width, pixels."""
    high, low = (float(profile[REACH_PX + side - 2 : REACH_PX + side + 3].mean()) for side in (-8, 8))
    inner = (profile[REACH_PX - 8 : REACH_PX + 9] - low) / (high - low)
    return {"height_rad": high - low, "width_px": int(np.argmax(inner < 0.2) - np.argmax(inner < 0.8))}


def measure_moves(scan: pp.ScanData, recon: pp.Reconstruction) -> np.ndarray:
    """Return how far the positions of the frames moved, pixels."""
    moves = recon.positions_px + np.asarray(recon.origin_px, float) - scan.positions_px
    return moves - moves.mean(0)


def draw(
    scan: pp.ScanData,
    solves: Mapping[str, pp.Reconstruction],
    pictures: Mapping[str, Picture],
    profiles: Mapping[str, np.ndarray],
) -> bytes:
    """Return the picture: lower right, middle, and the frames in order of time."""
    figure = new_figure(13.0, 8.5)
    grid = figure.add_gridspec(3, 4, height_ratios=(0.8, 1.3, 1))
    phases = ColourScale("gray", 0.0, 0.35, "rad")
    for column, (name, picture) in enumerate(pictures.items()):
        show_image(figure.add_subplot(grid[0, column]), np.angle(picture.cut(*CORNER)), f"phase: {name}", phases)
    amplitudes = ColourScale("gray", 0.85, 1.15)
    for column, name in enumerate((BEFORE, AFTER)):
        middle = gaussian_filter(np.nan_to_num(np.abs(pictures[name].cut(*MIDDLE)), nan=1.0), 1.0)
        show_image(figure.add_subplot(grid[1, column]), middle, f"amplitude: {name}", amplitudes)
    axes = figure.add_subplot(grid[1, 2:])
    for name, profile in profiles.items():
        axes.plot(np.arange(-REACH_PX, REACH_PX + 1), profile, lw=1, label=name)
    axes.set(title="phase across the step", xlabel="distance, px", ylabel="rad")
    axes.legend(fontsize=7)
    draw_frames(figure, grid, scan, solves)
    return png_bytes(figure, dpi=80)


def draw_frames(figure: Figure, grid: GridSpec, scan: pp.ScanData, solves: Mapping[str, pp.Reconstruction]) -> None:
    """Draw residual, flux and moves of the frames in order of time."""
    residual, flux, places = (figure.add_subplot(grid[2, part]) for part in (0, 1, slice(2, None)))
    for name in (BEFORE, AFTER):
        recon = solves[name]
        fit = compute_data_fit(recon.scan_part(scan), recon.object, recon.probe, recon.positions_px)
        residual.plot(fit.per_pattern_residual / fit.per_pattern_expected, lw=0.7, label=name)
    residual.set(title="misfit over counting noise", xlabel="frame")
    residual.legend(fontsize=7)
    if solves[AFTER].flux is not None:
        flux.plot(solves[AFTER].flux, lw=0.6)
    flux.set(title="flux", xlabel="frame")
    for axis, moves in zip("yx", measure_moves(scan, solves[AFTER]).T, strict=True):
        places.plot(moves, lw=0.6, label=axis)
    places.set(title="beam beside the recorded positions, px", xlabel="frame")
    places.legend(fontsize=7)


if __name__ == "__main__":
    main()
