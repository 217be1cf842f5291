"""Laws of the `refine` stage: absolute scale, what it recovers, and that it does the same thing twice."""

from dataclasses import replace

import numpy as np
import pytest
from tests.solvers.quasi_newton.conftest import curved_probe, make_scan, raster, textured_object

from ptypinn.config.refine import RefineConfig
from ptypinn.config.simulate import SimulateConfig
from ptypinn.data import calibration as calibrate
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.errors import InputError
from ptypinn.io.load_save import load_reconstruction, save
from ptypinn.metrics.alignment import align
from ptypinn.metrics.data_fit import predict_batches
from ptypinn.metrics.image import complex_error, output_vs_truth_ratio
from ptypinn.physics.probe_variation import slow_weights
from ptypinn.physics.propagation import to_centred
from ptypinn.stages.refine import refine
from ptypinn.stages.simulate import simulate


def solve(scan, **options):
    return refine(scan, RefineConfig(device="cpu", **options))


def error_and_ratio(recon, truth, ramp=False, shift=False):
    illuminated = recon.well_illuminated(0.3)
    aligned = align(recon.object, truth, illuminated, ramp=ramp, shift=shift)
    return complex_error(aligned.image, truth, aligned.mask), output_vs_truth_ratio(recon.object, truth, illuminated)


@pytest.fixture(scope="module")
def scan():
    obj = textured_object()
    return make_scan(obj, curved_probe(), raster(obj.shape, 32, 5), seed=1)


@pytest.mark.parametrize("loss", ["poisson", "amplitude"])
def test_object_comes_out_in_absolute_units(scan, loss):
    recon = solve(scan, refine_probe=False, loss=loss, iterations=40)
    error, ratio = error_and_ratio(recon, scan.truth)
    assert error < 0.03
    assert ratio == pytest.approx(1, abs=0.005)
    assert recon.metrics["flux_closure"] == pytest.approx(1, abs=1e-3)
    scaling = next(entry for entry in recon.scale if entry["stage"] == "closing factor")
    assert scaling["discrepancy"] == pytest.approx(1, abs=2.5e-3)
    assert recon.metrics["amplitude_residual"] < 1.2 * recon.metrics["expected_residual"]


@pytest.mark.parametrize("photons", [1e4, 1e9])
def test_object_does_not_depend_on_the_dose_when_the_probe_follows_it(photons):
    obj = textured_object()
    scan = make_scan(obj, curved_probe(photons=photons), raster(obj.shape, 32, 5), seed=2)
    assert error_and_ratio(solve(scan, refine_probe=False, iterations=40), obj)[1] == pytest.approx(1, abs=0.01)


def test_object_follows_the_square_root_of_the_dose_when_the_probe_is_held():
    obj = textured_object()
    bright = make_scan(obj, curved_probe(photons=4e6), raster(obj.shape, 32, 5), seed=3)
    held = bright.replace(probe=curved_probe(photons=1e6))
    assert error_and_ratio(solve(held, refine_probe=False, iterations=30), obj)[1] == pytest.approx(2, abs=0.02)


def test_probe_too_wide_is_mended_and_leaves_the_amplitude_alone(scan):
    wide = scan.replace(probe=curved_probe(radius=9.6))
    recon = solve(wide, iterations=50)
    error, ratio = error_and_ratio(recon, scan.truth, ramp=True, shift=True)
    assert ratio == pytest.approx(1, abs=0.02)
    assert error < 0.05
    assert np.sum(np.abs(recon.probe) ** 2) == pytest.approx(1e6, rel=1e-4)
    fixed = solve(wide, refine_probe=False, iterations=15)
    assert fixed.metrics["amplitude_residual"] > 2 * recon.metrics["amplitude_residual"]


def test_probe_of_arbitrary_scale_is_calibrated_once_and_said_so(scan):
    recon = solve(scan.replace(probe=scan.probe * np.float32(0.01), probe_gauge="relative"), iterations=15)
    assert recon.metrics["flux_closure"] == pytest.approx(1, abs=1e-3)
    assert recon.provenance["scan"]["probe_calibration"]["rule"] == "mean"
    assert np.mean(np.abs(recon.object[recon.well_illuminated(0.3)]) ** 2) == pytest.approx(1, abs=0.1)


def test_photons_behind_a_beamstop_are_counted_when_the_probe_is_calibrated(scan):
    mask = np.ones((32, 32), bool)
    mask[13:19, 13:19] = False
    recon = solve(scan.replace(mask=mask, probe_gauge="relative"), refine_probe=False, iterations=15)
    assert np.mean(np.abs(recon.object[recon.well_illuminated(0.3)]) ** 2) == pytest.approx(1, abs=0.1)
    with pytest.raises(InputError, match=r"mask: .*--photons"):
        solve(scan.replace(mask=scan.counts.sum(0) < 1, probe_gauge="relative"))


