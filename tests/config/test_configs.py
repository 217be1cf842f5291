"""Configurations: checks, options that nothing reads, fields that stages share."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.cli.main import COMMANDS
from ptypinn.config.fields import field_help
from ptypinn.config.finetune import FinetuneConfig
from ptypinn.config.load import InfoConfig, LoadConfig
from ptypinn.config.reconstruct import PatchNetworkConfig, ReconstructConfig
from ptypinn.config.refine import RefineConfig
from ptypinn.config.shared import (
    Config,
    DeviceConfig,
    SeedConfig,
    ThreadsConfig,
    TilingConfig,
    default_of,
    format_option,
    option_name,
    read_values,
)
from ptypinn.config.simulate import PROBE_FIELDS, SimulateConfig
from ptypinn.config.studies import DoseConfig
from ptypinn.config.train import TrainConfig
from ptypinn.errors import InputError

CONFIGS = sorted({kind for command in COMMANDS.values() for kind in command.configs}, key=lambda kind: kind.__name__)
UNREAD = [
    (SimulateConfig, {"probe": "disk"}, "pupil_radius", 0.5, "--probe zone_plate"),
    (SimulateConfig, {}, "curvature_rad", 1.0, "--probe disk"),
    (SimulateConfig, {}, "image", "camera", "--object natural"),
    (SimulateConfig, {"object": "natural"}, "phase_image", "coins", "--phase-texture independent"),
    (RefineConfig, {"engine": "ptychi"}, "tolerance", 0.1, "--engine native"),
    (RefineConfig, {"refine_probe": False}, "probe_modes", 3, "--refine-probe"),
    (ReconstructConfig, {"refine_probe": False}, "probe_rounds", 9, "--refine-probe"),
    (TrainConfig, {}, "neighbour_count", 5, "--gridsize 2"),
    (TrainConfig, {}, "split_gap_px", 2.0, "--split-axis"),
    (FinetuneConfig, {}, "widths", (4, 4, 4, 4), "--init-weights none"),
    (DoseConfig, {"solver": "cnn"}, "iterations", 7, "--solver refine"),
]


@pytest.mark.parametrize("kind", CONFIGS)
def test_every_configuration_has_valid_defaults_and_a_sentence_for_every_field(kind):
    if kind.__name__ != "OutputOptions":
        assert issubclass(kind, Config)
        kind()
    sentences = field_help(kind)
    for field in fields(kind):
        assert len(sentences[field.name].split()) >= 2 and sentences[field.name].endswith("."), field.name


def test_a_field_of_several_stages_means_the_same_in_all():
    shared = {
        field.name: kind for kind in (DeviceConfig, ThreadsConfig, SeedConfig, TilingConfig) for field in fields(kind)
    }
    apart = {"JobsConfig", "DemoConfig", "DoseConfig", "PretrainConfig", "PatchNetworkConfig"}
    for kind in CONFIGS:
        for field in fields(kind):
            if field.name in shared and kind.__name__ not in apart:
                assert issubclass(kind, shared[field.name]), f"{kind.__name__}.{field.name}"


@pytest.mark.parametrize(("kind", "others", "name", "value", "companion"), UNREAD)
def test_a_value_that_nothing_reads_is_refused_by_name(kind, others, name, value, companion):
    with pytest.raises(InputError) as refusal:
        kind(**others, **{name: value})
    assert refusal.value.source == option_name(name)
    assert refusal.value.expected.startswith(companion)
    assert name not in read_values(kind(**others))


def test_every_kind_of_probe_reads_its_own_fields_and_no_others():
    every = {name for names in PROBE_FIELDS.values() for name in names}
    for kind, names in PROBE_FIELDS.items():
        config = SimulateConfig(probe=kind, probe_file="probe.npy" if kind == "file" else "")
        assert every - set(names) == every & set(config.unread())


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (ReconstructConfig, "probe_rounds", 0),
        (ReconstructConfig, "tile_px", 8),
        (ReconstructConfig, "memory_gib", float("inf")),
        (ReconstructConfig, "prediction_scale", "recorded"),
        (ReconstructConfig, "precision", "16"),
        (ReconstructConfig, "threads", 0),
        (PatchNetworkConfig, "groups_per_pattern", 0),
        (PatchNetworkConfig, "batch_size", 0),
        (LoadConfig, "memory_budget_gib", 0.0),
        (LoadConfig, "crop_px", 33),
        (LoadConfig, "detector_gain", float("inf")),
        (InfoConfig, "orient_patterns", 8),
    ],
)
def test_a_value_out_of_bounds_is_refused_with_dashes(kind, name, value):
    with pytest.raises(InputError) as refusal:
        kind(**{name: value})
    assert refusal.value.source == option_name(name)


def test_a_configuration_that_is_changed_is_checked_again():
    with pytest.raises(InputError, match="--probe-rounds"):
        replace(ReconstructConfig(probe_rounds=4), refine_probe=False)


@given(st.sampled_from([kind for kind in CONFIGS if kind.__name__ != "OutputOptions"]))
def test_what_is_read_makes_the_same_configuration(kind):
    config = kind()
    assert kind(**read_values(config)) == config
    assert all(default_of(kind, name) == value for name, value in read_values(config).items())


def test_options_are_written_with_dashes():
    assert format_option("refine_probe", True) == "--refine-probe"
    assert format_option("refine_probe", False) == "--no-refine-probe"
    assert format_option("object_size", (64, 96)) == "--object-size 64,96"
