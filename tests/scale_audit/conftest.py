"""A good run, and the faults that can be put into it: one per known way in which amplitude gets lost."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch

from ptypinn.config.reconstruct import PatchNetworkConfig
from ptypinn.config.simulate import SimulateConfig
from ptypinn.config.train import TrainConfig
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.models.model_file import PatchModel, load_patch_model
from ptypinn.stages.reconstruct import reconstruct
from ptypinn.stages.simulate import simulate
from ptypinn.stages.train import train


@dataclass(frozen=True)
class Run:
    """Scan, model and options of a reconstruction; a fault changes some of them."""

    scan: ScanData
    bundle: PatchModel
    options: dict[str, Any] = field(default_factory=dict)

    def reconstruct(self) -> Reconstruction:
        return reconstruct(self.scan, self.bundle, PatchNetworkConfig(device="cpu", **self.options))


SCAN = SimulateConfig(
    size=32,
    object_size=(112, 112),
    n_patterns=260,
    photons=1e7,
    probe="disk",
    probe_diameter_px=14.0,
    amplitude_range=(1.0, 0.5),
    amplitude_mean=1.6,
    phase_range=(0.0, 0.4),
    seed=3,
)
TRAINING = TrainConfig(epochs=3, split_axis="y", device="cpu")
HELD_OUT = {"subset": "held_out"}


@pytest.fixture(scope="session")
def good(tmp_path_factory):
    scan = simulate(SCAN)
    return Run(scan, load_patch_model(train(scan, TRAINING, output_dir=tmp_path_factory.mktemp("good"))), HELD_OUT)


@pytest.fixture(scope="session")
def good_recon(good):
    return good.reconstruct()


@pytest.fixture(scope="session")
def faults():
    """Faults by name: functions from a run and a monkeypatch to the faulty run."""
    return FAULTS


def with_header(run: Run, **changes: Any) -> Run:
    return replace(run, bundle=replace(run.bundle, header=replace(run.bundle.header, **changes)))


def input_of_another_dose(run: Run, monkeypatch: Any) -> Run:
    header = run.bundle.header
    return with_header(
        run,
        mean_pattern_energy=header.mean_pattern_energy * 100,
        input_scale=header.input_scale * 10,
        log_scale=header.log_scale + math.log(10),
    )


def log_scale_wrong_at_load(run: Run, monkeypatch: Any) -> Run:
    return with_header(run, log_scale=run.bundle.header.log_scale - 0.3)


def probe_scaled_without_record(run: Run, monkeypatch: Any) -> Run:
    return replace(run, scan=run.scan.replace(probe=run.scan.probe * np.float32(1.5)))


def amplitudes_read_as_counts(run: Run, monkeypatch: Any) -> Run:
    return replace(run, scan=run.scan.replace(counts=np.sqrt(run.scan.counts).astype(np.float32)))


def counts_read_as_amplitudes(run: Run, monkeypatch: Any) -> Run:
    return replace(run, scan=run.scan.replace(counts=run.scan.counts.astype(np.float64) ** 2))


def overflow_on_squaring(run: Run, monkeypatch: Any) -> Run:
    amplitudes = np.round(np.sqrt(run.scan.counts)).astype(np.uint16)
    assert amplitudes.max() > 256
    return replace(run, scan=run.scan.replace(counts=amplitudes * amplitudes))


def saturated_head(run: Run, monkeypatch: Any) -> Run:
    from ptypinn.models.group_canvas import GroupCanvas

    to_probe_frames = GroupCanvas.to_probe_frames

    def with_ceiling(group: GroupCanvas, canvases: torch.Tensor) -> torch.Tensor:
        patches = to_probe_frames(group, canvases)
        return torch.polar(patches.abs().clamp(max=0.6), patches.angle())

    monkeypatch.setattr(GroupCanvas, "to_probe_frames", with_ceiling)
    return run


def stitching_not_normalised(run: Run, monkeypatch: Any) -> Run:
    monkeypatch.setattr(
        "ptypinn.solvers.patch_network.aggregate.weighted_mean", lambda weighted, weights: weighted / weights.amax()
    )
    return run


def stitching_clamped_at_the_edges(run: Run, monkeypatch: Any) -> Run:
    def clamped(weighted: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        return weighted / weights.clamp(min=0.03 * float(weights.amax()))

    monkeypatch.setattr("ptypinn.solvers.patch_network.aggregate.weighted_mean", clamped)
    return run


def merge_with_different_masks(run: Run, monkeypatch: Any) -> Run:
    y, x = np.mgrid[:32, :32] - 16
    support = torch.from_numpy(np.hypot(y, x) < 6)
    monkeypatch.setattr(
        "ptypinn.solvers.patch_network.aggregate.weight_patches",
        lambda patches, intensity: patches * intensity * support,
    )
    return run


def truth_in_another_gauge(run: Run, monkeypatch: Any) -> Run:
    return replace(run, scan=run.scan.replace(truth=run.scan.truth * np.float32(0.4)))


def dead_pixels_taken_for_good(run: Run, monkeypatch: Any) -> Run:
    counts = run.scan.counts.copy()
    counts[:, :16] = 0
    return replace(run, scan=run.scan.replace(counts=counts))


def vacuum_photons_without_mask(run: Run, monkeypatch: Any) -> Run:
    from ptypinn.models import patch_predictor as predictor

    mask = np.ones((32, 32), bool)
    mask[:16] = False
    amplitude = predictor.transmitted_amplitude
    monkeypatch.setattr(predictor, "transmitted_amplitude", lambda photons, vacuum: amplitude(photons, 2 * vacuum))
    return replace(run, scan=run.scan.replace(mask=mask))


FAULTS = {
    fault.__name__: fault
    for fault in (
        input_of_another_dose,
        log_scale_wrong_at_load,
        probe_scaled_without_record,
        amplitudes_read_as_counts,
        counts_read_as_amplitudes,
        overflow_on_squaring,
        saturated_head,
        stitching_not_normalised,
        stitching_clamped_at_the_edges,
        merge_with_different_masks,
        truth_in_another_gauge,
        dead_pixels_taken_for_good,
        vacuum_photons_without_mask,
    )
}


@pytest.fixture
def trained(tmp_path):
    """Train on a scan, with the options of the good run and others."""

    def train_on(scan: ScanData, **options: Any) -> PatchModel:
        return load_patch_model(train(scan, replace(TRAINING, **options), output_dir=tmp_path))

    return train_on
