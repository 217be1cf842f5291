"""Reconstruction: dose laws, coverage, memory-independent results, the ledger, and parts of a scan."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ptypinn.config.reconstruct import PatchNetworkConfig, ReconstructConfig
from ptypinn.config.simulate import SimulateConfig
from ptypinn.config.train import TrainConfig
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.errors import InputError
from ptypinn.models.cnn import PtychoCNN
from ptypinn.models.model_file import PatchModel, PatchModelHeader, load_patch_model
from ptypinn.scale import LedgerEntry, multiply_discrepancies
from ptypinn.stages.evaluate import evaluate
from ptypinn.stages.reconstruct import reconstruct
from ptypinn.stages.simulate import simulate
from ptypinn.stages.train import train

CPU = {"device": "cpu"}


def make_scan(**options):
    defaults = {"size": 32, "object_size": (64, 64), "n_patterns": 36, "photons": 1e5, "probe_diameter_px": 14.0}
    return simulate(SimulateConfig(**{"probe": "disk", "seed": 1, **defaults, **options}))


@pytest.fixture(scope="module")
def scan():
    return make_scan()


def make_bundle(scan, gridsize=1, asleep=False, drift=1.0):
    options = {"size": 32, "gridsize": gridsize, "width": 16}
    torch.manual_seed(0)
    network = PtychoCNN(**options)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.0 if asleep else 0.02 * torch.randn_like(parameter))
    scale = math.sqrt(1e5) / 16
    header = PatchModelHeader("cnn", options, 1e5, scale, math.log(scale * drift))
    return PatchModel(header, network.state_dict(), torch.from_numpy(scan.probe))


def flat_scan(scan, value):
    """The scan of a constant object, without noise."""
    from ptypinn.physics.forward import FAR_FIELD
    from ptypinn.physics.patches import shift_probe
    from ptypinn.physics.propagation import to_centred

    fractions = torch.from_numpy(scan.positions_px - np.round(scan.positions_px)).float()
    probes = shift_probe(torch.from_numpy(scan.probe), fractions)
    patches = torch.full((len(probes), 32, 32), value, dtype=torch.complex64)
    counts = to_centred(FAR_FIELD.predict_counts(patches, probes)).numpy()
    record = {**scan.provenance, "photons_expected": scan.provenance["photons_probe"] * value**2}
    return scan.replace(counts=counts, truth=np.full_like(scan.truth, value), provenance=record)


@settings(max_examples=8)
@given(st.floats(0.05, 5.0), st.sampled_from([1, 2]))
def test_constant_object_comes_out_as_the_constant_on_every_covered_pixel(value, gridsize):
    scan = flat_scan(make_scan(), value)
    recon = reconstruct(scan, make_bundle(scan, gridsize, asleep=True), PatchNetworkConfig(**CPU))
    mask = recon.illumination > 1e-6 * recon.illumination.max()
    np.testing.assert_allclose(recon.object[mask], value, rtol=1e-4)
    assert recon.metrics["flux_closure"] == pytest.approx(1, rel=1e-4)
    assert recon.metrics["amplitude_residual"] < 1e-6
    assert all(entry["discrepancy"] == pytest.approx(1, rel=1e-3) for entry in recon.scale)


@settings(max_examples=6)
@given(st.sampled_from([1e-2, 25.0, 1e4]), st.sampled_from([1, 2]))
def test_object_keeps_when_probe_and_dose_change_together_and_grows_with_dose_alone(dose, gridsize):
    scan = make_scan()
    bundle = make_bundle(scan, gridsize)
    counts = scan.counts.astype(np.float64)
    reference = reconstruct(scan, bundle, PatchNetworkConfig(**CPU)).object
    brighter = scan.replace(counts=(counts * dose).astype(np.float32))
    together = brighter.replace(probe=(scan.probe * dose**0.5).astype(np.complex64))
    # Tolerances cover float32 noise in the dark.
    np.testing.assert_allclose(reconstruct(together, bundle, PatchNetworkConfig(**CPU)).object, reference, atol=2e-3)
    alone = reconstruct(brighter, bundle, PatchNetworkConfig(**CPU)).object
    mask = reconstruct(scan, bundle, PatchNetworkConfig(**CPU)).well_illuminated()
    np.testing.assert_allclose(alone[mask], reference[mask] * dose**0.5, atol=2e-3 * dose**0.5)


@pytest.mark.parametrize("gridsize", [1, 2])
def test_batch_size_changes_memory_and_nothing_else(scan, gridsize):
    bundle = make_bundle(scan, gridsize)
    whole, parts = (reconstruct(scan, bundle, PatchNetworkConfig(**CPU, batch_size=batch)) for batch in (1000, 5))
    np.testing.assert_allclose(parts.object, whole.object, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(parts.illumination, whole.illumination, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("gridsize", [1, 2])
def test_illumination_counts_every_position_once(scan, gridsize):
    config = PatchNetworkConfig(**CPU, groups_per_pattern=gridsize)
    recon = reconstruct(scan, make_bundle(scan, gridsize), config)
    photons = np.sum(np.abs(scan.probe.astype(np.complex128)) ** 2) * scan.n_patterns
    assert recon.illumination.sum(dtype=np.float64) == pytest.approx(photons, rel=1e-5)


def test_uncovered_pixels_hold_vacuum_and_are_dark():
    scan = make_scan(object_size=(90, 90), buffer_px=10)
    recon = reconstruct(scan, make_bundle(scan), PatchNetworkConfig(**CPU))
    assert recon.object.shape == scan.truth.shape
    outside = recon.illumination == 0
    assert outside[0].all()
    assert (recon.object[outside] == 1).all()
    assert (recon.object[~outside] != 0).all()


def test_learned_scale_moves_the_object_and_the_ledger_names_it(scan):
    plain, learned = (reconstruct(scan, make_bundle(scan, drift=d), PatchNetworkConfig(**CPU)) for d in (1.0, 1.2))
    mask = plain.well_illuminated()
    np.testing.assert_allclose(learned.object[mask], plain.object[mask] * 1.2, rtol=1e-2)
    worst = {entry["stage"]: entry["discrepancy"] for entry in learned.scale}
    assert worst["intensity scaler"] == pytest.approx(1.2, rel=1e-4)


@pytest.mark.parametrize("with_truth", [True, False])
@pytest.mark.parametrize("gridsize", [1, 2])
def test_ledger_multiplies_to_the_ratio_with_the_truth_or_to_the_flux_closure(scan, gridsize, with_truth):
    measured = scan if with_truth else scan.replace(truth=None)
    recon = reconstruct(measured, make_bundle(scan, gridsize), PatchNetworkConfig(**CPU))
    total = recon.metrics["flux_closure"] ** 0.5
    if with_truth:
        total = evaluate(recon, scan).metrics["output_vs_truth_ratio"]
    assert multiply_discrepancies(LedgerEntry.from_json(entry) for entry in recon.scale) == pytest.approx(
        total, rel=1e-6
    )
    json.dumps([dict(recon.provenance), recon.scale, dict(recon.metrics)], allow_nan=False)


def test_network_trained_on_one_part_reconstructs_the_other(scan, tmp_path):
    config = TrainConfig(epochs=2, width=16, cluster_size=4, split_axis="x", device="cpu")
    bundle = load_patch_model(train(scan, config, output_dir=tmp_path))
    parts = {part: reconstruct(scan, bundle, PatchNetworkConfig(**CPU, subset=part)) for part in ("train", "held_out")}
    assert parts["train"].positions_px[:, 1].max() <= parts["held_out"].positions_px[:, 1].min()
    assert sum(len(recon.positions_px) for recon in parts.values()) == scan.n_patterns
    assert all(recon.metrics["flux_closure"] == pytest.approx(1, abs=0.1) for recon in parts.values())
    for recon in parts.values():
        recon = Reconstruction.load(recon.save(tmp_path / "part.h5"))
        residual = evaluate(recon, scan).metrics["amplitude_residual"]
        assert residual == pytest.approx(recon.metrics["amplitude_residual"], rel=1e-5)
        np.testing.assert_array_equal(recon.scan_part(scan).counts, scan.counts[recon.patterns])


def test_probe_comes_from_the_scan_or_the_bundle_as_asked(scan):
    bundle = make_bundle(scan)
    other = scan.replace(probe=scan.probe * np.float32(1.1))
    for choice, probe in {"auto": other.probe, "scan": other.probe, "model": scan.probe}.items():
        recon = reconstruct(other, bundle, PatchNetworkConfig(**CPU, probe_source=choice))
        np.testing.assert_array_equal(recon.probe, probe)
    np.testing.assert_array_equal(
        reconstruct(scan.replace(probe=None), bundle, PatchNetworkConfig(**CPU)).probe, scan.probe
    )


def test_learned_probe_takes_the_exposure_of_the_scan(scan):
    bundle = make_bundle(scan)
    learned = replace(bundle, header=replace(bundle.header, trained_probe=True))
    brighter = scan.replace(counts=(scan.counts * 25.0).astype(np.float32), probe=scan.probe * np.float32(5.0))
    default, bright = (reconstruct(s, learned, PatchNetworkConfig(**CPU)) for s in (scan, brighter))
    np.testing.assert_allclose(bright.probe, 5 * scan.probe, rtol=1e-5)
    np.testing.assert_allclose(bright.object, default.object, atol=2e-3)


def test_a_model_and_options_that_do_not_fit_are_refused(scan):
    bundle = make_bundle(scan)
    with pytest.raises(InputError, match="--subset"):
        reconstruct(scan, bundle, PatchNetworkConfig(**CPU, subset="held_out"))
    with pytest.raises(InputError, match="patterns of 64 pixels"):
        reconstruct(make_scan(size=64, object_size=(80, 80), n_patterns=4), bundle, PatchNetworkConfig(**CPU))
    with pytest.raises(InputError, match="--batch-size"):
        PatchNetworkConfig(batch_size=0)
    for name in ("neighbour_count", "groups_per_pattern"):
        with pytest.raises(InputError, match=f"--{name.replace('_', '-')}: found 3, .*gridsize above 1"):
            reconstruct(scan, bundle, PatchNetworkConfig(**CPU, **{name: 3}))
    with pytest.raises(InputError, match="--threads"):
        reconstruct(scan, bundle, PatchNetworkConfig(**CPU, threads=0))


def test_progress_reaches_the_end(scan):
    calls = []
    reconstruct(
        scan,
        make_bundle(scan),
        PatchNetworkConfig(**CPU, batch_size=10),
        progress=lambda stage, done, total, /, **figures: calls.append((stage, done, total)),
    )
    assert calls[-1] == ("reconstruct", 36, 36)


@pytest.mark.parametrize("source", ["recorded", "flux", "least_squares"])
def test_prediction_scaling_keeps_both_objects_and_tells_how_it_came_about(scan, source, tmp_path):
    bundle = make_bundle(scan)
    bundle = replace(bundle, header=replace(bundle.header, gauge=1.25))
    plain = reconstruct(scan, bundle, PatchNetworkConfig(**CPU))
    recon = reconstruct(scan, bundle, PatchNetworkConfig(**CPU, prediction_scale=source))
    factor, mask = recon.prediction_scale["factor"], recon.illumination > 0
    np.testing.assert_array_equal(recon.unscaled, plain.object)
    np.testing.assert_allclose(recon.object[mask], plain.object[mask] * factor, rtol=1e-6)
    assert (recon.object[~mask] == plain.object[~mask]).all()
    assert plain.unscaled is None
    assert plain.prediction_scale["source"] == "none"
    assert (plain.scale_note, source.replace("_", " ") in recon.scale_note) == ("", True)
    if source == "recorded":
        assert factor == 1.25
    if source == "flux":
        assert recon.metrics["flux_closure"] == pytest.approx(1, rel=1e-5)
    ledger = {entry["stage"]: entry for entry in recon.scale}
    assert ledger["output scaling"]["measured"] == pytest.approx(factor)
    again = Reconstruction.load(recon.save(tmp_path / "recon.h5"))
    np.testing.assert_array_equal(again.unscaled, recon.unscaled)
    assert again.prediction_scale == recon.prediction_scale


def test_scaling_that_is_undefined_changes_nothing_and_says_why(scan):
    recon = reconstruct(
        scan.replace(truth=None), make_bundle(scan), PatchNetworkConfig(**CPU, prediction_scale="least_squares")
    )
    assert recon.prediction_scale["factor"] == 1
    assert "no truth" in recon.prediction_scale["reason"]


def test_the_configuration_of_the_other_solver_is_refused_by_name(scan):
    with pytest.raises(InputError, match="config: found ReconstructConfig, expected PatchNetworkConfig"):
        reconstruct(scan, make_bundle(scan), ReconstructConfig(**CPU))
    with pytest.raises(InputError, match="config: found PatchNetworkConfig, expected ReconstructConfig"):
        reconstruct(scan, None, PatchNetworkConfig(**CPU))