def test_incoherent_modes_explain_what_one_mode_cannot():
    obj, probe = textured_object(), curved_probe(photons=1e7, modes=3)
    scan = make_scan(obj, probe, raster(obj.shape, 32, 5), seed=4)
    start = scan.replace(probe=curved_probe(photons=1e7))
    one, three = (solve(start, probe_modes=modes, iterations=50) for modes in (1, 3))
    assert three.probe.shape == (3, 32, 32)
    assert three.metrics["amplitude_residual"] < 0.8 * one.metrics["amplitude_residual"]
    assert error_and_ratio(three, obj)[1] == pytest.approx(1, abs=0.02)


def test_sub_pixel_positions_are_used_exactly():
    obj = textured_object()
    places = raster(obj.shape, 32, 5, integer=False)
    scan = make_scan(obj, curved_probe(), places, seed=5)
    rounded = scan.replace(positions_px=np.round(places))
    exact = solve(scan, refine_probe=False, iterations=30)
    assert (
        exact.metrics["amplitude_residual"]
        < 0.5 * solve(rounded, refine_probe=False, iterations=20).metrics["amplitude_residual"]
    )
    np.testing.assert_allclose(exact.positions_px, places, atol=1e-6)


def test_wrong_positions_are_mended_when_asked():
    obj = textured_object(extent=(80, 80), phase=2.0)
    places = raster(obj.shape, 32, 4, integer=False)
    scan = make_scan(obj, curved_probe(photons=1e7), places, seed=6)
    error = np.random.default_rng(0).normal(0, 0.7, places.shape)
    recorded = np.clip(places + error, 0, np.array(obj.shape) - 32)
    recon = solve(scan.replace(positions_px=recorded), refine_probe=False, refine_positions=True, iterations=60)
    drift = recon.positions_px - places
    before = recorded - places
    assert (drift - drift.mean(0)).std() < 0.2 * (before - before.mean(0)).std()


def test_positions_at_the_rim_are_found_outside_of_the_recorded_frame():
    obj = textured_object(extent=(64, 64), phase=2.0)
    places = raster(obj.shape, 32, 4)
    scan = make_scan(obj, curved_probe(photons=1e7), places, seed=6).replace(truth=None)
    recorded = np.where(places < 2, 2.0, places)
    recon = solve(scan.replace(positions_px=recorded), refine_probe=False, refine_positions=True, iterations=60)
    solved = recon.positions_px + recon.origin_px
    assert solved.min() < recorded.min() - 1
    error, before = (np.abs(p - p.mean(0) - (places - places.mean(0))).max() for p in (solved, recorded))
    assert error < 0.2 * before


def test_dead_pixels_in_a_bright_beam_do_not_stop_the_solver():
    obj = textured_object()
    scan = make_scan(obj, curved_probe(photons=1e10), raster(obj.shape, 32, 5), seed=1)
    mask = np.ones((32, 32), bool)
    mask[16, 14:18] = False
    dead = scan.replace(mask=mask, counts=np.where(mask, scan.counts, 0))
    recon = solve(dead, refine_probe=False, iterations=10)
    assert recon.history["loss"][-1] < 0.1 * recon.history["loss"][0]


def test_bad_pixels_change_nothing():
    obj = textured_object()
    scan = make_scan(obj, curved_probe(), raster(obj.shape, 32, 5), seed=1)
    mask = np.ones((32, 32), bool)
    mask[14:17, 20] = False
    masked = scan.replace(mask=mask)
    hot = masked.replace(counts=np.where(mask, scan.counts, 65000).astype(np.float32))
    a, b = (solve(part, refine_probe=False, iterations=10) for part in (masked, hot))
    assert np.array_equal(a.object, b.object)


def test_same_scan_gives_the_same_object_bit_for_bit(scan):
    a, b = (solve(scan, probe_modes=2, iterations=6) for _ in range(2))
    assert np.array_equal(a.object, b.object)
    assert np.array_equal(a.probe, b.probe)


def test_a_reconstruction_can_be_taken_further(scan):
    first = solve(scan, iterations=5)
    further = refine(scan, RefineConfig(iterations=10, device="cpu"), initial=first)
    assert further.metrics["amplitude_residual"] < first.metrics["amplitude_residual"]
    elsewhere = make_scan(textured_object((90, 90)), curved_probe(), raster((90, 90), 32, 10))
    with pytest.raises(InputError, match="positions for"):
        refine(elsewhere, initial=first)


