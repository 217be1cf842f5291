"""Background of the frames: proposed where there is one, solved for within its bounds, and part of every prediction."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ptypinn import (
    ReconstructConfig,
    RefineConfig,
    ScanData,
    SimulateConfig,
    evaluate,
    reconstruct,
    refine,
    simulate,
)
from ptypinn.config.shared import TilingConfig
from ptypinn.data.calibration import calibrate_probe, pattern_sums, take_background_out
from ptypinn.data.pattern_batches import PatternBatches
from ptypinn.metrics import align, complex_error
from ptypinn.metrics.background import measure_background
from ptypinn.metrics.data_fit import compute_data_fit
from ptypinn.solvers.quasi_newton.background import BackgroundSteps
from ptypinn.solvers.quasi_newton.unknowns import Unknowns
from ptypinn.solvers.unrolled.problem import UnrolledOptions
from ptypinn.solvers.unrolled.tiled import solve_tiled
from ptypinn.uncertainty.error_map import background_noise

CPU = torch.device("cpu")
KNOWN = ReconstructConfig(device="cpu", refine_probe=False)
IDEAL = dataclasses.replace(KNOWN, assume="ideal")


def simulated(*faults):
    config = SimulateConfig(size=32, object="dead_leaves", object_size=(80, 80), n_patterns=100, photons=1e6, seed=4)
    return simulate(dataclasses.replace(config, faults=faults))


@pytest.fixture(scope="module")
def clean():
    return simulated()


@pytest.fixture(scope="module")
def hazy():
    return simulated("background:0.1")


@pytest.fixture(scope="module")
def corrected(hazy):
    return reconstruct(hazy, config=KNOWN)


@pytest.fixture(scope="module")
def ideal(hazy):
    return reconstruct(hazy, config=IDEAL)


def true_background(scan):
    return scan.experiment.background.astype(np.float32)


def error(recon, scan):
    mask = recon.well_illuminated()
    return complex_error(align(recon.object, scan.truth, mask).image, scan.truth, mask)


def test_background_comes_out_with_its_size_and_the_object_with_its_amplitude(corrected, ideal, hazy):
    true = true_background(hazy)
    assert corrected.background.sum() == pytest.approx(true.sum(), rel=0.2)
    assert np.corrcoef(corrected.background.ravel(), true.ravel())[0, 1] > 0.7
    assert error(corrected, hazy) < 0.5 * error(ideal, hazy)
    assert ideal.background is None


def test_size_and_gain_are_on_record(corrected):
    record = corrected.provenance["experiment"]["background"]
    assert record["corrected"]
    assert record["size"] == pytest.approx(0.1 / 1.1, rel=0.2)
    assert record["misfit_after"] < record["misfit_before"] / 2
    assert corrected.metrics["flux_closure"] == pytest.approx(1, abs=1e-4)


def test_evidence_is_of_what_the_prediction_lacks(corrected, ideal, hazy, clean):
    evidence, rest = measure_background(hazy, ideal), measure_background(corrected.scan_part(hazy), corrected)
    nothing = measure_background(clean, reconstruct(clean, config=IDEAL))
    assert evidence.significance > 4
    assert evidence.fraction > 10 * max(rest.fraction, nothing.fraction)


def test_nothing_is_proposed_on_a_clean_scan(clean):
    recon = reconstruct(clean, config=KNOWN)
    assert recon.background is None
    assert "experiment" not in recon.provenance
    assert np.array_equal(recon.object, reconstruct(clean, config=IDEAL).object)


def test_a_background_can_be_forbidden_and_forced(hazy, clean, ideal):
    forbidden = reconstruct(hazy, config=dataclasses.replace(KNOWN, background="none", positions="recorded"))
    assert np.array_equal(forbidden.object, ideal.object)
    forced = reconstruct(clean, config=dataclasses.replace(IDEAL, background="solve"))
    assert forced.provenance["experiment"]["background"]["corrected"]
    assert forced.background.sum() < 0.01 * pattern_sums(clean).mean()


def test_background_is_solved_for_in_tiles(hazy, corrected):
    options = UnrolledOptions(refine_probe=False, solve_background=True, probe_rounds=12)
    tiled = solve_tiled(hazy, None, options, 3, CPU, tiling=TilingConfig(tile_px=64, halo_px=16))
    assert tiled.background.sum() == pytest.approx(corrected.background.sum(), rel=0.3)


def test_evaluate_predicts_with_the_background(corrected, hazy):
    metrics = evaluate(corrected, hazy).metrics
    assert metrics["residual_over_noise"] < 1.2
    without = evaluate(dataclasses.replace(corrected, background=None, measured_fit=None), hazy).metrics
    assert without["residual_over_noise"] > 2 * metrics["residual_over_noise"]
    assert without["flux_closure"] == pytest.approx(1 - 0.1 / 1.1, abs=0.03)


@pytest.mark.parametrize("polish", [0, 5])
def test_a_given_background_is_part_of_the_prediction_of_every_solver(hazy, ideal, polish):
    scan = hazy.replace(background=true_background(hazy))
    if polish:
        recon = reconstruct(scan, config=dataclasses.replace(IDEAL, polish=polish))
    else:
        recon = refine(scan, config=RefineConfig(device="cpu", refine_probe=False, iterations=30))
    assert np.array_equal(recon.background, scan.background)
    assert error(recon, hazy) < 0.5 * error(ideal, hazy)
    assert recon.metrics["amplitude_residual"] < 1.2 * recon.metrics["expected_residual"]


def test_predicted_counts_are_the_diffraction_and_the_background(clean, corrected):
    arrays = corrected.object, corrected.probe, corrected.positions_px
    alone = compute_data_fit(clean.replace(background=None), *arrays)
    beside = np.random.default_rng(0).uniform(0, 5, (clean.size, clean.size)).astype(np.float32)
    both = compute_data_fit(clean.replace(background=beside), *arrays)
    assert both.predicted_map - alone.predicted_map == pytest.approx(clean.n_patterns * beside, abs=0.05)


@pytest.mark.parametrize("rule", ["mean", "p99"])
def test_photons_of_the_background_are_no_photons_of_the_probe(hazy, rule):
    relative = hazy.replace(probe=hazy.probe * np.float32(3), probe_gauge="relative")
    before = calibrate_probe(relative, rule)
    after = calibrate_probe(relative.replace(background=true_background(hazy)), rule)
    scan, factor = take_background_out(before, true_background(hazy))
    assert np.sum(np.abs(scan.probe) ** 2) == pytest.approx(np.sum(np.abs(after.probe) ** 2), rel=1e-4)
    lost = true_background(hazy).sum() / np.sum(np.abs(before.probe) ** 2)
    assert factor**2 == pytest.approx(1 - lost, rel=1e-4)
    assert take_background_out(hazy, true_background(hazy))[1] == 1


def test_scale_of_a_relative_probe_is_that_without_the_background(hazy):
    relative = calibrate_probe(hazy.replace(probe=hazy.probe * np.float32(3), probe_gauge="relative", truth=None))
    recon = reconstruct(relative, config=KNOWN)
    photons = pattern_sums(hazy).mean() - recon.background.sum()
    assert np.sum(np.abs(recon.probe) ** 2) == pytest.approx(photons, rel=1e-3)
    assert recon.metrics["flux_closure"] == pytest.approx(1, abs=1e-3)


@given(seed=st.integers(0, 999), masked=st.booleans())
def test_steps_are_symmetric_positive_and_never_too_long(seed, masked):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(10 ** rng.uniform(-1, 3, (16, 16)), (6, 16, 16)).astype(np.float32)
    mask = rng.random((16, 16)) > 0.2 if masked else None
    steps = BackgroundSteps(PatternBatches(ScanData(counts, np.zeros((6, 2)), mask=mask), CPU))
    a, b = (torch.from_numpy(rng.normal(size=(16, 16)).astype(np.float32)) for _ in range(2))
    assert float((a * steps(b)).sum()) == pytest.approx(float((b * steps(a)).sum()), rel=1e-3, abs=1e-3)
    assert float((a * steps(a)).sum()) > 0
    move = steps(a)  # of Newton's length at most: its curvature is at most that of the quadratic which it solves
    curvature = torch.fft.ifftshift(torch.from_numpy((1 / (counts + 1)).sum(0)))
    good = 1.0 if mask is None else torch.fft.ifftshift(torch.from_numpy(mask))
    assert float((move.square() * curvature * good).sum()) / 2 <= 1.31 * float((a * move).sum()) + 1e-3


@given(seed=st.integers(0, 999))
def test_background_stays_between_nothing_and_the_darkest_frame(seed):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(20, (6, 16, 16)).astype(np.float32)
    steps = BackgroundSteps(PatternBatches(ScanData(counts, np.zeros((6, 2))), CPU))
    wild = torch.from_numpy(rng.normal(0, 100, (16, 16)).astype(np.float32))
    projected = steps.project(Unknowns(torch.ones(2, 2) + 0j, background=wild)).background
    assert bool((projected >= 0).all())
    assert bool((projected <= steps.limit).all())
    assert 15 < float(steps.limit.mean()) < 30
    assert float(steps.start.max()) < 0.1 * float(steps.limit.max())


def test_noise_of_the_background_is_in_the_uncertainty(corrected, hazy):
    fit = compute_data_fit(corrected.scan_part(hazy), corrected.object, corrected.probe, corrected.positions_px)
    assert background_noise(corrected, hazy, fit) > 1.1
    assert background_noise(dataclasses.replace(corrected, background=None), hazy, fit) == 1


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_a_background_is_finite_and_not_negative_on_good_pixels(clean, value):
    background = np.ones((clean.size, clean.size), np.float32)
    background[3, 4] = value
    with pytest.raises(ValueError, match="background"):
        clean.replace(background=background)
    mask = np.isfinite(background) & (background > 0)
    assert clean.replace(background=background, mask=mask).background is background
    with pytest.raises(ValueError, match="float32 of shape"):
        clean.replace(background=background[1:])
