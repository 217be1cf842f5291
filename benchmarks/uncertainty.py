"""Calibration of the uncertainty map: errors against it on simulated scans, and the constants that fit them best.

Scans of five kinds of object at doses from 1e3 to 1e7, with random overlap, contrast and probe, half of them with the
probe known and half with a guess that is 20 % too wide or out of focus; of two slices for `multislice`. One set of
scans is for fitting the two constants of every solver (`ptypinn.uncertainty.error_map`), another, with other seeds, for
checking those of the package. The truth is aligned by its global phase, and by ramp and shift where the probe was
solved for; never by amplitude. Writes JSON; in an existing file the entries of methods that are not run again remain.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import least_squares

import ptypinn as pp
from ptypinn.data.simulation import draw_probe
from ptypinn.metrics import align, compute_data_fit
from ptypinn.models.model_file import load_weights
from ptypinn.physics.optics import probe_photons
from ptypinn.uncertainty.error_map import Constants, uncertainty_constants, variance_parts

KINDS = ("lines", "dead_leaves", "natural", "grf", "siemens")
DOSES = (1e3, 1e4, 1e5, 1e6, 1e7)
SEEDS = {"fit": 1000, "check": 5000}
SLICES = 2
GOOD = (0.7, 1.4)
BAND_FRACTIONS = (0.1, 0.3, 0.6)


@dataclass(frozen=True)
class Sample:
    """Errors on the compared pixels of one scan, and the parts of the map's variance there."""

    name: str
    error2: np.ndarray
    noise: np.ndarray
    misfit: np.ndarray
    bands: np.ndarray
    """Band of illumination of a pixel, of four, the weakest first."""
    max_variance: float
    constants: Constants

    def variance(self, noise: float, misfit: float, floor: float = 0.0) -> np.ndarray:
        """Return the variance of every pixel with these constants."""
        variance = noise * self.noise + misfit * self.misfit + floor**2 * self.max_variance
        return np.minimum(variance, self.max_variance)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", nargs="+", default=["refine", "unrolled", "polished"], choices=list(METHODS))
    parser.add_argument("--weights", type=Path, help="weights of the unrolled solver; default: those of the package")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--doses", nargs="+", type=float, default=list(DOSES))
    parser.add_argument("--output", type=Path, help="file for the JSON, beside standard output")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    samples: dict[str, dict[str, list[Sample]]] = {method: {name: [] for name in SEEDS} for method in arguments.methods}
    for (name, first), slices in itertools.product(SEEDS.items(), (1, SLICES)):
        methods_now = [method for method in arguments.methods if (method == "multislice") == (slices > 1)]
        for label, scan, known in scans(first, arguments.kinds, arguments.doses, slices) if methods_now else ():
            for method in methods_now:
                recon = METHODS[method](scan, known, arguments.weights)
                samples[method][name].append(make_sample(label, recon, scan, known))
            print(name, label, file=sys.stderr, flush=True)
    previous = arguments.output is not None and arguments.output.exists()
    methods = json.loads(arguments.output.read_text())["methods"] if previous else {}
    networks = {"unrolled", "polished"}
    digest = load_weights(arguments.weights).digest if networks & {*arguments.methods} else None
    for method, sets in samples.items():
        weights = {"weights_sha256": digest} if method in networks else {}
        methods[method] = {**weights, "fitted": fit_constants(sets["fit"]), **check_constants(sets["check"])}
    text = json.dumps({"version": pp.__version__, "methods": methods}, indent=1) + "\n"
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


def scans(first: int, kinds: list[str], doses: list[float], slices: int) -> Iterator[tuple[str, pp.ScanData, bool]]:
    """Yield label, scan with the solver's initial probe, and True where that probe is the true one."""
    for number, (kind, photons, known) in enumerate(itertools.product(kinds, doses, (True, False))):
        config = draw_config(kind, photons, known, first + number, slices)
        scan = pp.simulate(config)
        if not known:
            probe = draw_probe(replace(guess_probe(config), slices=1))
            probe = probe * torch.sqrt(photons / probe_photons(probe)).float()
            scan = scan.replace(probe=probe.numpy(), probe_gauge="calibrated")
        yield f"{kind}, {photons:.0e} photons, {'known' if known else 'guessed'} probe", scan, known


def draw_config(kind: str, photons: float, known: bool, seed: int, slices: int) -> pp.SimulateConfig:
    """Return a configuration with random probe, overlap (thick samples need more) and contrast."""
    rng = np.random.default_rng(seed)
    disk = bool(rng.random() < 0.5)
    return pp.SimulateConfig(
        object=kind,  # type: ignore[arg-type]  # one of KINDS
        object_size=(144, 144),
        size=48,
        photons=photons,
        slices=slices,
        overlap=float(rng.uniform(0.65 if slices > 1 else 0.4 if known else 0.5, 0.8)),
        amplitude_range=(1.0, float(rng.uniform(0.3, 0.9)) ** (1 / slices)),
        phase_range=(0.0, float(rng.uniform(0.3, 2.0)) / slices),
        seed=seed,
        **({"probe": "disk", "curvature_rad": 3.0, "probe_diameter_px": 16.0} if disk else {"probe": "zone_plate"}),
    )


