"""The stage: it gains on a scan without its truth, keeps the start where it does not, resumes exactly, and says so."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

import ptypinn as pp
from ptypinn.cli.main import main
from ptypinn.config.finetune import FinetuneConfig
from ptypinn.config.shared import option_name
from ptypinn.errors import InputError
from ptypinn.models.model_file import load_weights
from ptypinn.solvers.unrolled.problem import UnrolledOptions
from ptypinn.solvers.unrolled.rounds import PROBE_ROUNDS
from ptypinn.solvers.unrolled.solver import find_probe
from ptypinn.stages.finetune import WEIGHTS, finetune
from ptypinn.training.callbacks import CURVE
from ptypinn.training.checkpoints import BEST, CHECKPOINTS, LAST
from ptypinn.training.model_card import widen_ranges
from ptypinn.training.self_supervision import SelfSupervision, split_patterns

RECIPE = Path(__file__).parents[3] / "configs" / "finetune.yaml"


@pytest.fixture(scope="module")
def config(weights_file):
    return FinetuneConfig(
        init_weights=str(weights_file),
        rounds=3,
        refine_probe=False,
        epochs=3,
        val_fraction=0.2,
        device="cpu",
        threads=1,
    )


@pytest.fixture(scope="module")
def tuned(scan, config, tmp_path_factory):
    return finetune(scan, config, output_dir=tmp_path_factory.mktemp("tuned"))


def assert_equal_weights(first, second):
    first, second = load_file(first), load_file(second)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_weights_that_correct_badly_become_better_on_the_scan_and_on_its_truth(scan, config, tuned, weights_file):
    card = load_weights(tuned).card
    assert card["kept"] == "tuned"
    assert card["validation"]["best"] < card["validation"]["start"]
    options = pp.ReconstructConfig(rounds=3, refine_probe=False)
    before, after = (
        pp.evaluate(pp.reconstruct(scan, model, options), scan).metrics["complex_error"]
        for model in (weights_file, tuned)
    )
    assert after < before


def test_the_truth_is_never_looked_at(scan, config, tuned, tmp_path):
    other = scan.replace(truth=np.ones_like(scan.truth))
    assert_equal_weights(finetune(other, config, output_dir=tmp_path), tuned)


def test_resumed_run_equals_the_uninterrupted_one_bit_for_bit(scan, config, tuned, tmp_path):
    def interrupt(stage, done, total, /, **figures):
        if done == 5:  # in the second epoch
            raise KeyError(done)

    with pytest.raises(KeyError):
        finetune(scan, config, output_dir=tmp_path, progress=interrupt)
    assert not (tmp_path / WEIGHTS).exists()
    reports = []

    def note(stage, done, total, /, **figures):
        reports.append((stage, done, total))

    resumed = finetune(scan, config, output_dir=tmp_path, resume=True, progress=note)
    assert reports[0] == ("finetune", 4, 9)
    assert_equal_weights(resumed, tuned)
    assert (tmp_path / CURVE).read_text() == (tuned.parent / CURVE).read_text()
    assert load_weights(resumed).card["validation"] == load_weights(tuned).card["validation"]


def test_the_epoch_that_validates_best_is_kept(scan, config, tmp_path, monkeypatch):
    values = iter([5.0, 4.0, 3.0, 3.5])
    monkeypatch.setattr(SelfSupervision, "validate", lambda *_: next(values))
    weights = finetune(scan, config, output_dir=tmp_path)
    card = load_weights(weights).card
    assert card["validation"]["best"] == pytest.approx(3.0)
    assert card["trained"]["epochs"] == 2
    best, last = (torch.load(tmp_path / CHECKPOINTS / name, weights_only=True)["state_dict"] for name in (BEST, LAST))
    tuned = load_file(weights)
    assert all(torch.equal(best[f"average.module.{name}"], value) for name, value in tuned.items())
    assert not all(torch.equal(last[f"average.module.{name}"], value) for name, value in tuned.items())


def test_where_nothing_is_gained_the_start_is_kept_and_said_to_be_and_the_run_ends_early(
    scan, weights_file, tmp_path, capsys, monkeypatch
):
    values = iter([1.0, 1.5, 1.6, 0.9])
    monkeypatch.setattr(SelfSupervision, "validate", lambda *_: next(values))
    pp.save(scan, tmp_path / "scan.h5")
    options = [
        "--init-weights",
        str(weights_file),
        "--rounds",
        "1",
        "--epochs",
        "4",
        "--patience",
        "1",
        "--device",
        "cpu",
    ]
    assert main(["finetune", str(tmp_path / "scan.h5"), "--output-dir", str(tmp_path / "out"), *options]) == 0
    assert "the initial weights are written" in capsys.readouterr().out
    assert_equal_weights(tmp_path / "out" / WEIGHTS, weights_file)
    assert load_weights(tmp_path / "out" / WEIGHTS).card["kept"] == "start"
    assert len((tmp_path / "out" / CURVE).read_text().splitlines()) == 3


def test_the_solution_of_every_epoch_can_be_watched(scan, config, tmp_path):
    snapshots = []
    finetune(scan, replace(config, epochs=2), output_dir=tmp_path, watch=lambda look: snapshots.append(look()))
    assert len(snapshots) == 2
    assert len(snapshots[0].positions_px) == len(snapshots[0].patterns) < scan.n_patterns
    np.testing.assert_allclose(
        snapshots[0].positions_px + snapshots[0].origin_px, scan.positions_px[snapshots[0].patterns], atol=1e-6
    )
    illuminated = snapshots[0].illumination > 0
    assert (snapshots[0].object[~illuminated] == 1).all()
    assert not np.array_equal(snapshots[0].object[illuminated], snapshots[1].object[illuminated])


def test_from_scratch_begins_with_the_physical_steps_alone(scan, config, tmp_path):
    scratch = replace(config, init_weights="none", epochs=1, widths=(4, 4, 4, 4), learning_rate=1e-12)
    weights = load_weights(finetune(scan, scratch, output_dir=tmp_path))
    assert weights.network.widths == (4, 4, 4, 4)
    assert weights.card["start"] is None
    maps = torch.randn(1, 11, 32, 32)
    torch.testing.assert_close(weights.network(maps), torch.zeros(1, 2, 32, 32), rtol=0, atol=1e-6)


def test_a_guessed_probe_is_found_first(scan, config, tmp_path):
    ramp = np.exp(0.2j * np.arange(32, dtype=np.float32)).astype(np.complex64)
    guess, reports = scan.replace(probe=scan.probe * ramp), []
    config = replace(config, refine_probe=True, epochs=1)
    weights = finetune(
        guess,
        config,
        output_dir=tmp_path / "a",
        progress=lambda stage, *_, **figures: reports.append((stage, *figures)),
    )
    assert load_weights(weights).card["trained"]["rounds"] == 3
    assert reports.count(("reconstruct", "probe_loss")) == PROBE_ROUNDS
    fits = scan.subset(split_patterns(scan, config.patterns, config.val_fraction, config.seed).train)
    network = load_weights(config.init_weights).network
    probe = find_probe(fits.replace(probe=guess.probe), network, UnrolledOptions(), torch.device("cpu")).probe
    fixed = finetune(scan.replace(probe=probe), replace(config, refine_probe=False), output_dir=tmp_path / "b")
    assert load_weights(fixed).digest == load_weights(weights).digest


@pytest.mark.parametrize("change", ["learning_rate", "scan", "init_weights", "seed"])
def test_another_run_is_not_resumed(scan, config, tuned, tmp_path, change):
    shutil.copytree(tuned.parent, tmp_path / "run")
    other = scan.replace(counts=scan.counts + 1) if change == "scan" else scan
    changed = {"learning_rate": 1e-5, "seed": 3, "init_weights": "none"}
    options = replace(config, **{change: changed[change]}) if change in changed else config
    with pytest.raises(InputError, match="--resume") as failure:
        finetune(other, options, output_dir=tmp_path / "run", resume=True)
    assert "\n" not in str(failure.value)


def test_loss_that_is_not_finite_stops_the_run_and_says_where(scan, config, tmp_path):
    with pytest.raises(InputError, match=r"epoch \d, round \d.*--learning-rate") as failure:
        finetune(scan, replace(config, learning_rate=1e18), output_dir=tmp_path)
    assert "\n" not in str(failure.value)


def test_the_card_says_where_the_weights_come_from_and_widens_what_they_saw(scan, tuned, weights_file):
    card = json.loads(json.dumps(load_weights(tuned).card, allow_nan=False))
    assert card["start"]["sha256"] == load_weights(weights_file).digest
    assert card["start"]["file"] == weights_file.name
    assert card["trained"]["patterns"] + card["validation"]["patterns"] == scan.n_patterns
    assert card["saw"]["photons"] == pytest.approx([3e3, 1e6], rel=1e-3)
    assert widen_ranges({"photons": [1.0, 2.0]}, {"photons": 1.5, "modes": 3.0}) == {"photons": [1, 2], "modes": [3, 3]}


def test_the_shipped_recipe_tunes_from_the_command_line(scan, weights_file, tmp_path, capsys):
    recipe = yaml.safe_load(RECIPE.read_text())
    assert FinetuneConfig(**recipe) == FinetuneConfig()
    pp.save(scan, tmp_path / "scan.h5")
    short = ["--init-weights", str(weights_file), "--epochs", "1", "--rounds", "1", "--device", "cpu", "--json"]
    folder = tmp_path / "out"
    command = ["finetune", str(tmp_path / "scan.h5"), "--config", str(RECIPE), "--output-dir", str(folder), *short]
    assert main(command) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["kept"] in ("tuned", "start")
    assert "finetune 1/1" in shown.err
    written = {entry.name for entry in folder.iterdir()}
    assert written >= {"config.yaml", "run_metadata.json", "log.txt", CURVE, "learning_curve.png", WEIGHTS, CHECKPOINTS}
    assert "report.html" in written
    assert main([*command, "--resume"]) == 0
    assert (
        main(
            ["finetune", str(tmp_path / "scan.h5"), "--init-weights", "none.file", "--output-dir", str(tmp_path / "b")]
        )
        == 1
    )
    assert "none.file: found no such file" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("epochs", 0),
        ("rounds", 0),
        ("init_weights", ""),
        ("patterns", 4),
        ("val_fraction", 0.0),
        ("held_out_period", 1),
        ("held_out_period", 9),
        ("learning_rate", 0.0),
        ("ema_decay", 1.0),
        ("widths", (8, 8, 8, 0)),
    ],
)
def test_contradictions_name_their_flag(flag, value):
    with pytest.raises(InputError, match=option_name(flag)):
        FinetuneConfig(**{flag: value})
