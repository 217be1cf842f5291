"""The `reconstruct` stage without a model of the user's own: scale, account, polish, windows, and what it refuses."""

import numpy as np
import pytest

from ptypinn.config.reconstruct import ReconstructConfig
from ptypinn.config.windows import WindowOptions
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.errors import InputError
from ptypinn.evaluate import evaluate
from ptypinn.learned import polish
from ptypinn.learned.weights import load_weights, save_weights
from ptypinn.metrics import complex_error
from ptypinn.reconstruct import reconstruct

KNOWN = {"refine_probe": False, "device": "cpu"}


def figures_of(recon, scan):
    return evaluate(recon, scan).metrics


def test_nothing_has_to_be_trained(scan, tmp_path):
    recon = reconstruct(scan, config=ReconstructConfig(**KNOWN))
    figures = figures_of(recon, scan)
    assert figures["output_vs_truth_ratio"] == pytest.approx(1, abs=0.005)
    assert figures["complex_error"] < 0.08
    assert figures["flux_closure"] == pytest.approx(1, abs=1e-4)
    assert recon.provenance["model"]["sha256"] == load_weights().digest
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


def test_weights_of_a_file_take_the_place_of_those_of_the_package(scan, make_weights, tmp_path):
    weights = make_weights(0.05)
    path = save_weights(weights.network, {"name": "mine"}, tmp_path / "mine.safetensors")
    found = load_weights(path)
    assert found.card == {"name": "mine"}
    config = ReconstructConfig(rounds=1, **KNOWN)
    given, read = reconstruct(scan, weights, config), reconstruct(scan, path, config)
    np.testing.assert_array_equal(given.object, read.object)
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


def test_closing_rounds_take_away_noise_that_polishing_has_fitted(make_scan, monkeypatch):
    scan = make_scan(size=48, object="dead_leaves", object_size=(112, 112), photons=2e4)
    config = ReconstructConfig(polish=20, **KNOWN)
    errors = {}
    for rounds in (0, 2):
        monkeypatch.setattr(polish, "CLOSING", rounds)
        errors[rounds] = figures_of(reconstruct(scan, None, config), scan)["complex_error"]
    assert errors[2] < errors[0]


@pytest.mark.parametrize("refine_probe", [False, True])
def test_polishing_finds_positions_that_are_off(make_scan, refine_probe):
    scan = make_scan(photons=1e6)
    off = np.random.default_rng(0).uniform(-0.7, 0.7, scan.positions_px.shape)
    wrong = scan.replace(positions_px=np.clip(scan.positions_px + off, 0, np.subtract(scan.truth.shape, scan.size)))
    config = ReconstructConfig(polish=60, refine_positions=True, refine_probe=refine_probe, rounds=8, device="cpu")
    recon = reconstruct(wrong, None, config)
    before, after = (np.abs(p - scan.positions_px).mean() for p in (wrong.positions_px, recon.positions_px))
    assert after < 0.6 * before
    assert recon.object.shape == scan.truth.shape


def test_polishing_stops_before_it_fits_noise(make_scan):
    scan = make_scan(photons=3e3, overlap=0.6)
    plain, polished = (reconstruct(scan, None, ReconstructConfig(polish=n, **KNOWN)) for n in (0, 60))
    assert figures_of(polished, scan)["complex_error"] < 1.1 * figures_of(plain, scan)["complex_error"]
    assert polished.provenance["polish"]["stopped"] == "held-out loss"


def test_more_rounds_never_make_it_much_worse(make_scan):
    for photons in (1e3, 1e5):  # few counts judge here: larger scans judge better
        scan = make_scan(photons=photons)
        few, many = (reconstruct(scan, None, ReconstructConfig(rounds=n, **KNOWN)) for n in (8, 24))
        assert figures_of(many, scan)["complex_error"] < 1.1 * figures_of(few, scan)["complex_error"]


def test_windows_give_what_the_whole_canvas_gives(make_scan):
    scan = make_scan(object_size=(160, 112), overlap=0.5)
    config = ReconstructConfig(rounds=3, **KNOWN)
    whole = reconstruct(scan, None, config)
    windows = reconstruct(scan, None, config, windows=WindowOptions(window_px=64, halo_px=64))
    lit = whole.well_lit(0.3)
    apart = complex_error(windows.object, whole.object, lit)
    assert apart < 0.3 * figures_of(whole, scan)["complex_error"]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"part": "held_out"}, "--part"),
        ({"probe_from": "bundle"}, "--probe_from"),
        ({"prediction_scale": "recorded"}, "--prediction_scale"),
    ],
)
def test_options_of_a_trained_network_are_refused(scan, options, match):
    with pytest.raises(InputError, match=match):
        reconstruct(scan, None, ReconstructConfig(**options))


@pytest.mark.parametrize("options", [{"rounds": 0}, {"polish": -1}, {"probe_modes": 0}, {"refine_positions": True}])
def test_contradictions_are_refused(options):
    with pytest.raises(InputError, match="--" + next(iter(options))):
        ReconstructConfig(**options)


def test_scan_without_a_probe_is_refused(scan):
    with pytest.raises(InputError, match="probe"):
        reconstruct(scan.replace(probe=None))
