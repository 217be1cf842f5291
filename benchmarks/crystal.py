"""A crystal of 20 nm in the electron microscope: what `reconstruct` finds of it, beside ptychi's multislice LSQ-ML.

abTEM simulates strontium titanate along its axis (200 keV, 20 mrad, 15 nm underfocus at the entrance), a scan of
`--patterns` a side in steps of 0.4 angstrom, each dose with counting noise of its own. `reconstruct` starts without a
probe, or from one 20 nm out of focus; LSQ-ML from the true probe, which it holds, and from vacuum. The projected phase
of each is compared with the projected potential, ring by ring of spatial frequencies (Fourier ring correlation), after
a shift and a ramp. With `--tilt` the crystal leans against the beam by two angles that nobody states. Needs the
environment of `make test-interop`; abTEM takes minutes (`--scan FILE` keeps its patterns). Writes JSON; one thread.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import map_coordinates

import ptypinn as pp
from ptypinn.data.aberrations import fit_aberrations
from ptypinn.data.depth import SLICES, compute_gaps, project_phase
from ptypinn.data.positions import canvas_frame, canvas_positions
from ptypinn.physics.lens import Lens, lens_probe
from ptypinn.physics.optics import compute_wavelength
from ptypinn.physics.patches import compute_illumination_at
from ptypinn.solvers.lsqml import LsqmlOptions, lsqml_task

RESULTS = Path(__file__).parent / "results" / "crystal.json"
CELL_A, CELLS, LAYERS, ENERGY_EV, SEMI_ANGLE_MRAD, DEFOCUS_A = 3.905, 9, 51, 200e3, 20.0, 150.0
STEP_A, SIZE, MAX_ANGLE_MRAD = 0.4, 128, 55
WAVELENGTH_M = compute_wavelength(ENERGY_EV, "electron")
THICKNESS_M, FOCUS_M, WRONG_FOCUS_M = LAYERS * CELL_A * 1e-10, -DEFOCUS_A * 1e-10, 20e-9
DOSES, NUMBER, EPOCHS, EVERY = (1e3, 1e4, 1e5), 10, 60, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scan", type=Path, default=Path("crystal.npz"))
    parser.add_argument("--doses", nargs="+", type=float, default=DOSES, help="electrons per square angstrom")
    parser.add_argument("--patterns", type=int, default=16, help="patterns along one side of the scan")
    parser.add_argument("--tilt", nargs=2, type=float, default=(0.0, 0.0), metavar=("Y", "X"), help="milliradians")
    parser.add_argument("--slices", type=int, default=NUMBER)
    parser.add_argument("--no-peer", action="store_true", help="keep the stored figures of LSQ-ML")
    parser.add_argument("--auto", action="store_true", help="find thickness and focus without a probe as well")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if not arguments.scan.exists():
        simulate(arguments.scan, arguments.patterns, arguments.tilt)
    results = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
    for dose in arguments.doses:
        with np.load(arguments.scan) as stored:
            scan, potential = make_scan(stored["patterns"], dose, arguments.patterns), Potential(stored["projected"])
        lean = " and ".join(f"{angle:g}" for angle in arguments.tilt)
        name = f"{dose:.0e} electrons per square angstrom"
        row = results.setdefault(f"{name}, tilted by {lean} mrad" if any(arguments.tilt) else name, {})
        row["reconstruct"] = solve(scan, potential, slices=arguments.slices, focus_m=FOCUS_M + WRONG_FOCUS_M)
        if arguments.auto:
            row["reconstruct, nothing given"] = solve(scan, potential, slices="auto", focus_m=None)
        if not arguments.no_peer:
            row["LSQ-ML, probe known"] = trace_lsqml(scan, potential, arguments.slices)
        print(json.dumps({name: row}), flush=True)
        arguments.output.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")


def simulate(path: Path, side: int, tilt_mrad: Sequence[float]) -> None:
    """Simulate the patterns, fractions of an electron, and the projected potential; abTEM tilts the beam instead."""
    import abtem
    from ase.spacegroup import crystal

    basis = [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0)]
    cell = crystal(["Sr", "Ti", "O"], basis=basis, spacegroup=221, cellpar=[CELL_A] * 3 + [90] * 3)
    atoms = cell * (CELLS, CELLS, LAYERS)
    potential = abtem.Potential(atoms, sampling=0.11, slice_thickness=CELL_A / 2)
    against = tuple(-angle for angle in tilt_mrad)
    beam = abtem.Probe(energy=ENERGY_EV, semiangle_cutoff=SEMI_ANGLE_MRAD, defocus=DEFOCUS_A, tilt=against)
    beam.grid.match(potential)
    field = side * STEP_A
    start = (CELLS * CELL_A - field) / 2
    scan = abtem.GridScan((start, start), (start + field,) * 2, sampling=STEP_A, endpoint=False)
    detector = abtem.PixelatedDetector(max_angle=MAX_ANGLE_MRAD)
    patterns = beam.scan(potential, scan=scan, detectors=detector).compute().array
    projected = potential.build().compute().array.sum(0)
    np.savez(path, patterns=patterns.astype(np.float32), projected=projected.astype(np.float32))


def make_scan(patterns: np.ndarray, dose: float, side: int) -> pp.ScanData:
    """Return the middle of the scan with counting noise, and with the true probe."""
    first, middle = len(patterns) // 2 - side // 2, patterns.shape[-1] // 2
    part, rows = slice(middle - SIZE // 2, middle + SIZE // 2), slice(first, first + side)
    means = patterns[rows, rows, part, part].reshape(-1, SIZE, SIZE) * dose * STEP_A**2
    pixel_m = CELLS * CELL_A * 1e-10 / SIZE  # the field of view of the simulation, as its detector has no finer pixels
    y, x = np.indices((side, side))
    return pp.ScanData(
        counts=np.random.default_rng(0).poisson(means).astype(np.uint16),
        positions_px=np.stack([y.ravel(), x.ravel()], 1) * STEP_A * 1e-10 / pixel_m,
        pixel_size_m=pixel_m,
        energy_eV=ENERGY_EV,
        particle="electron",
        probe=make_probe(pixel_m, FOCUS_M, dose * STEP_A**2),
        probe_gauge="calibrated",
        provenance={"file": "crystal"},
    )


def make_probe(pixel_m: float, focus_m: float, electrons: float) -> np.ndarray:
    """Return the probe of the lens with a focus."""
    lens = Lens(SEMI_ANGLE_MRAD * 1e-3, focus_m)
    return lens_probe(SIZE, lens, pixel_m, WAVELENGTH_M, electrons).numpy()


def solve(scan: pp.ScanData, potential: Potential, *, slices: int | str, focus_m: float | None) -> dict[str, Any]:
    """Reconstruct the scan from a probe out of focus, or without one; return what was found, and CPU seconds."""
    electrons = float(np.square(np.abs(scan.probe)).sum())
    if focus_m is None:
        scan = scan.replace(probe=None, probe_gauge="relative")
    else:
        scan = scan.replace(probe=make_probe(scan.pixel_size_m, focus_m, electrons))
    spacing = None if slices == "auto" else THICKNESS_M / slices
    stack = {"slices": slices, "slice_spacing_m": spacing, "positions": "recorded", "probe_modes": 1}
    started = time.process_time()
    recon = pp.reconstruct(scan, config=pp.ReconstructConfig(threads=1, device="cpu", **stack))
    seconds = time.process_time() - started
    record, lens = recon.provenance[SLICES], fit_aberrations(recon.probe[0], scan.pixel_size_m, WAVELENGTH_M)
    spacing = record["spacing_m"][0]
    found = None if lens is None else lens.terms["C10"].size_m - spacing / 2  # of the entrance: half a slice before
    return {
        "cpu_s": seconds,
        "defocus_error_m": None if found is None else found - FOCUS_M,
        "semi_angle_mrad": None if lens is None else 1e3 * lens.semi_angle_rad,
        "thickness_m": spacing * record["number"],
        "tilt_mrad": record.get("tilt_mrad", [0.0, 0.0]),
        "tilt_uncertainty_mrad": record.get("tilt_uncertainty_mrad"),
        "depth_variation": record["depth_variation"],
        "residual_over_noise": recon.metrics["amplitude_residual"] / recon.metrics["expected_residual"],
        **potential.compare(project_phase(recon.slices), recon.well_illuminated(0.5), scan.pixel_size_m),
    }


def trace_lsqml(scan: pp.ScanData, potential: Potential, number: int) -> list[dict[str, Any]]:
    """Run LSQ-ML with the true probe and the true thickness; compare every few epochs."""
    scan = scan.replace(gap_fresnel_numbers=compute_gaps(scan, [THICKNESS_M / number] * (number - 1)))
    light = compute_illumination_at(canvas_positions(scan), scan.probe, canvas_frame(scan)[1])
    seconds, trace = 0.0, []
    with lsqml_task(scan, LsqmlOptions(refine_probe=False)) as task:
        for epoch in range(1, EPOCHS + 1):
            started = time.process_time()
            task.step()
            seconds += time.process_time() - started
            if epoch % EVERY == 0:
                compared = potential.compare(project_phase(task.slices()), light > 0.5 * light.max(), scan.pixel_size_m)
                trace.append({"epoch": epoch, "cpu_s": seconds, **compared})
    return trace


class Potential:
    """The projected potential of the crystal, to compare projected phases with.

    Args:
        projected: On the grid of the simulation.
    """

    def __init__(self, projected: np.ndarray) -> None:
        self.image, self.pixel_m = projected.astype(float), CELLS * CELL_A * 1e-10 / len(projected)

    def compare(self, phase: np.ndarray, lit: np.ndarray, pixel_m: float) -> dict[str, Any]:
        """Return the correlation, ring by ring and of all, and the resolution: where a ring falls below 1/2."""
        rows, columns = (np.flatnonzero(lit.any(axis)) for axis in (1, 0))
        edge = min(len(rows), len(columns))
        ours = flatten(phase[rows[0] : rows[0] + edge, columns[0] : columns[0] + edge])
        window = np.outer(*[np.hanning(edge + 2)[1:-1]] * 2)
        true = self._align(ours, window, self._band_limit(pixel_m), pixel_m)
        spectra = [np.fft.fft2((image - image.mean()) * window) for image in (ours, true)]
        ring = np.rint(np.hypot(*np.ix_(*[np.fft.fftfreq(edge)] * 2)) * edge).astype(int)
        cross, *powers = (
            np.bincount(ring.ravel(), values.ravel())
            for values in ((spectra[0] * spectra[1].conj()).real, *(np.abs(image) ** 2 for image in spectra))
        )
        rings = (cross / np.sqrt(powers[0] * powers[1]))[1 : edge // 2 + 1]
        coarse = int(edge * pixel_m / (CELL_A * 1e-10))  # rings within the first reflection hold nothing of the crystal
        failing = np.flatnonzero(rings[coarse:] < 0.5)
        reach = (coarse + failing[0] if len(failing) else len(rings)) / (edge * pixel_m)
        return {
            "correlation": _correlate(ours, true, window),
            "ring_correlations": rings.round(4).tolist(),
            "resolution_m": 1 / reach if reach > 0 else None,
        }

    def _band_limit(self, pixel_m: float) -> np.ndarray:
        """Return the potential up to the frequencies of the reconstruction's pixels, on its own grid."""
        frequency = np.fft.fftfreq(len(self.image), self.pixel_m)
        inside = np.abs(frequency) < 1 / (2 * pixel_m)
        return np.fft.ifft2(np.fft.fft2(self.image) * np.outer(inside, inside)).real

    def _align(self, ours: np.ndarray, window: np.ndarray, image: np.ndarray, pixel_m: float) -> np.ndarray:
        """Return the part of the potential, on the reconstruction's pixels, that is most like it."""
        y, x = np.indices(ours.shape) * pixel_m / self.pixel_m

        def cut(dy: float, dx: float) -> np.ndarray:
            places = (y + dy) % len(image), (x + dx) % len(image)
            return np.asarray(map_coordinates(image, places, order=3, mode="grid-wrap"))

        cell, best = CELL_A * 1e-10 / self.pixel_m, (0.0, 0.0)
        for step, reach in ((0.5, cell / 2), (0.1, 0.5), (0.02, 0.1)):
            offsets = np.arange(-reach, reach + step / 2, step)
            tried = [(best[0] + dy, best[1] + dx) for dy in offsets for dx in offsets]
            best = max(tried, key=lambda shift: _correlate(ours, cut(*shift), window))
        return cut(*best)


def _correlate(image: np.ndarray, other: np.ndarray, window: np.ndarray) -> float:
    return float(np.corrcoef((image * window).ravel(), (other * window).ravel())[0, 1])


def flatten(image: np.ndarray) -> np.ndarray:
    """Return an image without its mean slope."""
    design = np.stack([np.ones(image.size), *(axis.ravel() for axis in np.indices(image.shape))], 1)
    return image - (design @ np.linalg.lstsq(design, image.ravel(), rcond=None)[0]).reshape(image.shape)


if __name__ == "__main__":
    main()
