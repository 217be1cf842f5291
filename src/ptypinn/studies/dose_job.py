"""One scan of the dose study: simulate it, state its probe, solve it and compare with the truth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ptypinn.config.evaluate import EvaluateConfig
from ptypinn.config.refine import RefineConfig
from ptypinn.config.studies import ScenarioName, SimLinesConfig
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.metrics.data_fit import shot_noise_limit
from ptypinn.runs.folder import RECONSTRUCTION
from ptypinn.stages.evaluate import evaluate
from ptypinn.stages.simulate import simulate
from ptypinn.studies.scenario import Scenario, resolve_scenario
from ptypinn.studies.sim_lines import MODEL, plan_study

Arm = Literal["scaled", "held"]
REFINE = "refine"
METRICS = (
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
    """Parameters of one job of the dose study."""

    scenario: ScenarioName
    """Name of the scenario."""
    solver: str
    """`refine` or the name of a network."""
    arm: Arm
    """`scaled`: the probe has the photons of the dose; `held`: it is stated with those of the reference."""
    photons: float
    """Photons per measured pattern, on average behind the object."""
    reference_photons: float
    """Photons of the probe as stated in the arm `held`."""
    seed: int
    """Seed of object, positions and noise."""
    object_size: int
    """Height and width of the object, pixels."""
    base_patterns: int
    """Patterns of the scan, times gridsize**2."""
    iterations: int
    """Maximum number of iterations of `refine`."""
    epochs: int
    """Passes over the groups that a network trains for."""
    profile: dict[str, Any]
    """Profile of the scenario, for all that the fields above do not set."""

    @property
    def name(self) -> str:
        """Name of the job's folder; different doses have different names, however close they are."""
        brief = f"{self.photons:.4g}"
        dose = (brief if float(brief) == self.photons else repr(float(self.photons))).replace(".", "_")
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
        Metrics, the photons counted and stated, and the shot-noise limit of the complex error.
    """
    scenario = configure_scenario(job)
    truth = simulate(plan_study(scenario).write_probe(folder))
    scan = truth.replace(probe=(truth.require_probe() * job.stated_factor).astype(np.complex64))
    recon = solve_scan(scan, scenario, job, folder)
    metrics = evaluate(recon, scan, config=EVALUATION).metrics
    recon.save(folder / RECONSTRUCTION)
    illuminated = recon.well_illuminated(EVALUATION.illumination_threshold)
    assert truth.truth is not None
    return {
        **{name: metrics[name] for name in METRICS if name in metrics},
        "expected_ratio": 1 / job.stated_factor,
        "shot_noise_limit": shot_noise_limit(recon.illumination / job.stated_factor**2, truth.truth, illuminated),
        "photons_measured": truth.provenance["photons_measured"],
        "photons_stated": job.photons * job.stated_factor**2,
        "probe_stated_wrong_by": job.stated_factor,
        "patterns": scan.n_patterns,
    }


def configure_scenario(job: DoseJob) -> Scenario:
    """Resolve the scenario of a job: a profile with the job's dose, size and seeds."""
    model = None if job.solver == REFINE else job.solver
    config = SimLinesConfig(
        scenario=job.scenario,
        reason="dose study",
        photons=job.photons,
        object_size=job.object_size,
        base_patterns=job.base_patterns,
        object_seed=job.seed,
        sim_seed=job.seed,
        train_seed=job.seed,
        model=model,
        epochs=job.epochs,
    )
    return resolve_scenario(config)


def solve_scan(scan: ScanData, scenario: Scenario, job: DoseJob, folder: Path) -> Reconstruction:
    """Reconstruct a scan with its probe as stated: by `refine` all of it, by a network the half held out."""
    if job.solver == REFINE:
        from ptypinn.stages.refine import refine

        return refine(scan, RefineConfig(iterations=job.iterations, refine_probe=False, seed=job.seed))
    from ptypinn.stages.reconstruct import reconstruct
    from ptypinn.stages.train import train

    return reconstruct(scan, train(scan, scenario.train, output_dir=folder / MODEL), scenario.reconstruct)
