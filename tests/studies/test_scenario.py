"""Profiles, their overrides, and the origin of every parameter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from ptypinn.cli.main import parse
from ptypinn.cli.study import find_origins
from ptypinn.config.studies import ABOUT_THE_RUN, PARAMETERS, SimLinesConfig
from ptypinn.errors import InputError
from ptypinn.physics.optics import probe_photons
from ptypinn.stages.simulate import prepare_probe, simulate
from ptypinn.studies import scenario as scenario_module
from ptypinn.studies.scenario import PROFILES, load_profile, resolve_scenario, stage_records
from ptypinn.studies.sim_lines import plan_study
from ptypinn.studies.stage_configs import TRAIN, rename_errors

SCENARIOS = ("gs1_ideal", "gs2_ideal", "gs1_custom", "gs2_custom")
TINY = SimLinesConfig(size=32, object_size=96, base_patterns=40, buffer_px=2)
DISK = {"probe_diameter_px": 16.0}


def test_every_scenario_has_a_profile_that_the_package_carries_and_the_configurations_show():
    assert {path.stem for path in PROFILES.glob("*.yaml")} == set(SCENARIOS)
    shown = Path(__file__).parents[2] / "configs" / "studies"
    assert {path.name: path.read_bytes() for path in shown.iterdir()} == {
        path.name: path.read_bytes() for path in PROFILES.iterdir()
    }


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_profile_is_a_configuration_file_of_the_command_line_too(name):
    arguments = ["study", "sim-lines", "--output-dir", "out", "--config", str(PROFILES / f"{name}.yaml")]
    config = parse(arguments)[1].config(SimLinesConfig)
    assert set(config.overrides()) == set(load_profile(name))
    assert stage_records(resolve_scenario(config)) == stage_records(resolve_scenario(SimLinesConfig(scenario=name)))
    assert not resolve_scenario(config).overrides


@pytest.mark.parametrize("name", SCENARIOS)
def test_profiles_describe_the_scenarios_they_are_named_after(name):
    scenario = resolve_scenario(SimLinesConfig(scenario=name))
    gridsize = int(name[2])
    assert set(load_profile(name)) <= set(PARAMETERS)
    assert (scenario.simulate.size, scenario.simulate.object_size, scenario.simulate.buffer_px) == (64, (392, 392), 10)
    assert scenario.simulate.phase_range == (0.0, 0.0)
    assert (scenario.simulate.amplitude_mean, scenario.simulate.scan) == (2.7, "uniform")
    assert (scenario.simulate.object_seed, scenario.simulate.seed) == (42, 42)
    assert scenario.simulate.n_patterns == {1: 512, 2: 1024}[gridsize]
    assert scenario.simulate.probe == {"ideal": "disk", "custom": "zone_plate"}[name[4:]]
    train = scenario.train
    assert (train.gridsize, train.epochs) == (gridsize, 5)
    if gridsize == 2:  # single patterns have no neighbours
        assert train.neighbour_count == 4
    assert (train.n_groups, train.groups_per_window * train.batch_size) == {1: (256, 8), 2: (128, 4)}[gridsize]
    assert (train.split_axis, train.split_fraction, train.realspace) == ("y", 0.5, 0.0)
    assert (scenario.reconstruct.subset, scenario.reconstruct.prediction_scale) == ("held_out", "none")
    assert scenario.value("photons") == 1e9
    assert not scenario.overrides
    assert all(scenario.parameters[key].origin == "profile" for key in load_profile(name))
    origins = {key: parameter.origin for key, parameter in scenario.parameters.items() if key != "scenario"}
    assert set(origins.values()) <= {"profile", "default"}
    assert set(origins) == {*PARAMETERS, "prediction_scale_source", "device", "threads"}


def test_parameters_about_the_run_have_an_origin_too():
    config = SimLinesConfig(scenario="gs1_custom", prediction_scale_source="flux", threads=2)
    resolved = resolve_scenario(config, {"prediction_scale_source": "config file"}).parameters
    about = {name: (resolved[name].value, resolved[name].origin) for name in ABOUT_THE_RUN}
    assert about == {
        "scenario": ("gs1_custom", "argument"),
        "prediction_scale_source": ("flux", "config file"),
        "device": ("auto", "default"),
        "threads": (2, "argument"),
    }


def test_a_flag_and_a_line_of_a_file_have_different_origins(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text("device: cpu\nscenario: gs2_ideal\nwidth: 16\n")
    arguments = ["study", "sim-lines", "--config", str(file), "--threads=1", "--probe", "probe.npy"]
    session = parse([*arguments, "--output-dir", "out"])[1]
    assert find_origins(session.config(SimLinesConfig), session.set_options, session.flags) == {
        **dict.fromkeys(("device", "scenario", "width"), "config file"),
        **dict.fromkeys(("threads", "probe", "probe_file"), "flag"),
    }


@pytest.mark.parametrize(
    ("text", "named"),
    [("scenario: odd\nnphoton: 3", "nphoton"), ("size: 64", "scenario"), ("scenario: gs1_ideal", "gs1_ideal")],
)
def test_a_profile_with_a_slip_is_refused(text, named, tmp_path, monkeypatch):
    (tmp_path / "odd.yaml").write_text(text)
    monkeypatch.setattr(scenario_module, "PROFILES", tmp_path)
    with pytest.raises(InputError, match=named):
        load_profile("odd")


@pytest.mark.parametrize(
    ("option", "expected"), [("--seed", "--train-seed"), ("--epochs", "--epochs"), ("--n-groups", "--n-groups")]
)
def test_errors_of_a_stage_name_options_of_the_study(option, expected):
    with pytest.raises(InputError) as error_info, rename_errors(TRAIN):
        raise InputError(option, "", "0", f"at least 1 for {option}")
    assert str(error_info.value) == f"{expected}: found 0, expected at least 1 for {expected}"


def test_overrides_are_recorded_with_old_and_new_value_and_reason(tmp_path):
    np.save(tmp_path / "probe.npy", np.ones((1, 64, 64), np.complex64))
    changes = {"photons": 1e5, "epochs": 5, "groups_per_pattern": 2, "probe_file": str(tmp_path / "probe.npy")}
    config = SimLinesConfig(scenario="gs2_custom", reason="low dose", **changes)
    scenario = resolve_scenario(config, {**dict.fromkeys(changes, "flag"), "groups_per_pattern": "config file"})
    overrides = {override.parameter: override for override in scenario.overrides}
    assert set(overrides) == {"photons", "groups_per_pattern", "probe_file"}, "the same value is no override"
    dose, groups = overrides["photons"], overrides["groups_per_pattern"]
    assert (dose.profile, dose.value, dose.origin, dose.reason) == (1e9, 1e5, "flag", "low dose")
    assert (groups.profile, groups.value, groups.origin) == (4, 2, "config file")
    assert overrides["probe_file"].profile is None
    assert scenario.parameters["epochs"].origin == "flag"
    assert scenario.parameters["model"].origin == "profile"
    assert scenario.reconstruct.groups_per_pattern == 2


@hypothesis.given(
    batch=st.integers(1, 9), epochs=st.integers(1, 9), seed=st.integers(0, 99), width=st.sampled_from([16, 32])
)
def test_overrides_reach_the_stages_and_nothing_else_changes(batch, epochs, seed, width):
    plain = stage_records(resolve_scenario(SimLinesConfig()))
    config = SimLinesConfig(cluster_size=batch, epochs=epochs, train_seed=seed, width=width)
    changed = stage_records(resolve_scenario(config))
    plain["train"] |= {"cluster_size": batch, "epochs": epochs, "seed": seed, "width": width}
    plain["reconstruct"] |= {"seed": seed}
    assert changed == plain


@pytest.mark.parametrize(
    ("change", "flag"),
    [
        ({"photons": 0.0}, "--photons"),
        ({"photons": float("inf")}, "--photons"),
        ({"probe_scale": -1.0}, "--probe-scale"),
        ({"probe_mask": -3.0}, "--probe-mask"),
        ({"epochs": 0}, "--epochs"),
        ({"split_fraction": 1.5}, "--split-fraction"),
        ({"gridsize": 0}, "--gridsize"),
        ({"object_size": 10}, "--object-size"),
        ({"width": 7}, "--width"),
        ({"model": "transformer"}, "--model"),
        ({"scenario": "gs1_ideal", "probe_file": "probe.npy"}, "--probe-file"),
        ({"probe": "idael"}, "--probe: found 'idael'"),
        ({"probe": "a.npy", "probe_file": "b.npy"}, "--probe: found a.npy"),
        ({"photons": 1e18}, "--photons"),
        ({"photons": 1e11, "probe_scale": 4.0}, "--photons.*--probe-scale"),
    ],
)
def test_nonsense_is_refused_by_the_name_of_its_option(change, flag):
    with pytest.raises(InputError, match=flag) as error_info:
        resolve_scenario(replace(SimLinesConfig(), **change))
    assert "\n" not in str(error_info.value)


def test_an_unknown_scenario_is_refused_with_those_there_are():
    with pytest.raises(InputError, match=r"gs3_ideal.*gs1_custom, gs1_ideal"):
        load_profile("gs3_ideal")


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_patterns_carry_the_photons_asked_for_behind_the_object(scenario, scale, tmp_path):
    disk = DISK if scenario.endswith("ideal") else {}
    config = replace(TINY, scenario=scenario, photons=1e6, probe_scale=scale, **disk)
    resolved = simulate(plan_study(resolve_scenario(config)).write_probe(tmp_path)).provenance
    assert resolved["photons_expected"] == pytest.approx(1e6 * scale**2, rel=1e-3)
    assert resolved["photons_measured"] == pytest.approx(1e6 * scale**2, rel=3e-3)
    assert resolved["photons_probe"] < 0.5 * resolved["photons_expected"], "the object brightens what passes"


def test_a_masked_probe_keeps_its_photons_and_loses_its_tails(tmp_path):
    scenario = resolve_scenario(replace(TINY, scenario="gs1_custom", probe_mask=20.0))
    masked = prepare_probe(plan_study(scenario).write_probe(tmp_path))
    plain = prepare_probe(
        plan_study(resolve_scenario(replace(TINY, scenario="gs1_custom", probe_mask=0.0))).write_probe(tmp_path)
    )
    y, x = np.ogrid[-16:16, -16:16]
    outside = np.hypot(y, x) > 13
    fractions = [float((probe.abs() ** 2)[0][outside].sum() / probe_photons(probe)) for probe in (masked, plain)]
    assert fractions[0] < 1e-4 < 1e-2 < fractions[1]
    assert not np.isclose(float(probe_photons(masked)), 1.0)


@pytest.mark.parametrize(
    ("changes", "option"),
    [({"scenario": "gs2_custom"}, "probe_file"), ({"scenario": "gs2_custom"}, "probe"), ({}, "probe")],
)
def test_a_probe_of_ones_own_is_used_and_named(changes, option, tmp_path):
    probe = np.zeros((1, 32, 32), np.complex64)
    probe[0, 8:24, 10:20] = 1 + 2j
    path = tmp_path / "probe.npy"
    np.save(path, probe)
    scenario = resolve_scenario(replace(TINY, **changes, probe_mask=0.0, **{option: str(path)}))
    used = prepare_probe(plan_study(scenario).write_probe(tmp_path)).numpy()
    np.testing.assert_allclose(used / used[0, 8, 10], probe / probe[0, 8, 10], atol=1e-6)
    named = scenario.probe_file
    assert named is not None
    assert len(named["sha256"]) == 64