def test_progress_hears_of_every_iteration(scan):
    heard = []
    refine(scan, RefineConfig(iterations=4), progress=lambda stage, done, total, **figures: heard.append((stage, done)))
    assert [done for _, done in heard] == list(range(1, len(heard) + 1))
    assert heard[0][0] == "refine"
    assert len(heard) >= 4


def test_the_object_can_be_watched_while_it_comes(scan):
    snapshots = []
    recon = refine(
        scan, RefineConfig(iterations=8, prior=False, device="cpu"), watch=lambda look: snapshots.append(look())
    )
    errors = [complex_error(align(one.object, recon.object).image, recon.object) for one in snapshots]
    assert errors[-1] < 0.01 < errors[0]
    last = snapshots[-1]
    assert abs(np.linalg.norm(last.probe) / np.linalg.norm(recon.probe) - 1) < 0.01
    np.testing.assert_allclose(last.positions_px, recon.positions_px)
    assert last.provenance["stage"] == "refine"


@pytest.mark.parametrize(
    ("options", "flag"),
    [({"iterations": 0}, "--iterations"), ({"probe_modes": 0}, "--probe-modes"), ({"tolerance": -1.0}, "--tolerance")],
)
def test_options_that_make_no_sense_are_named(options, flag):
    with pytest.raises(InputError, match=flag):
        RefineConfig(**options)


def test_a_prior_keeps_the_noise_of_a_dim_scan_out():
    obj = textured_object((104, 104), phase=1.5)
    scan = make_scan(obj, curved_probe(photons=1e3), raster(obj.shape, 32, 5), seed=8)
    expected, noisy = (solve(scan, refine_probe=False, prior=prior, iterations=60) for prior in (True, False))
    best = min(
        error_and_ratio(solve(scan, refine_probe=False, prior=False, iterations=number), obj)[0]
        for number in (2, 4, 8, 16)
    )
    assert error_and_ratio(expected, obj)[0] < min(best, 0.7 * error_and_ratio(noisy, obj)[0])
    assert error_and_ratio(expected, obj)[1] == pytest.approx(1, abs=0.02)


def test_modes_of_the_probe_stay_by_default():
    obj = textured_object()
    scan = make_scan(obj, curved_probe(modes=2), raster(obj.shape, 32, 5), seed=4)
    assert len(solve(scan, iterations=2).probe) == 2
    assert len(solve(scan, iterations=2, probe_modes=1).probe) == 1


def test_refined_positions_are_kept_when_a_reconstruction_is_taken_further():
    obj = textured_object(extent=(80, 80), phase=2.0)
    places = raster(obj.shape, 32, 4, integer=False)
    scan = make_scan(obj, curved_probe(photons=1e7), places, seed=6)
    recorded = np.clip(places + np.random.default_rng(0).normal(0, 0.7, places.shape), 0, np.array(obj.shape) - 32)
    scan = scan.replace(positions_px=recorded)
    first = solve(scan, refine_probe=False, refine_positions=True, iterations=40)
    further = refine(scan, RefineConfig(refine_probe=False, iterations=5, device="cpu"), initial=first)
    np.testing.assert_allclose(further.positions_px, first.positions_px, atol=1e-5)
    assert further.metrics["amplitude_residual"] < 1.01 * first.metrics["amplitude_residual"]


def test_a_loss_that_is_not_finite_stops_with_one_line(scan, monkeypatch):
    bright = scan.replace(probe=scan.probe * np.float32(1e18))
    with pytest.raises(InputError, match=r"photons per pattern, expected at most 1e\+30"):
        solve(bright, iterations=3)
    monkeypatch.setattr(calibrate, "MAX_PHOTONS", np.inf)
    with pytest.raises(InputError, match="finite loss"):
        solve(bright, iterations=3)


def test_little_is_left_for_the_closing_factor(scan):
    entries = {entry["stage"]: entry for entry in solve(scan, refine_probe=False, iterations=40).scale}
    assert entries["closing factor"]["discrepancy"] == pytest.approx(1, abs=2e-3)
    assert entries["probe"]["discrepancy"] == pytest.approx(1, abs=1e-4)


def test_a_start_that_is_already_right_is_left_alone():
    vacuum = np.ones((72, 76), np.complex64)
    recon = solve(make_scan(vacuum, curved_probe(), raster(vacuum.shape, 32, 5)), refine_probe=False)
    assert error_and_ratio(recon, vacuum)[0] < 1e-3


