"""One scan of the dose study: simulate it, state its probe, solve it and compare with the truth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ptypinn.config.evaluate import EvaluateConfig
from ptypinn.config.reconstruct import ReconstructConfig
from ptypinn.config.refine import RefineConfig
from ptypinn.config.simulate import SimulateConfig
from ptypinn.config.train import TrainConfig
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.evaluate import evaluate
from ptypinn.metrics.shot_noise import shot_noise_limit
from ptypinn.runs import RECONSTRUCTION
from ptypinn.simulate import simulate

Arm = Literal["scaled", "held"]
FIGURES = (
    "output_vs_truth_ratio",
    "complex_error",
    "complex_error_after_factor",
    "pearson_r_amplitude",
    "frc_half_bit_px",
    "flux_closure",
)
EVALUATION = EvaluateConfig(remove_ramp=False, remove_shift=False)


@dataclass(frozen=True)
class DoseJob:
    """What one job of the dose study does."""

    scenario: str
    """Name of the scenario."""
    solver: str
    """`refine` or the name of a network."""
    arm: Arm
    """`scaled`: the probe has the photons of the dose; `held`: it is said to have those of the reference."""
    photons: float
    """Photons per pattern through vacuum."""
    reference_photons: float
    """Photons that the probe is said to have in the arm `held`."""
    seed: int
    """Seed of object, positions and noise."""
    object_size: int
    """Height and width of the object, pixels."""
    n_patterns: int
    """Patterns of the scan."""
    iterations: int
    """Most iterations of `refine`."""
    epochs: int
    """Passes over the patterns that a network trains for."""

    @property
    def name(self) -> str:
        """Name of the job's folder."""
        dose = f"{self.photons:.4g}".replace(".", "_")
        return f"{self.scenario}-{self.solver}-{self.arm}-{dose}-seed{self.seed}"

    @property
    def stated_factor(self) -> float:
        """Amplitude of the probe as stated over what it is: `sqrt(reference / dose)` where it is held, else 1."""
        return math.sqrt(self.reference_photons / self.photons) if self.arm == "held" else 1.0


def run_dose_job(job: DoseJob, folder: Path) -> dict[str, Any]:
    """Simulate, state the probe, solve, and write the reconstruction.

    In the arm `held` the scan's probe is wrong on purpose, by `stated_factor`, so that the object must come out as its
    inverse times the truth.

    Returns:
        Figures of merit, the photons counted and stated, and the shot-noise limit of the complex error.
    """
    truth = simulate(simulation_of(job))
    probe = (truth.require_probe() * job.stated_factor).astype(np.complex64)
    scan = truth.replace(probe=probe)
    recon = solve(scan, job, folder)
    metrics = evaluate(recon, scan, config=EVALUATION).metrics
    recon.save(folder / RECONSTRUCTION)
    lit = recon.well_lit(EVALUATION.lit_fraction)
    assert truth.truth is not None
    return {
        **{name: metrics[name] for name in FIGURES if name in metrics},
        "expected_ratio": 1 / job.stated_factor,
        "shot_noise_limit": shot_noise_limit(recon.illumination / job.stated_factor**2, truth.truth, lit),
        "photons_measured": truth.provenance["photons_measured"],
        "photons_stated": job.photons * job.stated_factor**2,
        "probe_stated_wrong_by": job.stated_factor,
        "patterns": scan.n_patterns,
    }


def simulation_of(job: DoseJob) -> SimulateConfig:
    """The scan of a job: amplitude-only lines at random positions, under the probe of the scenario."""
    return SimulateConfig(
        object="lines",
        object_size=(job.object_size, job.object_size),
        amplitude_range=(1.0, 0.2),
        amplitude_mean=2.7,
        phase_range=(0.0, 0.0),
        probe="disk" if job.scenario.endswith("ideal") else "zone_plate",
        photons=job.photons,
        scan="uniform",
        n_patterns=job.n_patterns,
        buffer_px=10,
        seed=job.seed,
    )


def solve(scan: ScanData, job: DoseJob, folder: Path) -> Reconstruction:
    """Reconstruct a scan whose probe is taken as it is."""
    if job.solver == "refine":
        from ptypinn.refine import refine

        return refine(scan, RefineConfig(iterations=job.iterations, refine_probe=False, device="cpu"))
    from ptypinn.reconstruct import reconstruct
    from ptypinn.training import train

    gridsize = int(job.scenario[2])
    training = TrainConfig(gridsize=gridsize, epochs=job.epochs, device="cpu", seed=job.seed)
    model = train(scan, training, output_dir=folder)
    return reconstruct(scan, model, ReconstructConfig(device="cpu"))
