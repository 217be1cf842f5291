"""Laws of the learned solver: absolute scale, invariances, what the correction does, determinism."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ptypinn.errors import InputError
from ptypinn.losses import LIKELIHOODS
from ptypinn.metrics import align, complex_error, output_vs_truth_ratio
from ptypinn.models.model_file import load_weights
from ptypinn.models.unrolled import to_object_update
from ptypinn.solvers.unrolled.loop import KNOWN_PROBE_STEPS, MAX_CORRECTION, apply_network
from ptypinn.solvers.unrolled.problem import UnrolledOptions, build_problem
from ptypinn.solvers.unrolled.solver import solve_scan

CPU = torch.device("cpu")
KNOWN = UnrolledOptions(refine_probe=False)


def error_of(solution, truth, ramp=False):
    illuminated = solution.illumination > 0.3 * np.percentile(solution.illumination, 95)
    aligned = align(solution.object, truth, illuminated, ramp=ramp)
    return complex_error(aligned.image, truth, aligned.mask), output_vs_truth_ratio(solution.object, truth, illuminated)


@pytest.mark.parametrize("loss", ["amplitude", "poisson"])
@pytest.mark.parametrize("photons", [1e4, 1e6])
def test_physical_steps_find_the_object_in_absolute_units(make_scan, photons, loss):
    scan = make_scan(photons=photons)
    error, ratio = error_of(solve_scan(scan, None, replace(KNOWN, loss=loss), 8, CPU), scan.truth)
    assert error < {1e4: 0.08, 1e6: 0.02}[photons]
    assert ratio == pytest.approx(1, abs=0.01)


def test_error_falls_round_by_round(scan):
    snapshots = []
    solution = solve_scan(scan, None, KNOWN, 8, CPU, watch=lambda look: snapshots.append(look()))
    errors = [error_of(result, scan.truth)[0] for result in snapshots]
    assert len(errors) == 8
    assert errors[7] < 0.3 * errors[0]
    assert solution.passes == 17
    assert solution.history["loss"][-1] < solution.history["loss"][0]


@pytest.mark.parametrize(
    ("photons", "rounds", "averaged"), [(1e3, 5, 1), (1e3, 6, 3), (1e3, 9, 3), (1e7, 5, 1), (1e7, 9, 2)]
)
def test_the_result_is_the_mean_of_the_last_objects_near_the_solution(make_scan, photons, rounds, averaged):
    scan, snapshots = make_scan(photons=photons), []
    solution = solve_scan(scan, None, KNOWN, rounds, CPU, watch=lambda look: snapshots.append(look().object))
    np.testing.assert_allclose(solution.object, np.mean(snapshots[-averaged:], 0), rtol=1e-5)


def test_averaging_takes_noise_away(make_scan):
    scan, snapshots = make_scan(photons=1e4), []
    solution = solve_scan(scan, None, KNOWN, 9, CPU, watch=lambda look: snapshots.append(look()))
    assert error_of(solution, scan.truth)[0] < error_of(snapshots[-1], scan.truth)[0]


def test_object_does_not_depend_on_the_unit_of_the_counts(scan, make_weights):
    """Probe and counts brighter together: the same object. Counts alone: sqrt of the factor."""
    network = make_weights(0.02).network
    quiet = scan.replace(counts=scan.counts.astype(np.float32) * 1e3, probe=scan.probe * np.float32(1e3**0.5))
    brighter = quiet.replace(counts=quiet.counts * 4, probe=quiet.probe * 2)
    held = quiet.replace(counts=quiet.counts * 4)
    result = [solve_scan(one, None, KNOWN, 4, CPU).object for one in (quiet, brighter, held)]
    assert np.abs(result[1] - result[0]).max() < 2e-3
    illuminated = solve_scan(quiet, None, KNOWN, 1, CPU).illumination > 0
    assert np.abs(result[2] / 2 - result[0])[illuminated].max() < 2e-3
    corrected = [solve_scan(one, network, KNOWN, 1, CPU).object for one in (quiet, held)]
    assert np.isfinite(corrected).all()


def test_untrained_network_is_the_physics_alone(scan, make_weights):
    bare = solve_scan(scan, None, KNOWN, 3, CPU)
    silent = solve_scan(scan, make_weights().network, KNOWN, 3, CPU)
    np.testing.assert_array_equal(silent.object, bare.object)
    noisy = solve_scan(scan, make_weights(0.1).network, KNOWN, 3, CPU)
    assert np.abs(noisy.object - bare.object).max() > 1e-3


def test_a_network_in_bfloat16_gives_nearly_the_same(make_scan):
    scan, network = make_scan(size=48, object_size=(112, 112), photons=1e6), load_weights().network
    full, half = (solve_scan(scan, network, replace(KNOWN, bf16=half), 8, CPU) for half in (False, True))
    errors = [error_of(result, scan.truth)[0] for result in (full, half)]
    assert 0 < np.abs(half.object - full.object).max() < errors[0]
    assert errors[1] == pytest.approx(errors[0], rel=0.03)
    assert half.object.dtype == np.complex64


def test_a_network_sees_eight_orientations_in_turn_and_its_answers_are_turned_back():
    class Halved(torch.nn.Module):
        def forward(self, maps):
            snapshots.append(tuple(maps[0, 0, :2, :2].flatten().tolist()))
            return maps[:, :2] / 2

    snapshots, maps = [], torch.rand((1, 3, 6, 8), generator=torch.Generator().manual_seed(0))
    for number in range(1, 10):
        torch.testing.assert_close(apply_network(Halved(), maps, number), maps[:, :2] / 2)
    assert len(set(snapshots)) == 8
    assert snapshots[8] == snapshots[0]


def test_a_network_at_a_loss_changes_no_pixel_by_more_than_its_amplitude(scan, make_weights):
    problem = build_problem(scan, make_weights(0.5).network, KNOWN, CPU)
    with torch.inference_mode():
        iterate, features = problem.solver.data_steps(problem.start)
        change = (problem.solver.correct(iterate, features).point.object - iterate.point.object).abs()
        output = problem.solver.network(features.maps)
        assert to_object_update(output, features.unit).abs().max() > 2 * problem.solver.amplitude
    assert change.max() == pytest.approx(MAX_CORRECTION * problem.solver.amplitude, rel=1e-4)


@pytest.mark.parametrize("unknown", [False, True])
def test_same_thing_twice(scan, make_weights, unknown):
    options, network = UnrolledOptions(refine_probe=unknown, probe_rounds=3), make_weights(0.02).network
    first, second = (solve_scan(scan, network, options, 3, CPU) for _ in range(2))
    np.testing.assert_array_equal(first.object, second.object)
    np.testing.assert_array_equal(first.probe, second.probe)


def test_wrong_probe_is_mended_and_keeps_its_power(scan, make_scan):
    wide = make_scan(probe_diameter_px=14.4, curvature_rad=1.6).probe
    guess = scan.replace(probe=wide)
    held = solve_scan(guess, None, KNOWN, 8, CPU)
    solved = solve_scan(guess, None, UnrolledOptions(probe_rounds=24), 8, CPU)
    assert np.sum(np.abs(solved.probe) ** 2) == pytest.approx(1e6, rel=1e-5)
    error, ratio = error_of(solved, scan.truth, ramp=True)
    assert error < 0.5 * error_of(held, scan.truth, ramp=True)[0]
    assert ratio == pytest.approx(1, abs=0.02)


def test_incoherent_modes_are_solved_for(make_scan):
    scan = make_scan(photons=1e6, overlap=0.7, mode_fractions=(0.7, 0.3))
    one = scan.replace(probe=scan.probe[:1] / np.float32(0.7**0.5))
    options = {modes: UnrolledOptions(probe_modes=modes, probe_rounds=24) for modes in (1, 2)}
    result = {modes: solve_scan(one, None, arguments, 8, CPU) for modes, arguments in options.items()}
    assert result[2].probe.shape == (2, 32, 32)
    assert result[2].history["loss"][-1] < result[1].history["loss"][-1]
    assert np.sum(np.abs(result[2].probe[1]) ** 2) > 0.08e6  # the true share is 0.3, the start 0.02
    flat = result[2].probe.reshape(2, -1)
    assert abs(np.vdot(flat[0], flat[1])) < 1e-4 * np.vdot(flat[0], flat[0]).real


def test_masked_pixels_carry_no_information(make_scan):
    scan = make_scan(dead_pixels=30)
    counts = scan.counts.copy()
    counts[:, ~scan.good] = 50000
    result = [solve_scan(one, None, KNOWN, 3, CPU).object for one in (scan, scan.replace(counts=counts))]
    np.testing.assert_array_equal(*result)


def test_sub_pixel_positions_are_used(scan):
    rounded = scan.replace(positions_px=np.round(scan.positions_px))
    errors = [error_of(solve_scan(one, None, KNOWN, 8, CPU), scan.truth)[0] for one in (scan, rounded)]
    assert errors[0] < 0.5 * errors[1]


def test_held_out_pixels_are_not_fitted(scan):
    """With a judge to come, one pixel in twenty changes nothing."""
    held_out = build_problem(scan, None, replace(KNOWN, hold_out=True), CPU).solver.objective.held_out
    pixels, weights = held_out.select(slice(0, scan.n_patterns))
    corner = np.fft.ifftshift(scan.counts.astype(np.float32), axes=(1, 2)).reshape(scan.n_patterns, -1)
    for row, (where, weight) in enumerate(zip(pixels, weights, strict=True)):
        corner[row, where[weight > 0]] += 1000
    other = scan.replace(counts=np.fft.fftshift(corner.reshape(scan.counts.shape), axes=(1, 2)))
    losses = {}
    for hold_out in (True, False):
        problems = [build_problem(one, None, replace(KNOWN, hold_out=hold_out), CPU) for one in (scan, other)]
        losses[hold_out] = [problem.solver.objective.loss(problems[0].start.point) for problem in problems]
    assert losses[True][1] == pytest.approx(losses[True][0], rel=1e-6)
    assert losses[False][1] > 1.5 * losses[False][0]


@pytest.mark.parametrize("overlap", [0.0, 0.1, 0.2])
def test_sparse_positions_are_solved_steadily(make_scan, overlap):
    """Phases that follow the gaps between positions are no slow ones: long steps along them diverge."""
    scan = make_scan(overlap=overlap, object="lines", object_size=(112, 112), phase_range=(0.0, 2.0))
    errors = [error_of(solve_scan(scan, None, KNOWN, rounds, CPU), scan.truth)[0] for rounds in (8, 16)]
    assert errors[1] < 1.05 * errors[0]
    assert errors[1] < 0.2


def test_the_likelihood_takes_over_once_amplitudes_come_close(scan):
    first = KNOWN_PROBE_STEPS.amplitude_rounds
    for rounds, same in ((first, True), (first + 1, False)):
        result = [solve_scan(scan, None, replace(KNOWN, loss=loss), rounds, CPU).object for loss in LIKELIHOODS]
        assert np.array_equal(*result) == same
    at_once = solve_scan(scan, None, replace(KNOWN, warm_start=True), 1, CPU).object
    assert not np.array_equal(at_once, solve_scan(scan, None, KNOWN, 1, CPU).object)


def test_final_rounds_take_all_pixels_in(make_scan):
    scan, passes, apart = make_scan(photons=1e4), [], []
    for final_rounds in (0, 3):
        held_out, all_ = (
            solve_scan(scan, None, replace(KNOWN, hold_out=hold_out, final_rounds=final_rounds), 9, CPU)
            for hold_out in (True, False)
        )
        passes.append(held_out.passes)
        apart.append(np.abs(held_out.object - all_.object).mean())
    assert passes[1] == passes[0] + 6
    assert apart[1] < 0.85 * apart[0]


def test_solution_that_is_not_finite_is_refused_in_one_line(scan):
    endless = scan.replace(probe=scan.probe * np.float32(1e18), probe_gauge="calibrated")
    with pytest.raises(InputError, match="finite loss"):
        solve_scan(endless, None, KNOWN, 2, CPU)
