"""Training: determinism, exact resume, clean stops, and every option that reaches the optimiser."""

import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

import ptypinn.stages.train as training
from ptypinn.config.shared import option_name
from ptypinn.config.simulate import SimulateConfig
from ptypinn.config.train import TrainConfig
from ptypinn.errors import InputError
from ptypinn.losses import LIKELIHOODS, Poisson
from ptypinn.models.model_file import load_patch_model
from ptypinn.physics.optics import probe_photons
from ptypinn.scale import compute_input_scale
from ptypinn.stages.simulate import simulate
from ptypinn.stages.train import train
from ptypinn.training.callbacks import CURVE
from ptypinn.training.checkpoints import BEST, CHECKPOINTS, LAST

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("train*.yaml"))
TINY = {"epochs": 3, "width": 16, "cluster_size": 4, "batch_size": 2, "val_fraction": 0.2, "device": "cpu"}


@pytest.fixture(scope="module")
def scan():
    return simulate(SimulateConfig(size=32, object_size=(64, 64), n_patterns=20, photons=1e5, probe="disk", seed=1))


def assert_equal_weights(first, second):
    first, second = load_file(first), load_file(second)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def losses(folder, column=1):
    return [float(line.split(",")[column]) for line in (folder / CURVE).read_text().splitlines()[1:]]


@pytest.fixture(scope="module")
def trained(scan, tmp_path_factory):
    return train(scan, TrainConfig(**TINY), output_dir=tmp_path_factory.mktemp("trained"))


def test_training_learns_and_leaves_a_complete_bundle(scan, trained):
    curve = losses(trained.parent)
    assert len(curve) == 3
    assert curve[-1] < curve[0]
    header = load_patch_model(trained).header
    assert header.input_scale == pytest.approx(compute_input_scale(header.mean_pattern_energy, 32))
    assert (header.size, header.gridsize) == (32, 1)
    assert header.provenance["config"]["epochs"] == 3
    assert header.provenance["training_patterns"] + header.provenance["validation_patterns"] == 20


def test_same_seed_gives_the_same_weights_and_another_seed_others(scan, trained, tmp_path):
    assert_equal_weights(train(scan, TrainConfig(**TINY), output_dir=tmp_path / "same"), trained)
    other = train(scan, TrainConfig(**TINY, seed=1), output_dir=tmp_path / "other")
    with pytest.raises(AssertionError):
        assert_equal_weights(other, trained)


def test_resumed_run_equals_the_uninterrupted_one_bit_for_bit(scan, trained, tmp_path):
    def interrupt(stage, done, total, /, **figures):
        if done == 5:  # in the second epoch
            raise KeyError(done)

    with pytest.raises(KeyError):
        train(scan, TrainConfig(**TINY), output_dir=tmp_path, progress=interrupt)
    assert not (tmp_path / training.MODEL_FILE).exists()
    steps = []
    resumed = train(
        scan,
        TrainConfig(**TINY),
        output_dir=tmp_path,
        resume=True,
        progress=lambda stage, done, total, /, **figures: steps.append(done),
    )
    assert min(steps) > 1
    assert_equal_weights(resumed, trained)
    assert (tmp_path / CURVE).read_text() == (trained.parent / CURVE).read_text()


def test_run_with_other_options_is_not_resumed(scan, trained):
    with pytest.raises(InputError, match=r"--resume.*--width 32 \(was 16\)"):
        train(scan, TrainConfig(**{**TINY, "width": 32}), output_dir=trained.parent, resume=True)


def test_run_on_another_scan_is_not_resumed(scan, trained, tmp_path):
    shutil.copytree(trained.parent, tmp_path / "run")
    for other in (scan.replace(counts=scan.counts + 1), scan.replace(probe=scan.probe * np.complex64(1.01))):
        with pytest.raises(InputError, match=r"--resume.*the scan of the run"):
            train(other, TrainConfig(**TINY), output_dir=tmp_path / "run", resume=True)


def test_threads_and_device_may_differ_on_resuming(scan, trained, tmp_path):
    shutil.copytree(trained.parent, tmp_path / "run")
    resumed = train(scan, TrainConfig(**TINY, threads=1), output_dir=tmp_path / "run", resume=True)
    assert_equal_weights(resumed, trained)


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.999])
def test_damaged_checkpoint_is_named_in_one_line(scan, trained, tmp_path, fraction):
    checkpoint = tmp_path / CHECKPOINTS / LAST
    checkpoint.parent.mkdir()
    whole = (trained.parent / CHECKPOINTS / LAST).read_bytes()
    checkpoint.write_bytes(whole[: int(fraction * len(whole))])
    with pytest.raises(InputError, match=r"last\.ckpt.*damaged.*train afresh"):
        train(scan, TrainConfig(**TINY), output_dir=tmp_path, resume=True)
    torch.save({"weights": torch.ones(2)}, checkpoint)
    with pytest.raises(InputError, match=r"last\.ckpt.*something else"):
        train(scan, TrainConfig(**TINY), output_dir=tmp_path, resume=True)


def test_training_leaves_the_process_as_it_was(scan, tmp_path):
    def interrupt(stage, done, total, /, **figures):
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.get_num_threads() == 2
        raise KeyboardInterrupt

    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(scan, TrainConfig(**TINY, threads=2), output_dir=tmp_path, progress=interrupt)
    after = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), signal.getsignal(signal.SIGINT)
    assert after == before


