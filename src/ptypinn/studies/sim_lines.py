"""The sim-lines study: simulate, split in y, train on one half, reconstruct the other, account for the amplitude."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ptypinn.config.simulate import MAX_PHOTONS, SimulateConfig
from ptypinn.config.studies import SimLinesConfig
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.data.simulation import draw_object, draw_positions
from ptypinn.errors import InputError
from ptypinn.io.load_save import load, save
from ptypinn.physics.optics import probe_photons
from ptypinn.physics.patches import compute_illumination_at
from ptypinn.physics.probes import disk_probe
from ptypinn.runs.folder import RECONSTRUCTION
from ptypinn.stages.diagnose import Diagnosis, diagnose
from ptypinn.stages.evaluate import Evaluation, evaluate
from ptypinn.stages.reconstruct import reconstruct
from ptypinn.stages.simulate import prepare_probe, simulate
from ptypinn.stages.train import MODEL_FILE, train
from ptypinn.studies.metadata import build_metadata
from ptypinn.studies.scenario import Scenario, resolve_scenario, write_probe_file
from ptypinn.studies.schema import StudyMetadata
from ptypinn.studies.stage_configs import RECONSTRUCT, TRAIN, rename_errors
from ptypinn.studies.step_cache import Step, StepCache, hash_values
from ptypinn.training.callbacks import CURVE
from ptypinn.training.checkpoints import BEST, CHECKPOINTS, LAST
from ptypinn.types import Probe
from ptypinn.utils.device import cpu_threads, pick_device
from ptypinn.utils.progress import Progress

SCAN, MODEL, PROBE = "scan.h5", "model", "probe.npy"


@dataclass(frozen=True)
class StudyPlan:
    """A scenario and its simulation, checked before anything is written."""

    scenario: Scenario
    """Parameters with their origins."""
    simulation: SimulateConfig
    """The simulation, with the photons of its probe."""
    masked_probe: Probe | None
    """The probe with one photon, where it is masked."""

    def write_probe(self, folder: Path) -> SimulateConfig:
        """Write the masked probe, where there is one, and return the simulation that reads it."""
        if self.masked_probe is None:
            return self.simulation
        folder.mkdir(parents=True, exist_ok=True)
        return write_probe_file(self.simulation, folder / PROBE, self.masked_probe.numpy())


@dataclass(frozen=True)
class ScenarioRun:
    """Results of the study of one scenario."""

    scenario: Scenario
    """Parameters with their origins."""
    scan: ScanData
    """The simulated scan, with its truth."""
    model: Path
    """The trained model."""
    recon: Reconstruction
    """Reconstruction of the half held out from training."""
    evaluation: Evaluation
    """Agreement with the truth and with the counts."""
    diagnosis: Diagnosis
    """The scale diagnosis."""
    metadata: StudyMetadata
    """Everything about the run for `run_metadata.json`."""
    steps: Mapping[str, Step]
    """Steps of the run, those reused from an earlier run included."""


def sim_lines(
    config: SimLinesConfig | StudyPlan | None = None,
    *,
    output_dir: str | Path,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> ScenarioRun:
    """Run one scenario from simulation to diagnosis.

    Steps that an earlier run finished from the same parameters are reused, and an interrupted training is resumed.

    Args:
        config: The scenario, and its departures from the profile; or its plan, which then is not repeated.
        output_dir: Folder for the scan (`scan.h5`), the training (`model`) and the reconstruction.
        progress: Called after every step.
        overwrite: Reuse nothing of an earlier run.

    Raises:
        InputError: Where parameters contradict each other, or the probe's file cannot be used.
    """
    folder = Path(output_dir)
    plan = config if isinstance(config, StudyPlan) else plan_study(resolve_scenario(config or SimLinesConfig()))
    scenario, steps = plan.scenario, StepCache(folder, ignore_records=overwrite)
    with cpu_threads(scenario.train.threads):
        scan, digest = _simulate_once(plan, steps, folder, progress)
        model, digest = _train_once(scenario, scan, steps, digest, folder / MODEL, progress)
        recon = _reconstruct_once(scenario, scan, model, steps, digest, folder, progress)
        evaluation, diagnosis = evaluate(recon, scan), diagnose(recon, scan)
    metadata = build_metadata(scenario, scan, model, recon, evaluation, diagnosis, steps.steps)
    return ScenarioRun(scenario, scan, model, recon, evaluation, diagnosis, metadata, steps.steps)


def plan_study(scenario: Scenario) -> StudyPlan:
    """Determine the simulation whose patterns have `photons` behind the object on average.

    Photons behind the object and through vacuum differ by the object's mean square amplitude under the probe, which
    object, positions and probe determine before any pattern is drawn.

    Raises:
        InputError: Where the probe's file, its mask, the photons or the device cannot be used.
    """
    pick_device(scenario.train.device)
    config, diameter = scenario.simulate, scenario.value("probe_mask")
    probe = prepare_probe(config)
    if diameter:
        probe = _mask_probe(probe, diameter)
    truth, positions = draw_object(config).numpy(), draw_positions(config, probe)[0].numpy()
    illumination = compute_illumination_at(positions, probe.numpy(), (truth.shape[0], truth.shape[1]))
    transmitted = float((illumination * np.abs(truth).astype(np.float64) ** 2).sum()) / len(positions)
    requested = scenario.value("photons")
    photons = requested * scenario.value("probe_scale") ** 2 / transmitted if transmitted else math.inf
    if not 0 < photons <= MAX_PHOTONS:
        actual = f"{requested:g}, which takes {photons:.3g} through vacuum"
        raise InputError("--photons", "", actual, f"at most {MAX_PHOTONS:g} through vacuum")
    return StudyPlan(scenario, replace(config, photons=photons), probe if diameter else None)


def _mask_probe(probe: Probe, diameter_px: float) -> Probe:
    """Mask a probe by a soft circular support and normalise it to one photon."""
    support = disk_probe(probe.shape[-1], diameter_px / 2).abs()
    masked = probe * (support / support.max())
    if not 0 < float(probe_photons(masked)) < math.inf:
        raise InputError("--probe-mask", "", str(diameter_px), "a support that the probe passes")
    return (masked / probe_photons(masked).sqrt()).to(torch.complex64)


def _simulate_once(plan: StudyPlan, steps: StepCache, folder: Path, progress: Progress | None) -> tuple[ScanData, str]:
    scenario, path = plan.scenario, folder / SCAN
    own = {name: scenario.value(name) for name in ("photons", "probe_mask", "probe_scale")}
    content = {**asdict(scenario.simulate), "probe_file": (scenario.probe_file or {}).get("sha256")}
    digest = hash_values(content, own)

    def make(_: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save(simulate(plan.write_probe(folder), progress=progress), path)

    steps.run_once("simulate", digest, path, make)
    return load(path), digest


def _train_once(
    scenario: Scenario, scan: ScanData, steps: StepCache, input_digest: str, folder: Path, progress: Progress | None
) -> tuple[Path, str]:
    digest, path = hash_values(input_digest, _without_machine(scenario.train)), folder / MODEL_FILE

    def remove_old_files() -> None:
        # Files of earlier parameters are removed before these are recorded as started: see `make`.
        for name in (f"{CHECKPOINTS}/{LAST}", f"{CHECKPOINTS}/{BEST}", CURVE, MODEL_FILE):
            (folder / name).unlink(missing_ok=True)
        steps.begin("train", digest)

    def make(started: bool) -> None:
        if started and (folder / CHECKPOINTS / LAST).is_file():
            try:
                train(scan, scenario.train, output_dir=folder, progress=progress, resume=True)
                return
            except InputError as error:
                if not error.source.endswith(".ckpt"):
                    raise
                warnings.warn(f"the training starts anew: {error}", stacklevel=2)
        train(scan, scenario.train, output_dir=folder, progress=_call_at_start(remove_old_files, progress))

    with rename_errors(TRAIN):
        step = steps.run_once("train", digest, path, make)
    return path, hash_values(digest, step.sha256)


def _reconstruct_once(
    scenario: Scenario,
    scan: ScanData,
    model: Path,
    steps: StepCache,
    input_digest: str,
    folder: Path,
    progress: Progress | None,
) -> Reconstruction:
    digest, path = hash_values(input_digest, _without_machine(scenario.reconstruct)), folder / RECONSTRUCTION

    def make(_: bool) -> None:
        reconstruct(scan, model, scenario.reconstruct, progress=progress).save(path)

    with rename_errors(RECONSTRUCT):
        steps.run_once("reconstruct", digest, path, make)
    return Reconstruction.load(path)


def _call_at_start(start: Callable[[], None], progress: Progress | None) -> Progress:
    """Wrap a progress so that it calls `start` once, when work begins: bad input raises before that."""
    started = False

    def report(stage: str, done: int, total: int, /, **figures: float) -> None:
        nonlocal started
        if not started:
            started = True
            start()
        if progress is not None:
            progress(stage, done, total, **figures)

    return report


def _without_machine(config: Any) -> dict[str, Any]:
    return {name: value for name, value in asdict(config).items() if name not in ("device", "threads")}
