"""How many rounds a scan takes, and what becomes of a probe that is solved for first."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.config.reconstruct import ReconstructConfig
from ptypinn.errors import InputError
from ptypinn.metrics import align, complex_error
from ptypinn.physics import patches
from ptypinn.solvers.unrolled.loop import PASSES
from ptypinn.solvers.unrolled.problem import UnrolledOptions, build_problem
from ptypinn.solvers.unrolled.rounds import MAX_ROUNDS, MIN_ROUNDS, count_averaged_rounds, default_rounds, estimate_dose
from ptypinn.solvers.unrolled.solver import find_probe, solve_scan
from ptypinn.stages.reconstruct import reconstruct

CPU = torch.device("cpu")
KNOWN = UnrolledOptions(refine_probe=False)


@given(st.floats(0, 1e12), st.floats(1, 100))
def test_a_higher_dose_takes_no_fewer_rounds(dose, more):
    assert MIN_ROUNDS <= default_rounds(dose) <= default_rounds(more * dose) <= MAX_ROUNDS


@pytest.mark.parametrize(
    ("dose", "rounds"), [(1.0, 6), (100.0, 6), (1e4, 12), (1e9, 20), (float("nan"), 6), (float("inf"), 20)]
)
def test_default_rounds_are_those_that_were_measured(dose, rounds):
    assert default_rounds(dose) == rounds


@pytest.mark.parametrize(("dose", "rounds"), [(0.0, 3), (1e3, 3), (1e4, 2), (1e9, 2)])
def test_result_is_a_mean_of_fewer_rounds_where_they_still_gain(dose, rounds):
    assert count_averaged_rounds(dose) == rounds


def test_the_dose_is_that_of_the_solver_and_grows_with_the_probe(scan):
    problem = build_problem(scan, None, KNOWN, CPU)
    assert estimate_dose(scan) == pytest.approx(float(problem.solver.preconditioner.stats.mean), rel=1e-5)
    brighter = scan.replace(probe=2 * scan.probe)
    assert estimate_dose(brighter) == pytest.approx(4 * estimate_dose(scan), rel=1e-5)


@pytest.mark.parametrize("factor", [2, 8, 64])
def test_the_dose_on_a_coarser_grid_is_much_the_same(scan, monkeypatch, factor):
    fine, pixels = estimate_dose(scan), scan.truth.size
    monkeypatch.setattr(patches, "MAX_FINE_PIXELS", pixels // factor**2 + 1)
    grid = patches.downsample_probe(
        torch.from_numpy(scan.probe), torch.zeros(1, 1, 2, dtype=torch.int64), scan.truth.shape
    )
    assert grid.factor == factor
    assert float(grid.probe.abs().square().sum()) == pytest.approx(np.sum(np.abs(scan.probe) ** 2), rel=1e-4)
    assert estimate_dose(scan) == pytest.approx(fine, rel=0.5)
    assert abs(default_rounds(estimate_dose(scan)) - default_rounds(fine)) <= 1


def test_a_canvas_beyond_the_memory_is_refused_in_one_line(make_scan):
    scan = make_scan(size=24, object_size=(64, 64)).replace(truth=None)
    positions = scan.positions_px.copy()
    positions[-1] += 1.2e4
    with pytest.raises(InputError, match="--memory-gib"):
        reconstruct(scan.replace(positions_px=positions), None, ReconstructConfig(refine_probe=False, device="cpu"))


def test_a_probe_beyond_anything_that_can_be_computed_is_refused_in_one_line(make_scan):
    scan = make_scan(size=24, object_size=(64, 64))
    endless = scan.replace(probe=scan.probe * np.float32(1e18), probe_gauge="calibrated")
    with pytest.raises(InputError, match=r"probe: found .* photons per pattern"):
        reconstruct(endless, None, ReconstructConfig(device="cpu"))


def test_a_probe_of_a_single_pixel_is_solved_with(make_scan):
    scan = make_scan(size=24, object_size=(64, 64))
    point = np.zeros_like(scan.probe)
    point[0, 12, 12] = np.sqrt(1e6)
    for refine_probe in (False, True):
        config = ReconstructConfig(rounds=6, refine_probe=refine_probe, device="cpu")
        assert np.isfinite(reconstruct(scan.replace(probe=point), None, config).object).all()


def test_with_the_probe_found_the_object_begins_anew(make_scan, scan):
    guess = scan.replace(probe=make_scan(probe_diameter_px=14.4, curvature_rad=1.6).probe)
    options, reports, snapshots = UnrolledOptions(probe_rounds=4, final_rounds=1), [], []
    result = solve_scan(
        guess,
        None,
        options,
        3,
        CPU,
        progress=lambda _, done, total, /, **figures: reports.append((done, total, *figures)),
        watch=lambda look: snapshots.append(look()),
    )
    first = find_probe(guess, None, options, CPU)
    after = solve_scan(scan.replace(probe=first.probe), None, replace(KNOWN, final_rounds=1), 3, CPU)
    np.testing.assert_allclose(result.probe, first.probe, rtol=1e-5, atol=1e-3)
    np.testing.assert_array_equal(result.object, after.object)
    assert result.history == {"probe_loss": first.history["loss"], "loss": after.history["loss"]}
    assert result.passes == first.passes + after.passes == 2 + PASSES * (4 + 3 + 1)
    assert reports == [(done, 8, "probe_loss" if done <= 4 else "loss") for done in range(1, 9)]
    assert len(snapshots) == 4
    np.testing.assert_array_equal(snapshots[-1].object, first.object)


def test_an_object_that_begins_anew_has_less_noise(make_scan):
    scan = make_scan(photons=1e4)
    guess = scan.replace(probe=make_scan(photons=1e4, probe_diameter_px=14.4, curvature_rad=1.6).probe)
    joint = find_probe(guess, None, UnrolledOptions(), CPU)
    result = reconstruct(guess, None, ReconstructConfig(device="cpu"))
    bare = solve_scan(guess, None, UnrolledOptions(), result.provenance["rounds"], CPU)

    def error(image):
        aligned = align(image, scan.truth, result.well_illuminated(), ramp=True)
        return complex_error(aligned.image, scan.truth, aligned.mask)

    errors = [error(one.object) for one in (result, bare, joint)]
    assert errors[0] < errors[1] < 0.9 * errors[2]


@pytest.mark.parametrize(("asked", "rounds", "probe_rounds"), [(None, 8, 36), (4, 4, 4), (9, 9, 9)])
def test_rounds_asked_for_find_the_probe_and_then_solve_for_the_object(make_scan, asked, rounds, probe_rounds):
    scan = make_scan(photons=1e4, size=24, object_size=(64, 64))
    assert default_rounds(estimate_dose(scan)) == 8
    result = reconstruct(scan, None, ReconstructConfig(rounds=asked, probe_rounds=asked, device="cpu"))
    assert result.provenance["rounds"] == rounds
    assert [len(result.history[name]) for name in ("probe_loss", "loss")] == [probe_rounds, rounds]


@pytest.mark.parametrize(("error_px", "asked", "ends"), [(0.0, True, False), (2.0, True, True), (2.0, False, False)])
def test_rounds_for_the_probe_end_where_another_fault_keeps_them_from_the_counts(make_scan, error_px, asked, ends):
    scan = make_scan(photons=1e6, size=24, object_size=(64, 64))
    errors = np.random.default_rng(0).normal(0, error_px, scan.positions_px.shape)
    wrong = scan.replace(positions_px=scan.positions_px + errors, truth=None)
    rounds = len(find_probe(wrong, None, UnrolledOptions(end_stagnant=asked), CPU).history["loss"])
    assert (rounds < 36) == ends
