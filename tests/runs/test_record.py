"""Records of version 0.1 are read under the names of this version."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest
import yaml

from ptypinn.config.finetune import FinetuneConfig
from ptypinn.config.load import LoadConfig
from ptypinn.config.pretrain import PretrainConfig
from ptypinn.config.train import TrainConfig
from ptypinn.io.registry import FORMATS
from ptypinn.models.model_file import load_weights
from ptypinn.runs.folder import FINISHED
from ptypinn.runs.record import (
    RENAMED_OPTIONS,
    RENAMED_VALUES,
    load_options_from_record,
    read_scan_record,
    rename_options,
)
from ptypinn.training.checkpoints import require_same_options

METADATA = """{
  "schema_version": 1, "stage": "refine",
  "command": ["ptypinn", "refine", "scan.npz", "--domain", "counts", "--calibration", "brightest",
              "--memory-budget-MB", "512", "--output-dir", "refined", "--iterations", "2", "--quiet"],
  "started": "2026-11-28T23:18:43+00:00", "seed": 0,
  "inputs": {"scan": {"path": "/data/scan.npz", "file": "scan.npz", "format": "npz",
    "sha256": "59c641bcfe61e3ad67f2180bdcfd42c99a2b56591f41d52f07ea49060f34016e",
    "options": {"domain": "counts", "calibration": "brightest", "memory_budget_MB": 512.0}}}
}"""
"""Part of the record of `ptypinn refine` of version 0.1."""
TRAIN = """
model: cnn
inputs: projection
width: 16
gridsize: 2
neighbor_count: 5
n_groups: null
cluster_size: null
epochs: 1
batch_size: 1
learning_rate: 0.002
gradient_clip: 1.0
loss: poisson
total_variation: 0.0
realspace: 0.0
trainable_log_scale: false
train_probe: false
val_fraction: 0.05
patience: 20
split_axis: none
split_fraction: 0.5
split_gap_px: 0.0
precision: bf16-mixed
device: auto
threads: null
seed: 0
"""
FINETUNE = """
start: none
rounds: 1
refine_probe: true
probe_modes: null
loss: poisson
patterns: 16
val_fraction: 0.1
period: 10
epochs: 1
patience: 8
learning_rate: 0.0003
average: 0.95
widths: [4, 4, 4, 4]
device: cpu
threads: null
seed: 0
"""
"""Options of `train` and `finetune` in `config.yaml` of version 0.1."""


def test_a_scan_is_read_again_as_an_earlier_version_has_read_it(tmp_path):
    (tmp_path / FINISHED).write_text(METADATA)
    record, notes = read_scan_record(tmp_path, {}), list[str]()
    options = load_options_from_record(LoadConfig(), record["options"], (), notes, (tmp_path,))
    assert (options.domain, options.calibration) == ("counts", "p99")
    assert options.memory_budget_gib == pytest.approx(512e6 / 2**30)
    assert notes == []
    assert json.loads(METADATA)["inputs"]["scan"]["sha256"] == record["sha256"]


def test_trainings_of_an_earlier_version_resume_with_the_same_options():
    recorded = yaml.safe_load(TRAIN)
    config = TrainConfig(width=16, gridsize=2, neighbour_count=5, epochs=1, precision="bf16")
    require_same_options(config, recorded)
    with pytest.raises(ValueError, match=r"--neighbour-count 5 \(was 6\)"):
        require_same_options(config, {**recorded, "neighbor_count": 6})
    tuned = FinetuneConfig(
        init_weights="none", rounds=1, patterns=16, epochs=1, widths=(4, 4, 4, 4), held_out_period=10, device="cpu"
    )
    require_same_options(tuned, yaml.safe_load(FINETUNE))
    with pytest.raises(ValueError, match=r"--ema-decay 0.95 \(was 0.9\)"):
        require_same_options(tuned, {**yaml.safe_load(FINETUNE), "average": 0.9})


def test_the_card_of_the_shipped_weights_describes_a_configuration_of_this_version():
    card = load_weights().card["config"]
    options = rename_options(PretrainConfig, card)
    assert options.keys() == {field.name for field in fields(PretrainConfig)}
    plain = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
    assert PretrainConfig(**plain).ema_decay == card["average"]


def test_a_record_of_this_version_is_left_as_it_is():
    options = {"init_weights": "none", "ema_decay": 0.9, "start": "shipped"}
    assert rename_options(FinetuneConfig, options) == {"init_weights": "none", "ema_decay": 0.9}


@pytest.mark.parametrize("kind", [LoadConfig, TrainConfig, FinetuneConfig, PretrainConfig])
def test_renamed_options_are_fields_of_today_only(kind):
    names = {field.name for field in fields(kind)}
    renamed = RENAMED_OPTIONS[kind.__name__]
    assert set(renamed.values()) <= names
    assert not renamed.keys() & names


def test_formats_of_earlier_records_lead_to_formats_that_exist():
    assert set(RENAMED_VALUES["format"].values()) <= set(FORMATS)
    assert not set(RENAMED_VALUES["format"]) & set(FORMATS)


def read_record(options, *folders):
    notes = list[str]()
    return load_options_from_record(LoadConfig(), options, (), notes, folders), notes


@pytest.mark.parametrize("option", ["probe", "truth", "dark", "monitor"])
def test_a_colon_leads_no_recorded_file_out_of_its_folder(tmp_path, option):
    run = tmp_path / "run"
    (run / "x:").mkdir(parents=True)
    (run / "x").touch()
    (tmp_path / "secret.npz").touch()
    for value in (f"{run}/x:/../../secret.npz", f"{tmp_path}/secret.npz:/../run/x"):
        config, notes = read_record({option: value}, run)
        assert getattr(config, option) == ""
        assert "outside the folders" in notes[0]
    config, notes = read_record({option: f"{run}/x"}, run)
    assert (getattr(config, option), notes) == (f"{run}/x", [])


def test_a_recorded_monitor_is_looked_up_beside_the_scan_and_left_out_where_it_is_gone(tmp_path):
    (tmp_path / "ion.csv").touch()
    config, notes = read_record({"monitor": "ion.csv:I0"}, tmp_path)
    assert (config.monitor, notes) == (f"{tmp_path}/ion.csv:I0", [])
    config, notes = read_record({"monitor": "gone.csv:I0"}, tmp_path)
    assert config.monitor == ""
    assert "gone.csv" in notes[0]
    for dataset in ("entry/1.1/i0", "x" * 5000, "entry/26idc:I0/data"):
        assert read_record({"monitor": dataset}, tmp_path)[0].monitor == dataset