def guess_probe(config: pp.SimulateConfig) -> pp.SimulateConfig:
    """Return the configuration of a probe guess: too wide by a fifth, less curved by a fifth, or less out of focus."""
    if config.probe == "disk":
        wide, flat = 1.2 * config.probe_diameter_px, 0.8 * config.curvature_rad
        return replace(config, probe_diameter_px=wide, curvature_rad=flat)
    return replace(config, pupil_radius=config.pupil_radius / 1.15, defocus_waves=0.8 * config.defocus_waves)


def refine(scan: pp.ScanData, known: bool, weights: Path | None) -> pp.Reconstruction:
    return pp.refine(scan, pp.RefineConfig(refine_probe=not known, threads=1, device="cpu"))


def reconstruct_unrolled(scan: pp.ScanData, known: bool, weights: Path | None, polish: int = 0) -> pp.Reconstruction:
    config = pp.ReconstructConfig(refine_probe=not known, polish=polish, threads=1, device="cpu")
    return pp.reconstruct(scan, load_weights(weights), config)


def reconstruct_polished(scan: pp.ScanData, known: bool, weights: Path | None) -> pp.Reconstruction:
    return reconstruct_unrolled(scan, known, weights, polish=30)


def reconstruct_slices(scan: pp.ScanData, known: bool, weights: Path | None) -> pp.Reconstruction:
    assert scan.experiment is not None
    spacing = tuple(scan.experiment.slice_spacing_m.tolist())
    config = pp.ReconstructConfig(refine_probe=not known, slices=SLICES, slice_spacing_m=spacing, threads=1)
    return pp.reconstruct(scan, config=replace(config, device="cpu"))


METHODS: dict[str, Callable[[pp.ScanData, bool, Path | None], pp.Reconstruction]] = {
    "refine": refine,
    "unrolled": reconstruct_unrolled,
    "polished": reconstruct_polished,
    "multislice": reconstruct_slices,
}


def make_sample(name: str, recon: pp.Reconstruction, scan: pp.ScanData, known: bool) -> Sample:
    """Return errors and parts of the variance on the illuminated pixels."""
    illuminated = recon.well_illuminated()
    aligned = align(recon.object, scan.truth, illuminated, ramp=not known, shift=not known)
    mask = aligned.mask & illuminated
    _, noise, misfit = variance_parts(
        recon,
        recon.scan_part(scan),
        compute_data_fit(recon.scan_part(scan), recon.sample, recon.probe, recon.positions_px),
    )
    error2 = np.abs(aligned.image - scan.truth)[mask] ** 2
    illumination = recon.illumination[mask]
    bands = np.digitize(illumination, np.quantile(illumination, BAND_FRACTIONS))
    max_variance = float(np.mean(np.abs(recon.object[recon.illumination > 0]) ** 2))
    return Sample(name, error2, noise[mask], misfit[mask], bands, max_variance, uncertainty_constants(recon))


def fit_constants(samples: list[Sample]) -> dict[str, float]:
    """Fit the constants that a solver has to the errors, on whole scans and in every band of illumination."""

    def log_ratios(logs: np.ndarray) -> list[float]:
        ratios = []
        for one in samples:
            variance = one.variance(*np.exp(logs))
            ratios.append(0.5 * np.log(np.mean(one.error2 / variance)))
            ratios += [
                0.25 * 0.5 * np.log(one.error2[one.bands == band].mean() / variance[one.bands == band].mean())
                for band in range(len(BAND_FRACTIONS) + 1)
            ]
        return ratios

    names = [name for name, value in asdict(samples[0].constants).items() if value]
    start = np.log([asdict(samples[0].constants)[name] for name in names])
    values = np.exp(least_squares(log_ratios, start, loss="soft_l1").x)
    return dict(zip(names, values.tolist(), strict=True))


def check_constants(samples: list[Sample]) -> dict[str, object]:
    """Compare errors with the map of the package."""
    rows = [summarise(one) for one in samples]
    ratio = np.array([one["error_over_uncertainty"] for one in rows])
    summary = {
        "scans": len(rows),
        "share_within_0.7_to_1.4": float(np.mean((ratio >= GOOD[0]) & (ratio <= GOOD[1]))),
        "error_over_uncertainty": dict(zip(("5%", "50%", "95%"), np.percentile(ratio, [5, 50, 95]), strict=True)),
        "within_1_sigma": float(np.mean([one["within_1_sigma"] for one in rows])),
        "within_2_sigma": float(np.mean([one["within_2_sigma"] for one in rows])),
        "correlation": float(np.median([one["correlation"] for one in rows])),
        "share_with_positive_correlation": float(np.mean([one["correlation"] > 0 for one in rows])),
    }
    return {"constants": asdict(samples[0].constants), "check": summary, "scans": rows}


def summarise(one: Sample) -> dict[str, object]:
    sigma = np.sqrt(one.variance(**asdict(one.constants)))
    error = np.sqrt(one.error2)
    return {
        "scan": one.name,
        "rms_error": float(np.sqrt(one.error2.mean())),
        "rms_uncertainty": float(np.sqrt(np.mean(sigma**2))),
        "error_over_uncertainty": float(np.sqrt(np.mean((error / sigma) ** 2))),
        "within_1_sigma": float(np.mean(error < sigma)),
        "within_2_sigma": float(np.mean(error < 2 * sigma)),
        "correlation": float(np.corrcoef(error, sigma)[0, 1]),
    }


if __name__ == "__main__":
    main()
