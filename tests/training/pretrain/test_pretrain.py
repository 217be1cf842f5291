"""The stage: it learns, resumes exactly, stops cleanly, and leaves weights that say what they are."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from tests.training.pretrain.conftest import TINY

import ptypinn.training.pretrain_module as task_module
from ptypinn.cli.main import main, parse
from ptypinn.config.pretrain import PretrainConfig
from ptypinn.config.shared import option_name
from ptypinn.errors import InputError
from ptypinn.models.model_file import load_weights
from ptypinn.stages.pretrain import WEIGHTS, pretrain
from ptypinn.training.callbacks import CURVE
from ptypinn.training.checkpoints import CHECKPOINTS, LAST
from ptypinn.training.export import export_weights
from ptypinn.training.model_card import retrain_command, retrain_commands
from ptypinn.training.pretrain_module import compute_gain
from ptypinn.training.scenarios import HELD_OUT_IMAGES
from ptypinn.training.solver_states import draw_states

CONFIGS = Path(__file__).parents[3] / "configs"
RECIPE, FURTHER = CONFIGS / "pretrain.yaml", CONFIGS / "pretrain_further.yaml"


def assert_equal_weights(first, second):
    first, second = load_file(first), load_file(second)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture
def few_patterns(monkeypatch):
    """Scans of fewer patterns, where no other process draws the same ones."""
    monkeypatch.setattr("ptypinn.training.scenarios.MAX_PATTERNS", 30)


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory):
    return pretrain(tiny, output_dir=tmp_path_factory.mktemp("trained"))


def test_resumed_run_equals_the_uninterrupted_one_bit_for_bit_with_and_without_workers(tiny, trained, tmp_path):
    def interrupt(stage, done, total, /, **figures):
        if done == 6:  # in the second epoch
            raise KeyError(done)

    with pytest.raises(KeyError):
        pretrain(tiny, output_dir=tmp_path, progress=interrupt)
    assert not (tmp_path / WEIGHTS).exists()
    steps = []

    def note(stage, done, total, /, **figures):
        steps.append((stage, done, total))

    resumed = pretrain(replace(tiny, workers=1), output_dir=tmp_path, resume=True, progress=note)
    assert steps[0] == ("pretrain", 5, 8)
    assert_equal_weights(resumed, trained)
    assert (tmp_path / CURVE).read_text() == (trained.parent / CURVE).read_text()


def test_the_learning_curve_has_a_line_per_epoch(trained):
    header, *lines = (trained.parent / CURVE).read_text().splitlines()
    assert header == "epoch,train_loss,val_loss,val_error,learning_rate"
    assert [line.split(",")[0] for line in lines] == ["0", "1"]
    assert all(float(cell) > 0 for line in lines for cell in line.split(",")[1:])


@pytest.mark.usefixtures("few_patterns")
def test_the_network_learns_what_states_miss(tiny):
    config = replace(tiny, widths=(8, 8, 8, 8))
    torch.manual_seed(0)
    task = task_module.PretrainModule(config, 40)
    batch = draw_states((0, 0, 2), task.averaged, config)
    optimizer = torch.optim.Adam(task.network.parameters(), 5e-3)
    for _ in range(40):
        gain = compute_gain(task(batch), batch, config.detail_weight).mean()
        optimizer.zero_grad()
        gain.backward()
        optimizer.step()
    assert float(gain.detach()) < 0.9


@pytest.mark.usefixtures("few_patterns")
def test_a_finished_run_goes_on_for_more_epochs_and_for_no_fewer(tiny, trained, tmp_path):
    shutil.copytree(trained.parent, tmp_path / "run")
    longer = pretrain(replace(tiny, epochs=3), output_dir=tmp_path / "run", resume=True)
    assert load_weights(longer).card["trained"]["epochs"] == 3
    assert len((tmp_path / "run" / CURVE).read_text().splitlines()) == 4
    with pytest.raises(InputError, match=r"--epochs: found 1, expected at least the 3"):
        pretrain(replace(tiny, epochs=1), output_dir=tmp_path / "run", resume=True)


@pytest.mark.parametrize(("option", "value"), [("learning_rate", 1e-3), ("photons_log10", (3.0, 8.0)), ("seed", 1)])
def test_run_with_other_options_is_not_resumed(tiny, trained, option, value):
    with pytest.raises(InputError, match=rf"--resume: found {option_name(option)} .* \(was ") as failure:
        pretrain(replace(tiny, **{option: value}), output_dir=trained.parent, resume=True)
    assert "\n" not in str(failure.value)


def test_nothing_to_resume_is_said(tiny, tmp_path):
    with pytest.raises(InputError, match=r"last\.ckpt.*no such file"):
        pretrain(tiny, output_dir=tmp_path, resume=True)


@pytest.mark.usefixtures("few_patterns")
def test_loss_that_is_not_finite_stops_the_run_and_says_where(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(task_module, "compute_gain", lambda change, *_: change.mean((1, 2, 3)) * torch.nan)
    with pytest.raises(InputError, match=r"epoch 0, batch 0.*nan.*--learning-rate") as failure:
        pretrain(tiny, output_dir=tmp_path)
    assert "\n" not in str(failure.value)


def test_the_card_tells_what_the_weights_saw_and_what_not(tiny, trained):
    weights = load_weights(trained)
    card = json.loads(json.dumps(weights.card, allow_nan=False))
    assert weights.network.widths == tiny.widths
    assert card["licence"] == "BSD-3-Clause"
    assert card["trained"] == {"epochs": 2, "of_epochs": 2, "steps": 8, "scans": 8, "seed": 0}
    assert card["saw"]["photons_per_pattern"] == pytest.approx([10**2.5, 1e8])
    assert card["saw"]["pattern_edge_px"] == [48, 64, 96]
    assert not set(card["saw"]["photographs"]) & set(HELD_OUT_IMAGES)
    assert card["held_out"]["photographs"] == list(HELD_OUT_IMAGES)
    assert card["figures"]["all"]["scans"] == 2
    assert card["figures"]["all"]["gain"] > 0
    assert {"torch", "ptypinn"} <= card["versions"].keys()
    assert any("near-field" in line for line in card["not_seen"])


def test_the_command_on_the_card_repeats_the_training():
    config = PretrainConfig(scans_per_batch=2, photons_log10=(3.0, 7.0), widths=(8, 8, 8, 8), learning_rate=1e-3)
    _, session = parse(retrain_command(config, "out").split()[1:])
    assert session.config(PretrainConfig) == config


@pytest.mark.usefixtures("few_patterns")
def test_a_training_goes_on_from_weights_and_its_card_says_so(tiny, trained, tmp_path):
    further = replace(tiny, init_weights=str(trained), epochs=1, seed=1, learning_rate=1e-9)
    weights = load_weights(pretrain(further, output_dir=tmp_path / "further"))
    first = load_weights(trained)
    assert weights.card["start"]["sha256"] == first.digest
    assert weights.card["start"]["card"] == first.card
    assert len(weights.card["retrain"]) == 2
    assert weights.card["retrain"][0] == first.card["retrain"][0]
    for name, value in first.network.state_dict().items():  # the rate is too low to move them
        torch.testing.assert_close(weights.network.state_dict()[name], value, rtol=0, atol=1e-6)
    with pytest.raises(InputError, match=r"--init-weights: found a network of widths .* expected --widths"):
        pretrain(replace(further, widths=(8, 8, 8, 8)), output_dir=tmp_path / "other")
    with pytest.raises(InputError, match="no such file"):
        pretrain(replace(further, init_weights=str(tmp_path / "none.safetensors")), output_dir=tmp_path / "none")


@pytest.mark.parametrize("before", ["ptypinn pretrain", ["ptypinn pretrain"]])
def test_a_card_with_one_command_or_with_several_is_gone_on_from(tiny, trained, before):
    start = replace(load_weights(trained), card={"retrain": before})
    first, second = retrain_commands(tiny, start)
    assert first == "ptypinn pretrain"
    assert second.startswith("ptypinn pretrain --output-dir further")
    third = retrain_commands(tiny, replace(start, card={"retrain": [first, second]}))[2]
    assert third.startswith("ptypinn pretrain --output-dir further_2")
    assert third.endswith("--init-weights further/weights.safetensors")


def test_a_checkpoint_without_its_configuration_is_exported_where_that_is_given(tiny, trained, tmp_path):
    content = torch.load(trained.parent / CHECKPOINTS / LAST, weights_only=True)
    figures = {"all": {"gain": 0.9}}
    whole = export_weights(trained.parent / CHECKPOINTS / LAST, tmp_path / "whole.safetensors", figures=figures)
    del content["config"]
    torch.save(content, tmp_path / "bare.ckpt")
    with pytest.raises(InputError, match=r"bare\.ckpt.*something else"):
        export_weights(tmp_path / "bare.ckpt", tmp_path / "w.safetensors")
    bare = export_weights(tmp_path / "bare.ckpt", tmp_path / "w.safetensors", tiny, figures=figures)
    assert_equal_weights(bare, trained)
    assert load_weights(bare).card == load_weights(whole).card
    with pytest.raises(InputError, match=r"bare\.ckpt: state_dict"):
        export_weights(
            tmp_path / "bare.ckpt", tmp_path / "w.safetensors", replace(tiny, widths=(8, 8, 8, 8)), figures=figures
        )
    with pytest.raises(InputError, match="no such file"):
        export_weights(tmp_path / "none.ckpt", tmp_path / "w.safetensors")


@pytest.mark.usefixtures("few_patterns")
def test_the_shipped_recipe_pretrains_from_the_command_line(trained, tmp_path, capsys):
    recipe = yaml.safe_load(RECIPE.read_text())
    assert PretrainConfig(**{n: tuple(v) if isinstance(v, list) else v for n, v in recipe.items()}) == PretrainConfig()
    short = {**TINY, "epochs": 1, "scans_per_epoch": 2, "replay_steps": 0, "card_scans": 1, "widths": "[4,4,4,4]"}
    options = [f"--{name}={value}" for name, value in short.items()]
    folder = tmp_path / "run"
    assert main(["pretrain", "--config", str(RECIPE), "--output-dir", str(folder), *options, "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["weights"] == str(folder / WEIGHTS)
    assert "pretrain 1/1" in shown.err
    written = {entry.name for entry in folder.iterdir()}
    assert written >= {"config.yaml", "run_metadata.json", "log.txt", CURVE, "learning_curve.png", WEIGHTS, CHECKPOINTS}
    assert "report.html" in written
    before = load_weights(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    assert main(["pretrain", "--output-dir", str(folder), "--export", "--quiet"]) == 0
    exported = load_weights(folder / WEIGHTS)
    assert (exported.digest, exported.card) == (before.digest, before.card)
    further = ["--init-weights", str(folder / WEIGHTS), "--output-dir", str(tmp_path / "further")]
    assert main(["pretrain", "--config", str(FURTHER), *further, *options, "--quiet"]) == 0
    assert load_weights(tmp_path / "further" / WEIGHTS).card["start"]["sha256"] == before.digest
    assert main(["pretrain", "--output-dir", str(tmp_path / "none"), "--export"]) == 1
    assert "no such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("epochs", 0),
        ("scans_per_epoch", 3),
        ("max_rounds_known_probe", 1),
        ("guessed_probe_fraction", 1.5),
        ("window_px", 72),
        ("photons_log10", (5.0, 4.0)),
        ("widths", (8, 0, 8, 8)),
        ("learning_rate", 0.0),
        ("ema_decay", 1.0),
        ("workers", -1),
    ],
)
def test_contradictions_name_their_flag(flag, value):
    with pytest.raises(InputError, match=option_name(flag)):
        PretrainConfig(**{flag: value})
