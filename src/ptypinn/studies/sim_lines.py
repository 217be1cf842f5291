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

from ptypinn.config.simulate import SimulateConfig
from ptypinn.config.studies import SimLinesConfig
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.io.load_save import load, save
from ptypinn.physics.forward import power
from ptypinn.physics.illumination import illumination_at
from ptypinn.physics.probes import disk_probe
from ptypinn.runs.folder import RECONSTRUCTION
from ptypinn.stages.diagnose import Diagnosis, diagnose
from ptypinn.stages.evaluate import Evaluation, evaluate
from ptypinn.stages.reconstruct import reconstruct
from ptypinn.stages.simulate import draw_object, draw_positions, draw_probe, simulate
from ptypinn.stages.train import BUNDLE, train
from ptypinn.studies.metadata import metadata_of
from ptypinn.studies.parameter_names import RECONSTRUCT, TRAIN, named_by_study
from ptypinn.studies.scenario import MOST_PHOTONS, Scenario, resolve, with_probe_file
from ptypinn.studies.schema import StudyMetadata
from ptypinn.studies.step_cache import Step, Steps, digest_of
from ptypinn.training.callbacks import CURVE
from ptypinn.training.checkpoints import BEST, CHECKPOINTS, LAST
from ptypinn.types import Probe
from ptypinn.utils.device import cpu_threads, pick_device
from ptypinn.utils.progress import Progress

SCAN, MODEL, PROBE = "scan.h5", "model", "probe.npy"


@dataclass(frozen=True)
class ScenarioRun:
    """What a study of one scenario makes."""

    scenario: Scenario
    """Parameters with their origins."""
    scan: ScanData
    """The simulated scan, with its truth."""
    model: Path
    """The trained model."""
    recon: Reconstruction
    """The half that training never saw."""
    evaluation: Evaluation
    """How well it agrees with the truth and with the counts."""
    diagnosis: Diagnosis
    """Where amplitude went."""
    metadata: StudyMetadata
    """Everything about the run for `run_metadata.json`."""
    steps: Mapping[str, Step]
    """What was done, and what an earlier run had done."""


def sim_lines(
    config: SimLinesConfig | None = None,
    *,
    output_dir: str | Path,
    progress: Progress | None = None,
    overwrite: bool = False,
    origins: Mapping[str, str] | None = None,
) -> ScenarioRun:
    """Run one scenario from simulation to diagnosis.

    What an earlier run finished in the folder from the same parameters is kept, and an interrupted training goes on.

    Args:
        config: The scenario, and what is to differ from its profile.
        output_dir: Folder for the scan (`scan.h5`), the training (`model`) and the reconstruction.
        progress: Told about every step.
        overwrite: Keep nothing of an earlier run.
        origins: Where each override comes from, for the record.

    Raises:
        InputError: Where parameters contradict each other, or the probe's file cannot be used.
    """
    config, folder = config or SimLinesConfig(), Path(output_dir)
    scenario = resolve(config, origins)
    steps = Steps(folder, afresh=overwrite)
    with cpu_threads(config.threads):
        scan, digest = _simulated(scenario, steps, folder, progress)
        model, digest = _trained(scenario, scan, steps, digest, folder / MODEL, progress)
        recon = _reconstructed(scenario, scan, model, steps, digest, folder, progress)
        evaluation, diagnosis = evaluate(recon, scan), diagnose(recon, scan)
    metadata = metadata_of(scenario, scan, model, recon, evaluation, diagnosis, steps.steps)
    return ScenarioRun(scenario, scan, model, recon, evaluation, diagnosis, metadata, steps.steps)


def simulation_of(scenario: Scenario, folder: Path) -> SimulateConfig:
    """The simulation whose patterns carry `nphotons` behind the object on average.

    Photons behind the object and through vacuum differ by the object's mean square amplitude where the probe shines,
    which is known before any pattern is drawn.

    Args:
        scenario: The scenario.
        folder: Where a probe that is masked is written.
    """
    config, masked = _simulation(scenario)
    if masked is None:
        return config
    folder.mkdir(parents=True, exist_ok=True)
    return with_probe_file(config, folder / PROBE, masked)


def check(scenario: Scenario) -> None:
    """Refuse what a study of a scenario would stumble over, before it writes anything.

    Raises:
        InputError: Where the probe's file, its mask, the photons or the device cannot be used.
    """
    pick_device(scenario.train.device)
    _simulation(scenario)