def test_terms_of_another_program_are_kept_where_it_goes_on(tmp_path):
    """A product of Ptychodus has the flux as weights: what goes on from it explains the counts as before."""
    options = {"size": 32, "object_size": (72, 72), "n_patterns": 64, "object": "grf", "faults": ("flux:0.2",)}
    scan = simulate(SimulateConfig(**options))
    flux = scan.experiment.flux / scan.experiment.flux.mean()
    first = solve(scan.replace(flux=flux), refine_probe=False, iterations=15)
    product = load_reconstruction(save(first, tmp_path / "product.h5", "ptychodus"))
    assert np.allclose(product.flux, flux, rtol=1e-5)
    bare = scan.replace(experiment=None)
    further = solve_from(bare, product)
    assert np.array_equal(further.flux, product.flux)
    assert further.metrics["amplitude_residual"] < 1.3 * further.metrics["expected_residual"]
    without = solve_from(bare, replace(product, flux=None))
    assert without.metrics["amplitude_residual"] > 2 * without.metrics["expected_residual"]


def solve_from(scan, initial):
    return refine(scan, RefineConfig(device="cpu", iterations=3, refine_probe=False), initial=initial)


def test_a_varying_probe_goes_on_from_where_it_was():
    obj, probe = textured_object(), curved_probe()
    scan = make_scan(obj, probe, raster(obj.shape, 32, 5), seed=6)
    frames = scan.n_patterns
    images = 0.3 * probe[None] * np.linspace(-1, 1, 32)
    variation, weights = images.astype(np.complex64), slow_weights(frames, 1).numpy()
    varied = scan.replace(probe_variation=variation, probe_weights=weights)
    canvas = np.ones_like(obj)
    _, _, predicted = next(predict_batches(varied, obj, probe, scan.positions_px, frames, "cpu"))
    counts = np.random.default_rng(0).poisson(to_centred(predicted).numpy()).astype(np.uint32)
    scan = scan.replace(counts=counts, truth=None)
    initial = Reconstruction(
        obj,
        np.abs(canvas).astype(np.float32),
        probe,
        scan.positions_px,
        probe_variation=variation,
        probe_weights=weights,
    )
    varying, constant = (
        refine(scan, RefineConfig(device="cpu", iterations=2), initial=one)
        for one in (initial, replace(initial, probe_variation=None, probe_weights=None))
    )
    assert varying.probe_variation is not None
    assert varying.metrics["amplitude_residual"] < 1.1 * varying.metrics["expected_residual"]
    assert constant.metrics["amplitude_residual"] > 1.5 * constant.metrics["expected_residual"]


def with_record(recon, **records):
    """Return a reconstruction whose terms of the experiment count as solved for."""
    terms = {name: {"corrected": True, **record} for name, record in records.items()}
    return replace(recon, provenance={**recon.provenance, "experiment": terms})


def test_a_measured_term_wins_over_that_of_the_initial_unless_it_was_solved_for_beside_it(scan):
    flux, background = 1 + 0.1 * np.sin(np.arange(scan.n_patterns)), np.full((32, 32), 0.01, np.float32)
    flux /= flux.mean()
    first = replace(solve(scan, iterations=2), flux=flux[::-1].copy(), background=2 * background)
    first = with_record(first, flux={}, background={})
    records = {"monitor": {"from": "i0", "applied": True}, "dark": {"file": "dark.npy"}}
    measured = scan.replace(flux=flux, background=background, provenance=records)
    further = solve_from(measured, first)
    assert np.array_equal(further.flux, flux)
    assert np.array_equal(further.background, background)
    assert "experiment" not in further.provenance
    beside = replace(first, provenance={**first.provenance, "scan": records})
    further = solve_from(measured, beside)
    assert np.array_equal(further.flux, first.flux)
    assert np.array_equal(further.background, first.background)
    assert further.provenance["experiment"].keys() == {"flux", "background"}
    assert np.array_equal(solve_from(scan, first).flux, first.flux)


def test_solved_positions_are_those_of_this_scan_within_their_errors_on_record(scan):
    first = solve(scan, iterations=2)
    errors = dict.fromkeys(("rotation_deg", "scale_y", "scale_x", "shear", "rest_px"), 0.0)
    shifted = replace(first, positions_px=first.positions_px[::-1].copy())
    with pytest.raises(InputError, match="half a pattern away"):
        solve_from(scan, with_record(shifted, positions={**errors, "rms_px": 2.0}))
    with pytest.raises(InputError, match="half a pattern away"):
        solve_from(scan, with_record(shifted, positions={}))
    solve_from(scan, with_record(shifted, positions={**errors, "rms_px": 30.0}))
