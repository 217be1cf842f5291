"""Is the uncertainty map right? Errors against it on simulated scans, and the constants that suit them best.

Scans of five kinds of object at doses from 1e3 to 1e7, with random overlap, contrast and probe, half of them with the
probe known and half with a guess that is 20 % too wide or out of focus. One set of scans is for fitting the two
constants of every solver (`ptypinn.uncertainty.error_map`), another, with other seeds, for checking those that the package
has. The truth is aligned by its global phase, and by ramp and shift where the probe was solved for; never by amplitude.
Writes JSON; a file that exists keeps the ways that are not run again.
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
from ptypinn.metrics import align, compute_data_fit
from ptypinn.models.model_file import load_weights
from ptypinn.physics.forward import power
from ptypinn.stages.simulate import draw_probe
from ptypinn.uncertainty.error_map import Constants, constants_of, parts_of

KINDS = ("lines", "dead_leaves", "natural", "grf", "siemens")
DOSES = (1e3, 1e4, 1e5, 1e6, 1e7)
SEEDS = {"fit": 1000, "check": 5000}
GOOD = (0.7, 1.4)
DIMMEST_SHARES = (0.1, 0.3, 0.6)


@dataclass(frozen=True)
class Sample:
    """Errors on the compared pixels of one scan, and what the map makes of them."""

    name: str
    error2: np.ndarray
    noise: np.ndarray
    misfit: np.ndarray
    bands: np.ndarray
    """Which of four bands of illumination a pixel is in, the dimmest first."""
    most: float
    constants: Constants

    def variance(self, noise: float, misfit: float) -> np.ndarray:
        """Of every pixel, with such constants."""
        return np.minimum(noise * self.noise + misfit * self.misfit, self.most)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ways", nargs="+", default=["refine", "learned", "polished"], choices=list(WAYS))
    parser.add_argument("--weights", type=Path, help="weights of the learned solver; those of the package by default")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--doses", nargs="+", type=float, default=list(DOSES))
    parser.add_argument("--output", type=Path, help="file for the JSON, beside standard output")
    given = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, dict[str, list[Sample]]] = {way: {name: [] for name in SEEDS} for way in given.ways}
    for name, first in SEEDS.items():
        for label, scan, known in scans(first, given.kinds, given.doses):
            for way in given.ways:
                found[way][name].append(sample(label, WAYS[way](scan, known, given.weights), scan, known))
            print(name, label, file=sys.stderr, flush=True)
    ways = {} if given.output is None or not given.output.exists() else json.loads(given.output.read_text())["ways"]
    digest = None if given.ways == ["refine"] else load_weights(given.weights).digest
    for way, sets in found.items():
        weights = {} if way == "refine" else {"weights_sha256": digest}
        ways[way] = {**weights, "fitted": fitted(sets["fit"]), **checked(sets["check"])}
    text = json.dumps({"version": pp.__version__, "ways": ways}, indent=1) + "\n"
    if given.output:
        given.output.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


def scans(first: int, kinds: list[str], doses: list[float]) -> Iterator[tuple[str, pp.ScanData, bool]]:
    """Label, scan as the solver is given it, and whether its probe is the true one."""
    for number, (kind, photons, known) in enumerate(itertools.product(kinds, doses, (True, False))):
        config = drawn(kind, photons, known, first + number)
        scan = pp.simulate(config)
        if not known:
            probe = draw_probe(guessed(config))
            probe = probe * torch.sqrt(photons / power(probe)).float()
            scan = scan.replace(probe=probe.numpy(), probe_gauge="calibrated")
        yield f"{kind}, {photons:.0e} photons, {'known' if known else 'guessed'} probe", scan, known


def drawn(kind: str, photons: float, known: bool, seed: int) -> pp.SimulateConfig:
    """Random probe, overlap and contrast."""
    rng = np.random.default_rng(seed)
    disk = bool(rng.random() < 0.5)
    return pp.SimulateConfig(
        object=kind,  # type: ignore[arg-type]  # one of KINDS
        object_size=(144, 144),
        size=48,
        photons=photons,
        overlap=float(rng.uniform(0.4 if known else 0.5, 0.8)),
        amplitude_range=(1.0, float(rng.uniform(0.3, 0.9))),
        phase_range=(0.0, float(rng.uniform(0.3, 2.0))),
        probe="disk" if disk else "zone_plate",
        curvature_rad=3.0 if disk else 0.0,
        probe_diameter_px=16.0,
        seed=seed,
    )


def guessed(config: pp.SimulateConfig) -> pp.SimulateConfig:
    """The probe that a solver is given: too wide by a fifth, less curved by a fifth, or less out of focus."""
    return replace(
        config,
        probe_diameter_px=1.2 * config.probe_diameter_px,
        curvature_rad=0.8 * config.curvature_rad,
        pupil_radius=config.pupil_radius / 1.15,
        defocus_waves=0.8 * config.defocus_waves,
    )


def refined(scan: pp.ScanData, known: bool, weights: Path | None) -> pp.Reconstruction:
    return pp.refine(scan, pp.RefineConfig(refine_probe=not known, threads=1, device="cpu"))


def learned(scan: pp.ScanData, known: bool, weights: Path | None, polish: int = 0) -> pp.Reconstruction:
    config = pp.ReconstructConfig(refine_probe=not known, polish=polish, threads=1, device="cpu")
    return pp.reconstruct(scan, load_weights(weights), config)


def polished(scan: pp.ScanData, known: bool, weights: Path | None) -> pp.Reconstruction:
    return learned(scan, known, weights, polish=30)


WAYS: dict[str, Callable[[pp.ScanData, bool, Path | None], pp.Reconstruction]] = {
    "refine": refined,
    "learned": learned,
    "polished": polished,
}


def sample(name: str, recon: pp.Reconstruction, scan: pp.ScanData, known: bool) -> Sample:
    """Errors and parts of the variance on the well-lit pixels."""
    lit = recon.well_lit()
    aligned = align(recon.object, scan.truth, lit, ramp=not known, shift=not known)
    mask = aligned.mask & lit
    _, noise, misfit = parts_of(recon, scan, compute_data_fit(scan, recon.object, recon.probe, recon.positions_px))
    error2 = np.abs(aligned.image - scan.truth)[mask] ** 2
    light = recon.illumination[mask]
    bands = np.digitize(light, np.quantile(light, DIMMEST_SHARES))
    most = float(np.mean(np.abs(recon.object[recon.illumination > 0]) ** 2))
    return Sample(name, error2, noise[mask], misfit[mask], bands, most, constants_of(recon))


def fitted(samples: list[Sample]) -> dict[str, float]:
    """Constants for which errors are as large as the map says, on whole scans and in every band of illumination."""

    def off(logs: np.ndarray) -> list[float]:
        found = []
        for one in samples:
            variance = one.variance(*np.exp(logs))
            found.append(0.5 * np.log(np.mean(one.error2 / variance)))
            found += [
                0.25 * 0.5 * np.log(one.error2[one.bands == band].mean() / variance[one.bands == band].mean())
                for band in range(len(DIMMEST_SHARES) + 1)
            ]
        return found

    noise, misfit = np.exp(least_squares(off, np.zeros(2), loss="soft_l1").x)
    return {"noise": float(noise), "misfit": float(misfit)}


def checked(samples: list[Sample]) -> dict[str, object]:
    """How errors compare with the map that the package makes."""
    rows = [row(one) for one in samples]
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


def row(one: Sample) -> dict[str, object]:
    sigma = np.sqrt(one.variance(one.constants.noise, one.constants.misfit))
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
