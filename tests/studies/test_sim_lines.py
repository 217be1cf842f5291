"""One scenario from simulation to record: resumable, and what its record says is true."""

from __future__ import annotations

import json
import math
import shutil
import typing
import warnings
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser

from ptypinn.config.studies import SimLinesConfig
from ptypinn.errors import InputError
from ptypinn.io.load_save import load
from ptypinn.models.model_file import PatchModel, load_patch_model
from ptypinn.physics.probes import ZonePlate, disk_probe, zone_plate_probe
from ptypinn.studies import measures
from ptypinn.studies.metadata import PREFIX, build_metadata, console_lines
from ptypinn.studies.missing import explain_missing_split
from ptypinn.studies.schema import ForwardPassDiagnostics, StudyMetadata
from ptypinn.studies.sim_lines import ScenarioRun, sim_lines
from ptypinn.studies.twin_ambiguity import compare_patches, symmetry, twin_bound

TINY = SimLinesConfig(
    scenario="gs1_ideal",
    size=32,
    object_size=90,
    base_patterns=40,
    buffer_px=2,
    probe_diameter_px=16.0,
    width=16,
    n_groups=16,
    epochs=2,
    photons=1e6,
    reason="a test",
    device="cpu",
    threads=1,
)
NINE = {
    *("external_intensity_scale", "model_exp_log_scale", "scale_match_pct", "scale_discrepancy_flag", "input_mean"),
    *("output_mean", "amplification_ratio", "ground_truth_mean", "output_vs_truth_ratio"),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[ScenarioRun, Path]:
    folder = tmp_path_factory.mktemp("study")
    return sim_lines(TINY, output_dir=folder), folder


def read_back(record: object) -> None:
    """Read a record into the types it is declared with; anything unknown, absent or of another type is an error."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(StudyMetadata, nested_key=None)
    parser.parse_object(record)


def test_the_record_has_the_declared_structure_and_plain_finite_numbers(finished):
    record = json.loads(json.dumps(finished[0].metadata.as_json(), allow_nan=False))
    assert record["schema"] == "ptypinn-study-1"
    assert set(record) == {field.name for field in fields(StudyMetadata)}
    read_back(record)
    with pytest.raises(Exception, match="mean_photons"):
        read_back({**record, "split_intensity_stats": {"train": {"mean_photons": "many"}}})
    with pytest.raises(Exception, match="surplus"):
        read_back({**record, "surplus": 1})


def test_diagnostics_are_the_nine_and_hold_together(finished):
    run = finished[0]
    values = run.metadata.as_json()["forward_pass_diagnostics"]
    assert set(values) == NINE == set(typing.get_type_hints(ForwardPassDiagnostics))
    assert None not in values.values()
    energy = run.scan.counts.sum((1, 2), dtype=np.float64)[run.scan.positions_px[:, 0] <= middle(run)].mean()
    assert values["external_intensity_scale"] == pytest.approx(math.sqrt(energy) / 16, rel=1e-12)
    assert values["scale_match_pct"] > 99.9999
    assert values["scale_discrepancy_flag"] is False
    assert values["amplification_ratio"] == pytest.approx(values["output_mean"] / values["input_mean"])
    assert values["output_vs_truth_ratio"] == pytest.approx(values["output_mean"] / values["ground_truth_mean"])
    assert values["output_vs_truth_ratio"] == pytest.approx(1, abs=0.1)
    # Parseval: x has mean(sum x^2) = (N/2)^2 on the training half, so that its mean square per pixel is 1/4.
    assert 0.05 < values["input_mean"] < 0.5


def middle(run: ScenarioRun) -> float:
    return float(np.quantile(run.scan.positions_px[:, 0], 0.5))


def test_the_two_halves_are_told_apart_and_only_one_is_seen(finished):
    run = finished[0]
    stats = run.metadata.split_intensity_stats
    sums = run.scan.counts.sum((1, 2), dtype=np.float64)
    trained = run.scan.positions_px[:, 0] <= middle(run)
    assert (stats.train.patterns, stats.test.patterns) == (trained.sum(), (~trained).sum())
    assert (stats.train.mean_photons, stats.test.max_photons) == (sums[trained].mean(), sums[~trained].max())
    assert stats.deviation == pytest.approx(math.sqrt(sums[~trained].mean() / sums[trained].mean()) - 1)
    assert (stats.warning is not None) == (abs(stats.deviation) > 0.05)
    np.testing.assert_array_equal(run.recon.patterns, np.flatnonzero(~trained))


def test_training_health_labels_photons_and_seeds(finished):
    run = finished[0]
    health, labels = run.metadata.training_health, run.metadata.training_labels
    assert (health.epochs_completed, health.stopped_early, health.nan_count) == (2, False, 0)
    assert health.terms["poisson"].share == 1.0
    assert health.final_train_loss == health.terms["poisson"].loss
    assert (labels.used, labels.non_finite) == (False, 0)
    assert labels.mean_amplitude == pytest.approx(2.7, rel=0.1)
    photons = run.metadata.photons_per_pattern
    assert (photons["probe_scale"], photons["requested_times_probe_scale_squared"]) == (1.0, 1e6)
    assert photons["requested"] == 1e6
    assert photons["measured"] == pytest.approx(1e6, rel=1e-2)
    assert run.metadata.seeds == {"object_seed": 42, "sim_seed": 42, "train_seed": 42}
    assert run.metadata.prediction_scale["source"] == "none"
    assert [entry["stage"] for entry in run.metadata.ledger] == [entry["stage"] for entry in run.recon.scale]
    assert run.metadata.training_ledger
    assert run.metadata.diagnosis["healthy"]


def test_figures_of_the_part_that_no_training_pattern_lit(finished):
    run = finished[0]
    values = run.metadata.unseen
    assert 0 < values.pixels < run.metadata.metrics["compared_pixels"]
    assert values.output_vs_truth_ratio == pytest.approx(1, abs=0.1)
    row = np.ceil(middle(run)) + 32  # below the last row that a training pattern can reach
    below = np.zeros(run.scan.truth.shape, bool)
    below[int(row) :] = True
    assert values.pixels >= (run.evaluation.comparison.alignment.mask & below).sum()


def test_a_held_out_half_of_another_dose_is_warned_of(finished):
    run = finished[0]
    bright = np.where(run.scan.positions_px[:, 0] > middle(run), 2, 1)[:, None, None].astype(run.scan.counts.dtype)
    alike = measures.measure_split(run.scan, run.scenario.train)
    values = measures.measure_split(run.scan.replace(counts=run.scan.counts * bright), run.scenario.train)
    assert 1 + values.deviation == pytest.approx(math.sqrt(2) * (1 + alike.deviation), rel=1e-6)
    assert f"departs from the training half by {values.deviation:+.1%}" in values.warning


def test_a_wrong_scale_raises_the_flag(finished):
    run = finished[0]
    bundle = load_patch_model(run.model)
    drifted = replace(bundle, header=replace(bundle.header, log_scale=bundle.header.log_scale + 0.02))
    state = measures.read_scaler(drifted, measures.measure_external_scale(run.scan, run.scenario.train))
    assert state.ratio == pytest.approx(math.exp(0.02), rel=1e-6)
    values = measures.compare_scales(state, run.evaluation, run.recon.scale)
    assert values.scale_discrepancy_flag is True
    assert values.scale_match_pct == pytest.approx(100 - 2.02, abs=0.01)
    broken = replace(bundle, header=replace(bundle.header, log_scale=math.inf))
    with pytest.raises(InputError, match="log_scale"):
        measures.read_scaler(broken, 1.0)


def test_an_unreadable_scaler_is_named_and_nothing_else_is_lost(finished, tmp_path):
    run = finished[0]
    damaged = tmp_path / "model.safetensors"
    damaged.write_bytes(b"not a model")
    metadata = build_metadata(run.scenario, run.scan, damaged, run.recon, run.evaluation, run.diagnosis, run.steps)
    record = json.loads(json.dumps(metadata.as_json(), allow_nan=False))
    read_back(record)
    assert {"model", "intensity_scaler_state", "forward_pass_diagnostics.scale_match_pct"} <= set(record["missing"])
    assert str(damaged) in record["missing"]["model"]
    assert record["intensity_scaler_state"]["exp_log_scale"] is None
    assert record["intensity_scaler_state"]["external_intensity_scale"] > 0
    assert record["forward_pass_diagnostics"]["output_vs_truth_ratio"] == pytest.approx(1, abs=0.1)
    assert any("missing intensity_scaler_state" in line for line in console_lines(metadata))


def unnamed(record: dict[str, Any]) -> set[str]:
    """Figures without a value that `missing` does not name."""
    sections = ("intensity_scaler_state", "training_health", "training_labels", "split_intensity_stats")
    values = {f"{section}{name}" for section in sections for name in empty(record[section])}
    return values - {"split_intensity_stats.warning"} - set(record["missing"])


def empty(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from (f".{name}{rest}" for rest in empty(inner))
    elif value is None:
        yield ""


def changed_record(finished, tmp_path, model: bytes | None, curve: str | None, **scan: object) -> dict[str, Any]:
    """The record of the run with another model, learning curve or scan."""
    run = finished[0]
    path = tmp_path / "model.safetensors"
    path.write_bytes(run.model.read_bytes() if model is None else model)
    if curve is not None:
        (tmp_path / "learning_curve.csv").write_text(curve)
    changed = run.scan.replace(**scan) if scan else run.scan
    evaluation = replace(run.evaluation, comparison=None) if scan else run.evaluation
    metadata = build_metadata(run.scenario, changed, path, run.recon, evaluation, run.diagnosis, run.steps)
    return json.loads(json.dumps(metadata.as_json(), allow_nan=False))


@pytest.mark.parametrize(
    ("model", "curve", "name", "reason"),
    [
        (b"rubbish", "epoch,train_loss\n0,1\n", "intensity_scaler_state.exp_log_scale", "unreadable file"),
        (b"rubbish", "epoch,train_loss\n0,1\n", "training_health.nan_count", "unreadable file"),
        (b"rubbish", None, "training_health.epochs_completed", "unreadable file"),
        (None, None, "training_health.nan_count", "learning_curve.csv"),
        (None, None, "training_health.terms.poisson.loss", "learning_curve.csv"),
        (None, "epoch,train_loss\n0,1\n1,nan\n", "training_health.final_train_loss", "not finite"),
    ],
)
def test_every_figure_without_a_value_is_named_with_its_cause(model, curve, name, reason, finished, tmp_path):
    record = changed_record(finished, tmp_path, model, curve)
    assert not unnamed(record)
    assert reason in record["missing"][name]
    if model:
        assert "unreadable file" in record["missing"]["intensity_scaler_state"]


def test_a_scan_without_truth_says_so(finished, tmp_path):
    record = changed_record(finished, tmp_path, None, "epoch,train_loss\n0,1\n", truth=None)
    assert not unnamed(record)
    assert record["missing"]["training_labels.mean_amplitude"] == "the scan has no truth"


def test_a_dark_half_is_named(finished):
    run = finished[0]
    dark = np.where(run.scan.positions_px[:, 0] > middle(run), 0, run.scan.counts.T).T.astype(run.scan.counts.dtype)
    values = explain_missing_split(measures.measure_split(run.scan.replace(counts=dark), run.scenario.train))
    assert set(values) == {"split_intensity_stats.test.scale", "split_intensity_stats.deviation"}
    assert all("no photons" in reason for reason in values.values())


def test_every_console_line_has_the_prefix(finished):
    lines = console_lines(finished[0].metadata)
    assert all(line.startswith(f"{PREFIX} ") for line in lines)
    assert all(sum(name in line for line in lines) >= 1 for name in NINE)


def test_an_interrupted_study_goes_on_and_equals_one_that_was_not(finished, tmp_path):
    def interrupt(stage: str, done: int, total: int, /, **figures: float) -> None:
        if stage == "train" and done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sim_lines(TINY, output_dir=tmp_path, progress=interrupt)
    messages: list[str] = []

    def watch(stage: str, done: int, total: int, /, **figures: float) -> None:
        messages.append(f"{stage} {done}")

    resumed = sim_lines(TINY, output_dir=tmp_path, progress=watch)
    assert "simulate 40" not in messages
    assert "train 1" not in messages, "the training goes on from its last complete epoch"
    assert resumed.steps["simulate"].reused
    assert not resumed.steps["train"].reused
    np.testing.assert_array_equal(resumed.recon.object, finished[0].recon.object)
    again = sim_lines(TINY, output_dir=tmp_path)
    assert all(step.reused for step in again.steps.values())
    np.testing.assert_array_equal(again.recon.object, finished[0].recon.object)


def at_first_step(stage: str, done: int, total: int, /, **figures: float) -> None:
    if stage == "train":
        raise KeyboardInterrupt


@pytest.mark.parametrize("changed", [True, False])
def test_a_run_stopped_before_its_first_epoch_takes_nothing_of_the_run_before(changed, finished, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished[1], folder)
    config = replace(TINY, object_seed=7) if changed else TINY
    with pytest.raises(KeyboardInterrupt):
        sim_lines(config, output_dir=folder, progress=at_first_step, overwrite=not changed)
    assert not any((folder / "model").rglob("*.*"))
    messages: list[str] = []
    resumed = sim_lines(
        config, output_dir=folder, progress=lambda *arguments, **_: messages.append(f"{arguments[0]} {arguments[1]}")
    )
    assert "train 1" in messages and resumed.steps["simulate"].reused
    fresh = sim_lines(config, output_dir=tmp_path / "fresh") if changed else finished[0]
    np.testing.assert_array_equal(resumed.recon.object, fresh.recon.object)


def test_bad_input_to_a_step_costs_nothing_of_the_run_before(finished, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise InputError("scan", "patterns", "none", "some")

    folder = finished[1]
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    monkeypatch.setattr("ptypinn.stages.train._data", refuse)
    with pytest.raises(InputError, match="patterns"):
        sim_lines(replace(TINY, learning_rate=1e-4), output_dir=folder)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("file", "redone"),
    [("scan.h5", "simulate"), ("model/model.safetensors", "train"), ("reconstruction.h5", "reconstruct")],
)
@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda data: data[:-9] + bytes(255 - value for value in data[-9:])]
)
def test_damaged_products_are_made_again(file, redone, damage, finished, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished[1], folder)
    (folder / file).write_bytes(damage((folder / file).read_bytes()))
    with pytest.warns(UserWarning, match=f"{file} differs from what the step '{redone}' wrote"):
        again = sim_lines(TINY, output_dir=folder)
    repeated = {name for name, step in again.steps.items() if not step.reused}
    # The same model may be another file, since its header has no order: then the reconstruction is made from it again.
    assert {redone} <= repeated <= {redone, *(["reconstruct"] if redone == "train" else [])}
    np.testing.assert_array_equal(again.recon.object, finished[0].recon.object)


@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt"])
def test_a_damaged_checkpoint_lets_the_training_start_anew(name, finished, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished[1], folder)
    checkpoint = folder / "model" / "checkpoints" / name
    checkpoint.write_bytes(checkpoint.read_bytes()[:999])
    (folder / "model" / "model.safetensors").unlink()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        again = sim_lines(TINY, output_dir=folder)
    assert any("starts anew" in str(warning.message) and name in str(warning.message) for warning in caught)
    np.testing.assert_array_equal(again.recon.object, finished[0].recon.object)


def test_kept_steps_leave_the_record_of_steps_alone(finished):
    record = finished[1] / "steps.json"
    before = (record.stat().st_ino, record.stat().st_mtime_ns)
    sim_lines(TINY, output_dir=finished[1])
    assert (record.stat().st_ino, record.stat().st_mtime_ns) == before


def test_another_parameter_redoes_what_depends_on_it_and_no_more(finished):
    _, folder = finished
    scaled = sim_lines(replace(TINY, prediction_scale_source="flux"), output_dir=folder)
    assert [name for name, step in scaled.steps.items() if not step.reused] == ["reconstruct"]
    assert scaled.metadata.prediction_scale["source"] == "flux"
    assert scaled.recon.unscaled is not None
    np.testing.assert_array_equal(scaled.recon.unscaled, finished[0].recon.object)
    fresh = sim_lines(TINY, output_dir=folder, overwrite=True)
    assert not any(step.reused for step in fresh.steps.values())
    np.testing.assert_array_equal(fresh.recon.object, finished[0].recon.object)


def test_the_twin_limits_a_symmetric_probe_only(finished):
    run = finished[0]
    assert symmetry(disk_probe(32, 8.0).numpy()) == pytest.approx(1)
    assert symmetry(zone_plate_probe(64, ZonePlate(defocus_waves=2.0)).numpy()) < 0.9
    assert run.metadata.limits
    assert "twin" in run.metadata.limits[0]
    assert "mean of both by" in run.metadata.limits[0]
    mirrored = run.scan.truth.copy()
    one = run.scan.subset(np.arange(1)).replace(positions_px=np.array([[20.0, 20.0]]))
    mirrored[21:52, 21:52] += mirrored[21:52, 21:52][::-1, ::-1].copy()
    mask = np.zeros(mirrored.shape, bool)
    mask[26:46, 26:46] = True
    assert twin_bound(one.replace(truth=mirrored), np.arange(1), mask) == pytest.approx(1, abs=1e-6)
    assert twin_bound(one, np.arange(1), mask) < 0.95


@pytest.mark.parametrize(("fraction", "expected"), [(1.0, "own"), (0.5, "both"), (0.0, "twin")])
def test_patches_differ_from_their_mirror_images(fraction, expected, finished, monkeypatch):
    run = finished[0]
    patterns = run.recon.patterns[:7]
    corners = np.round(run.scan.positions_px[patterns]).astype(int)
    patches = np.abs(np.stack([run.scan.truth[y : y + 32, x : x + 32] for y, x in corners]))
    mirrored = patches.copy()
    mirrored[:, 1:, 1:] = patches[:, :0:-1, :0:-1]
    mixed = torch.from_numpy(fraction * patches + (1 - fraction) * mirrored).to(torch.complex64)
    monkeypatch.setattr(PatchModel, "predictor", lambda *_: SimpleNamespace(patches=lambda counts: mixed[:, None]))
    correlation = compare_patches(run.scan, load_patch_model(run.model), patterns)
    assert getattr(correlation, expected) == pytest.approx(1, abs=1e-5)
    assert (correlation.own == pytest.approx(correlation.twin)) == (fraction == 0.5)


def test_the_scan_is_kept_with_its_truth(finished):
    run, folder = finished
    np.testing.assert_array_equal(load(folder / "scan.h5").truth, run.scan.truth)
