"""The `reconstruct` stage without a model of the user's own: scale, ledger, polish, tiles, and refused options."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.config.pretrain import PretrainConfig
from ptypinn.config.reconstruct import PatchNetworkConfig, ReconstructConfig
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.errors import InputError
from ptypinn.metrics import complex_error
from ptypinn.models.model_file import load_weights, save_weights
from ptypinn.runs.record import rename_options
from ptypinn.solvers.unrolled.polish import MAX_CYCLE, split_into_cycles
from ptypinn.stages.evaluate import evaluate
from ptypinn.stages.reconstruct import reconstruct
from ptypinn.training.checkpoints import RUNTIME_OPTIONS
from ptypinn.utils.plain_values import to_plain

CONFIGS = Path(__file__).parents[3] / "configs"
KNOWN = {"refine_probe": False, "device": "cpu"}


def figures_of(recon, scan):
    return evaluate(recon, scan).metrics


def test_nothing_has_to_be_trained(scan, tmp_path):
    recon = reconstruct(scan, config=ReconstructConfig(**KNOWN))
    figures = figures_of(recon, scan)
    assert figures["output_vs_truth_ratio"] == pytest.approx(1, abs=0.005)
    assert figures["complex_error"] < 0.08
    assert figures["flux_closure"] == pytest.approx(1, abs=1e-4)
    model, weights = recon.provenance["model"], load_weights()
    assert model["sha256"] == weights.digest
    assert model["card"]["saw"] == weights.card["saw"]
    assert model["card"]["start"].keys() == {"file", "sha256"}
    assert recon.uncertainty is not None
    assert recon.provenance["trust"]["warnings"] is not None
    entries = {entry["stage"]: entry for entry in recon.scale}
    assert entries["closing factor"]["measured"] == pytest.approx(1, abs=0.01)
    again = Reconstruction.load(recon.save(tmp_path / "recon.h5"))
    np.testing.assert_array_equal(again.object, recon.object)


def test_shipped_weights_are_small_known_and_say_what_they_are():
    weights = load_weights()
    assert sum(value.numel() * 4 for value in weights.network.state_dict().values()) < 4 * 2**20
    assert {"saw", "not_seen", "figures", "licence", "retrain"} <= weights.card.keys()
    assert not any(parameter.requires_grad for parameter in weights.network.parameters())


def test_shipped_weights_are_of_the_recipe_that_comes_with_them():
    card = load_weights().card
    for config, name in ((card["start"]["card"]["config"], "pretrain"), (card["config"], "pretrain_further")):
        recorded = rename_options(PretrainConfig, config)
        recipe = to_plain({**asdict(PretrainConfig()), **yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())})
        decisive = recipe.keys() - RUNTIME_OPTIONS - {"init_weights"}
        assert {option: recorded[option] for option in decisive} == {option: recipe[option] for option in decisive}
    first, further = card["retrain"]
    assert first == "ptypinn pretrain --output-dir pretrained"
    assert further.endswith("--start pretrained/weights.safetensors")  # an option of version 0.1, as recorded


def test_weights_of_a_file_take_the_place_of_those_of_the_package(scan, make_weights, tmp_path):
    weights = make_weights(0.05)
    path = save_weights(weights.network, {"name": "mine"}, tmp_path / "mine.safetensors")
    result = load_weights(path)
    assert result.card == {"name": "mine"}
    config = ReconstructConfig(rounds=1, **KNOWN)
    in_memory, read = reconstruct(scan, weights, config), reconstruct(scan, path, config)
    np.testing.assert_array_equal(in_memory.object, read.object)
    assert read.provenance["model"]["file"] == str(path)


def test_damaged_weights_are_refused_in_one_line(tmp_path, make_weights):
    path = save_weights(make_weights().network, {}, tmp_path / "w.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="unreadable"):
        load_weights(path)
    with pytest.raises(InputError, match="no such file"):
        load_weights(tmp_path / "none.safetensors")


def test_polishing_helps_at_high_dose_and_keeps_the_scale(make_scan):
    scan = make_scan(photons=1e7)
    rough, fine = (reconstruct(scan, None, ReconstructConfig(rounds=3, polish=n, **KNOWN)) for n in (0, 12))
    before, after = figures_of(rough, scan), figures_of(fine, scan)
    assert after["complex_error"] < 0.8 * before["complex_error"]
    assert after["output_vs_truth_ratio"] == pytest.approx(1, abs=0.002)
    assert len(fine.history["polish_loss"]) >= 12
    assert fine.provenance["polish"]["passes"] > 12


@pytest.mark.parametrize(("sample", "left"), [("siemens", 0.6), ("dead_leaves", 0.95)])
def test_polishing_goes_on_with_or_without_rounds_as_held_out_pixels_say(make_scan, sample, left):
    scan = make_scan(size=48, object=sample, object_size=(112, 112), photons=1e6)
    plain, polished = (reconstruct(scan, None, ReconstructConfig(rounds=8, polish=n, **KNOWN)) for n in (0, 30))
    assert figures_of(polished, scan)["complex_error"] < left * figures_of(plain, scan)["complex_error"]
    assert 1 <= polished.provenance["polish"]["cycles_kept"] <= 2


@given(iterations=st.integers(1, 500))
def test_iterations_are_dealt_out_evenly_to_cycles(iterations):
    result = split_into_cycles(iterations)
    assert sum(result) == iterations
    assert MAX_CYCLE >= max(result) >= min(result) >= max(result) - 1


@pytest.mark.parametrize("refine_probe", [False, True])
def test_polishing_finds_positions_that_are_off(make_scan, refine_probe):
    scan = make_scan(photons=1e6)
    off = np.random.default_rng(0).uniform(-0.7, 0.7, scan.positions_px.shape)
    wrong = scan.replace(positions_px=np.clip(scan.positions_px + off, 0, np.subtract(scan.truth.shape, scan.size)))
    probe = {"probe_rounds": 8} if refine_probe else {"refine_probe": False}
    config = ReconstructConfig(polish=60, refine_positions=True, rounds=8, device="cpu", **probe)
    recon = reconstruct(wrong, None, config)
    before, after = (np.abs(p - scan.positions_px).mean() for p in (wrong.positions_px, recon.positions_px))
    assert after < 0.6 * before
    assert recon.object.shape == scan.truth.shape


def test_a_cycle_of_polishing_that_fits_noise_is_undone(make_scan):
    scan = make_scan(photons=3e3, overlap=0.6)
    plain, polished = (reconstruct(scan, None, ReconstructConfig(polish=n, **KNOWN)) for n in (0, 60))
    assert figures_of(polished, scan)["complex_error"] < 1.03 * figures_of(plain, scan)["complex_error"]
    notes = polished.provenance["polish"]
    assert (notes["stopped"], notes["cycles_kept"], notes["iterations"]) == ("held-out loss", 0, 15)


def test_more_rounds_never_make_it_much_worse(make_scan):
    for photons in (1e3, 1e5):  # few counts judge here: larger scans judge better
        scan = make_scan(photons=photons)
        few, many = (reconstruct(scan, None, ReconstructConfig(rounds=n, **KNOWN)) for n in (8, 24))
        assert figures_of(many, scan)["complex_error"] < 1.1 * figures_of(few, scan)["complex_error"]


def test_tiles_give_what_the_whole_canvas_gives(make_scan):
    scan = make_scan(object_size=(160, 112), overlap=0.5)
    config = ReconstructConfig(rounds=3, **KNOWN)
    whole = reconstruct(scan, None, config)
    tiled = reconstruct(scan, None, replace(config, tile_px=64, halo_px=64))
    illuminated = whole.well_illuminated(0.3)
    apart = complex_error(tiled.object, whole.object, illuminated)
    assert apart < 0.3 * figures_of(whole, scan)["complex_error"]


@pytest.mark.parametrize(
    ("limit", "options", "unsought"),
    [
        (100, {}, ["positions"]),
        (100, {"refine_probe": True, "probe_rounds": 1, "positions": "solve"}, ["positions"]),
        (100, {"assume": "ideal"}, None),
        (10**7, {}, None),
    ],
)
def test_a_canvas_too_large_for_terms_of_the_experiment_is_on_record(scan, limit, options, unsought, monkeypatch):
    monkeypatch.setattr("ptypinn.solvers.unrolled.reconstruct.MAX_CANVAS_PX", limit)
    monkeypatch.setattr("ptypinn.solvers.unrolled.reconstruct.solve_experiment", lambda _, recon, *__: recon)
    recon = reconstruct(scan, config=ReconstructConfig(**{**KNOWN, "polish": 0, **options}))
    assert recon.provenance.get("experiment", {}).get("not_looked_for") == unsought


def test_options_of_a_trained_network_are_refused(scan):
    with pytest.raises(InputError, match="--prediction-scale"):
        ReconstructConfig(prediction_scale="recorded")
    with pytest.raises(InputError, match="PatchNetworkConfig"):
        reconstruct(scan, None, PatchNetworkConfig(subset="held_out"))


@pytest.mark.parametrize("options", [{"rounds": 0}, {"polish": -1}, {"probe_modes": 0}, {"refine_positions": True}])
def test_contradictions_are_refused(options):
    with pytest.raises(InputError, match="--" + next(iter(options)).replace("_", "-")):
        ReconstructConfig(**options)