def _simulation(scenario: Scenario) -> tuple[SimulateConfig, np.ndarray | None]:
    """The simulation, and its probe with one photon where it is masked."""
    config, masked = scenario.simulate, None
    probe = draw_probe(config)
    if diameter := scenario.value("probe_mask"):
        probe = _masked(probe, diameter)
        masked = probe.numpy()
    truth, positions = draw_object(config).numpy(), draw_positions(config, probe)[0].numpy()
    light = illumination_at(positions, probe.numpy(), (truth.shape[0], truth.shape[1]))
    transmitted = float((light * np.abs(truth).astype(np.float64) ** 2).sum()) / len(positions)
    photons = scenario.value("nphotons") * scenario.value("probe_scale") ** 2 / transmitted if transmitted else math.inf
    if not 0 < photons <= MOST_PHOTONS:
        found = f"{scenario.value('nphotons'):g}, which takes {photons:.3g} through vacuum"
        raise InputError("--nphotons", "", found, f"at most {MOST_PHOTONS:g} through vacuum")
    return replace(config, photons=photons), masked


def _masked(probe: Probe, diameter_px: float) -> Probe:
    """A probe behind a soft circular support, with one photon."""
    support = disk_probe(probe.shape[-1], diameter_px / 2).abs()
    cut = probe * (support / support.max())
    if not 0 < float(power(cut)) < math.inf:
        raise InputError("--probe_mask", "", str(diameter_px), "a support that the probe shines through")
    return (cut / power(cut).sqrt()).to(torch.complex64)


def _simulated(scenario: Scenario, steps: Steps, folder: Path, progress: Progress | None) -> tuple[ScanData, str]:
    own = {name: scenario.value(name) for name in ("nphotons", "probe_mask", "probe_scale")}
    content = {**asdict(scenario.simulate), "probe_file": (scenario.probe_file or {}).get("sha256")}
    digest, path = digest_of(content, own), folder / SCAN

    def make(_: bool) -> None:
        config = simulation_of(scenario, folder)
        folder.mkdir(parents=True, exist_ok=True)
        save(simulate(config, progress=progress), path)

    steps.run("simulate", digest, path, make)
    return load(path), digest


def _trained(
    scenario: Scenario, scan: ScanData, steps: Steps, before: str, folder: Path, progress: Progress | None
) -> tuple[Path, str]:
    digest, path = digest_of(before, _without_machine(scenario.train)), folder / BUNDLE

    def afresh() -> None:
        # What earlier parameters have left must be gone before these are on record as begun: see `make`.
        for name in (f"{CHECKPOINTS}/{LAST}", f"{CHECKPOINTS}/{BEST}", CURVE, BUNDLE):
            (folder / name).unlink(missing_ok=True)
        steps.begin("train", digest)

    def make(begun: bool) -> None:
        if begun and (folder / CHECKPOINTS / LAST).is_file():
            try:
                train(scan, scenario.train, output_dir=folder, progress=progress, resume=True)
                return
            except InputError as error:
                if not error.source.endswith(".ckpt"):
                    raise
                warnings.warn(f"the training begins afresh: {error}", stacklevel=2)
        train(scan, scenario.train, output_dir=folder, progress=_after(afresh, progress))

    with named_by_study(TRAIN):
        step = steps.run("train", digest, path, make)
    return path, digest_of(digest, step.sha256)


def _reconstructed(
    scenario: Scenario,
    scan: ScanData,
    model: Path,
    steps: Steps,
    before: str,
    folder: Path,
    progress: Progress | None,
) -> Reconstruction:
    digest, path = digest_of(before, _without_machine(scenario.reconstruct)), folder / RECONSTRUCTION

    def make(_: bool) -> None:
        reconstruct(scan, model, scenario.reconstruct, progress=progress).save(path)

    with named_by_study(RECONSTRUCT):
        steps.run("reconstruct", digest, path, make)
    return Reconstruction.load(path)


def _after(start: Callable[[], None], progress: Progress | None) -> Progress:
    """A progress that starts something at the first sign of work: bad input has stopped the work before that."""
    started = False

    def tell(stage: str, done: int, total: int, /, **figures: float) -> None:
        nonlocal started
        if not started:
            started = True
            start()
        if progress is not None:
            progress(stage, done, total, **figures)

    return tell


def _without_machine(config: Any) -> dict[str, Any]:
    return {name: value for name, value in asdict(config).items() if name not in ("device", "threads")}
