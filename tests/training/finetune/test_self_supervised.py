"""What judges a correction: pixels that nothing fitted, and a gradient without the physics in the graph."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.data.positions import canvas_frame
from ptypinn.models.unrolled import UnrolledCorrection, to_object_update
from ptypinn.solvers.quasi_newton.held_out import HeldOutPixels
from ptypinn.solvers.unrolled.problem import UnrolledOptions
from ptypinn.training.self_supervision import FittedPixels, SelfSupervision, split_patterns

PERIOD = 5


@pytest.fixture
def supervision(scan):
    options = UnrolledOptions(refine_probe=False)
    return SelfSupervision(scan, options, split_patterns(scan, 100, 0.2, 0), PERIOD, torch.device("cpu"))


@given(st.sampled_from([2, 4, 5, 8, 10, 20]), st.integers(0, 2**31), st.integers(0, 7))
def test_every_good_pixel_either_judges_or_is_fitted_and_over_a_period_all_judge(period, seed, first):
    good = torch.from_numpy(np.random.default_rng(seed).random((8, 6)) > 0.1)
    numbers = first + torch.arange(2 * period)
    held_out, fitted = (
        torch.zeros(2 * period, good.numel()).scatter_add_(1, *lattices.select(slice(0, 2 * period)))
        for lattices in (HeldOutPixels(good, period, numbers), FittedPixels(good, period, numbers))
    )
    assert torch.equal(held_out + fitted, good.flatten().float().expand(2 * period, -1))
    assert torch.equal(held_out[:period].sum(0), good.flatten().float())


@pytest.mark.parametrize("lost", [0.0, 1e6])
def test_the_passes_never_see_the_judging_pixels(scan, lost):
    parts = split_patterns(scan, 100, 0.2, 0)
    supervision = SelfSupervision(scan, UnrolledOptions(refine_probe=False), parts, PERIOD, torch.device("cpu"))
    state, _ = supervision.physics(supervision.begin(3))
    other, _ = supervision.physics(supervision.begin(4))
    stack = supervision._whole.stack
    held = HeldOutPixels(stack.good, PERIOD, torch.from_numpy(parts.train) + 3)
    for part, counts in stack:
        counts.view(len(counts), -1).scatter_(1, held.select(part)[0], lost)
    assert torch.equal(supervision.physics(supervision.begin(3))[0].point.object, state.point.object)
    assert not torch.equal(supervision.physics(supervision.begin(4))[0].point.object, other.point.object)


def test_the_slope_is_the_derivative_of_the_judges_loss_by_the_answer(supervision):
    state, features = supervision.physics(supervision.begin(1))
    output = 0.1 * torch.randn(1, 2, *features.maps.shape[-2:], generator=torch.Generator().manual_seed(0))
    step = torch.randn(output.shape, generator=torch.Generator().manual_seed(1))
    _, verdict = supervision.score_correction(state, features, output)
    ahead, behind = (
        supervision.score_correction(state, features, output + sign * 0.02 * step)[1].loss for sign in (1, -1)
    )
    illumination = supervision._problem.solver.preconditioner.illumination
    pixels = len(supervision._fits) * int(supervision._whole.stack.good.sum()) / PERIOD
    expected = float((illumination * features.unit.square()).sum()) / PERIOD
    measured = (ahead - behind) / 0.04 * pixels / expected
    assert float((verdict.gradient * step).sum()) == pytest.approx(measured, rel=0.02)


def test_the_corrected_state_is_the_state_plus_the_change(supervision):
    state, features = supervision.physics(supervision.begin(0))
    output = torch.ones(1, 2, *features.maps.shape[-2:])
    after, _ = supervision.score_correction(state, features, output)
    assert torch.equal(after.point.object, state.point.object + to_object_update(output, features.unit))
    assert after.rounds == state.rounds == 1


def test_a_better_canvas_is_judged_better_without_the_truth_being_looked_at(scan):
    supervision = SelfSupervision(
        scan, UnrolledOptions(refine_probe=False), split_patterns(scan, 100, 0.2, 0), PERIOD, torch.device("cpu")
    )
    state = supervision.begin(0)
    for _ in range(3):
        state, features = supervision.physics(state)
    beat = (torch.from_numpy(scan.truth).conj() * state.point.object).sum()
    target = torch.from_numpy(scan.truth) * torch.exp(1j * beat.angle())
    missing = torch.where(features.unit > 0, (target - state.point.object) / features.unit.clamp(min=1e-9), 0)
    wanted = torch.view_as_real(missing).movedim(-1, 0).clamp(-30, 30)
    height, width = features.unit.shape
    padding = (0, features.maps.shape[-1] - width, 0, features.maps.shape[-2] - height)
    wanted = torch.nn.functional.pad(wanted, padding)[None]
    losses = [
        supervision.score_correction(state, features, factor * wanted)[1].loss for factor in (-1.0, 0.0, 0.5, 1.0)
    ]
    assert losses == sorted(losses, reverse=True)


def test_validation_is_the_same_each_time_and_sees_the_network(supervision, network):
    bare = UnrolledCorrection(widths=(8, 8, 8, 8)).requires_grad_(False)
    first, other, again = supervision.validate(bare, 2), supervision.validate(network, 2), supervision.validate(bare, 2)
    assert first == again != other
    assert first > 0


@given(st.integers(8, 100), st.floats(0.05, 0.5), st.integers(0, 2**31))
def test_parts_do_not_overlap_and_keep_the_canvas(scan, most, fraction, seed):
    parts = split_patterns(scan, most, fraction, seed)
    used = min(most, scan.n_patterns)
    assert not set(parts.train) & set(parts.val)
    assert len(parts.train) + len(parts.val) == used
    assert 1 <= len(parts.val) <= max(1, round(fraction * used))
    both = scan.replace(truth=None).subset(np.sort(np.concatenate([parts.train, parts.val])))
    assert canvas_frame(scan.replace(truth=None).subset(parts.train)) == canvas_frame(both)