def test_nothing_to_resume_is_said(scan, tmp_path):
    with pytest.raises(InputError, match=r"last\.ckpt.*no such file"):
        train(scan, TrainConfig(**TINY), output_dir=tmp_path, resume=True)


def test_loss_that_is_not_finite_stops_the_run_and_says_where_and_what_to_try(scan, tmp_path, monkeypatch):
    class Broken(Poisson):
        def pattern_loss(self, predicted, measured, mask):
            calls.append(1)
            return predicted.sum((1, 2)) * (torch.nan if len(calls) > 2 else 1.0)

    calls = []
    monkeypatch.setitem(LIKELIHOODS, "poisson", Broken())
    with pytest.raises(InputError, match=r"epoch 0, batch 2.*nan.*--learning-rate") as failure:
        train(scan, TrainConfig(**{**TINY, "batch_size": 1}), output_dir=tmp_path)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize(
    "options",
    [
        {"gridsize": 2, "n_groups": 12, "neighbour_count": 6},
        {"loss": "amplitude"},
        {"total_variation": 0.1, "realspace": 1.0},
        {"val_fraction": 0.0, "split_axis": "y", "split_gap_px": 2.0},
        {"precision": "bf16"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_every_option_trains(scan, tmp_path, options):
    train(scan, TrainConfig(**{**TINY, "epochs": 2, **options}), output_dir=tmp_path)
    first, last = losses(tmp_path)
    assert last < first


def test_probe_and_scale_are_learned_when_asked_and_the_probe_keeps_its_power(scan, trained, tmp_path):
    config = TrainConfig(**TINY, train_probe=True, trainable_log_scale=True)
    learned, fixed = load_patch_model(train(scan, config, output_dir=tmp_path)), load_patch_model(trained)
    assert not torch.allclose(learned.probe, fixed.probe, rtol=1e-3, atol=1e-3)
    assert float(probe_photons(learned.probe)) == pytest.approx(float(probe_photons(fixed.probe)), rel=1e-5)
    assert learned.header.log_scale != fixed.header.log_scale
    torch.testing.assert_close(fixed.probe, torch.from_numpy(scan.probe), rtol=1e-4, atol=1e-5)


def test_training_stops_early_when_validation_no_longer_gains(scan, tmp_path):
    config = TrainConfig(**{**TINY, "epochs": 30, "learning_rate": 1e-12, "patience": 2})
    train(scan, config, output_dir=tmp_path)
    assert len(losses(tmp_path)) < 10


def test_the_bundle_holds_the_epoch_that_validates_best(scan, tmp_path):
    model = load_patch_model(train(scan, TrainConfig(**{**TINY, "learning_rate": 0.3}), output_dir=tmp_path))
    validated = losses(tmp_path, column=2)
    assert validated[-1] > min(validated)
    paths = (tmp_path / CHECKPOINTS / name for name in (BEST, LAST))
    best, last = (torch.load(path, weights_only=True) for path in paths)
    assert last["epoch"] == len(validated) - 1
    assert best["epoch"] == validated.index(min(validated))
    assert all(torch.equal(best["state_dict"][f"predictor.network.{n}"], w) for n, w in model.weights.items())


def test_gradients_are_clipped(scan, tmp_path):
    train(scan, TrainConfig(**TINY, gradient_clip=1e-15), output_dir=tmp_path)
    validated = losses(tmp_path, column=2)
    assert validated == pytest.approx([validated[0]] * 3, rel=1e-4)


def test_checkpoints_hold_nothing_but_tensors_and_plain_values(trained):
    for name in (LAST, BEST):
        torch.load(trained.parent / CHECKPOINTS / name, weights_only=True)


def test_relative_probe_is_calibrated_before_training(scan, tmp_path):
    relative = scan.replace(probe=scan.probe * 0.01, probe_gauge="relative")
    header = load_patch_model(train(relative, TrainConfig(**{**TINY, "epochs": 1}), output_dir=tmp_path)).header
    assert header.provenance["scan"]["probe_calibration"]["rule"] == "mean"


def test_scan_without_truth_refuses_the_real_space_term(scan, tmp_path):
    with pytest.raises(InputError, match="--realspace"):
        train(scan.replace(truth=None), TrainConfig(**TINY, realspace=1.0), output_dir=tmp_path)


@pytest.mark.parametrize(
    ("flag", "value"),
    [("gridsize", 0), ("epochs", 0), ("learning_rate", 0.0), ("width", 20), ("val_fraction", 1.0), ("n_groups", 0)],
)
def test_contradictions_name_their_flag(flag, value):
    with pytest.raises(InputError, match=option_name(flag)):
        TrainConfig(**{flag: value})


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configurations_train(scan, tmp_path, path):
    options = yaml.safe_load(path.read_text())
    short = {"epochs": 1, "n_groups": 8, "cluster_size": 2, "width": 16}
    trained = train(scan, TrainConfig(**{**options, **short}), output_dir=tmp_path)
    assert json.dumps(dict(load_patch_model(trained).header.provenance), allow_nan=False)
