"""The sim-lines study: simulate, split in y, train on one half, reconstruct the other, account for the amplitude."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ptypinn.config.simulate import SimulateConfig
from ptypinn.config.study import SimLinesConfig
from ptypinn.data.formats import load, save
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.device import cpu_threads
from ptypinn.diagnose import Diagnosis, diagnose
from ptypinn.diagnosis.light import illumination_at
from ptypinn.evaluate import Evaluation, evaluate
from ptypinn.physics.forward import power
from ptypinn.physics.probes import disk_probe
from ptypinn.progress import Progress
from ptypinn.reconstruct import reconstruct
from ptypinn.runs import RECONSTRUCTION
from ptypinn.simulate import draw_object, draw_positions, draw_probe, simulate
from ptypinn.studies.metadata import metadata_of
from ptypinn.studies.scenario import Scenario, resolve, with_probe_file
from ptypinn.studies.schema import StudyMetadata
from ptypinn.studies.steps import Step, Steps, digest_of
from ptypinn.training import BUNDLE, CHECKPOINTS, LAST, train

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
    config = scenario.simulate
    probe = draw_probe(config)
    if diameter := scenario.value("probe_mask"):
        support = disk_probe(config.size, diameter / 2).abs()
        probe = probe * (support / support.max())
        probe = (probe / power(probe).sqrt()).to(torch.complex64)
        config = with_probe_file(config, folder / PROBE, probe.numpy())
    truth, positions = draw_object(config).numpy(), draw_positions(config, probe)[0].numpy()
    light = illumination_at(positions, probe.numpy(), (truth.shape[0], truth.shape[1]))
    transmitted = float((light * np.abs(truth).astype(np.float64) ** 2).sum()) / len(positions)
    return replace(config, photons=scenario.value("nphotons") / transmitted * scenario.value("probe_scale") ** 2)


def _simulated(scenario: Scenario, steps: Steps, folder: Path, progress: Progress | None) -> tuple[ScanData, str]:
    own = {name: scenario.value(name) for name in ("nphotons", "probe_mask", "probe_scale")}
    content = {**asdict(scenario.simulate), "probe_file": (scenario.probe_file or {}).get("sha256")}
    digest, path = digest_of(content, own), folder / SCAN

    def make(_: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save(simulate(simulation_of(scenario, folder), progress=progress), path)

    steps.run("simulate", digest, path, make)
    return load(path), digest


def _trained(
    scenario: Scenario, scan: ScanData, steps: Steps, before: str, folder: Path, progress: Progress | None
) -> tuple[Path, str]:
    digest, path = digest_of(before, _without_machine(scenario.train)), folder / BUNDLE

    def make(begun: bool) -> None:
        goes_on = begun and (folder / CHECKPOINTS / LAST).is_file()
        train(scan, scenario.train, output_dir=folder, progress=progress, resume=goes_on)

    steps.run("train", digest, path, make)
    return path, digest


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

    steps.run("reconstruct", digest, path, make)
    return Reconstruction.load(path)


def _without_machine(config: Any) -> dict[str, Any]:
    return {name: value for name, value in asdict(config).items() if name not in ("device", "threads")}
