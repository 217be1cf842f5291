"""Slices of phase alone: the gradient is that of the loss, equal slices stay equal, and the prior is on changes."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.data.depth import flat_stack
from ptypinn.solvers.quasi_newton.phase_slices import (
    PhaseSlices,
    from_depth_waves,
    to_depth_waves,
    to_transmission,
    unwrap_depth,
)
from ptypinn.solvers.quasi_newton.phases import EXPECTED_SPECTRUM, solve_problem
from ptypinn.solvers.quasi_newton.preconditioner import Preconditioner
from ptypinn.solvers.quasi_newton.problem import QuasiNewtonOptions, QuasiNewtonProblem
from ptypinn.solvers.quasi_newton.unknowns import Unknowns
from ptypinn.utils.progress import silent
from thick_scans import make_thick_scan

SLICES, HEIGHT, WIDTH = 3, 5, 4


@pytest.fixture(scope="module")
def scan():
    thick = make_thick_scan(n_patterns=16, object_size=(56, 56))
    return thick.scan.replace(gap_fresnel_numbers=thick.recon.gap_fresnel_numbers, truth=None)


def make_space(scan, precision):
    """The data term over phases, and a point of random ones with the probe."""
    problem = QuasiNewtonProblem(scan, QuasiNewtonOptions(5, depth_precision=precision), torch.device("cpu"))
    phases = 0.2 * torch.randn((SLICES, *problem.extent), generator=torch.Generator().manual_seed(3))
    point = Unknowns(to_transmission(phases), problem.probe)
    preconditioner = Preconditioner(problem.corners, problem.extent, EXPECTED_SPECTRUM, scan.size)
    preconditioner.refresh(point, problem.probe)
    space = PhaseSlices(problem.objective(held_out=False), preconditioner, precision)
    return space, space.enter(point)


@pytest.mark.parametrize("precision", [0.0, 30.0])
def test_the_gradient_is_the_derivative_of_loss_and_prior(scan, precision):
    space, point = make_space(scan, precision)
    generator = torch.Generator().manual_seed(4)
    direction = Unknowns(
        torch.randn(point.object.shape, generator=generator),
        torch.randn(point.probe.shape, generator=generator, dtype=torch.complex64),
    )
    step = 1e-3
    above, below = (space(point.plus(direction, sign * step)).loss for sign in (1, -1))
    slope = 2 * space(point).gradient.dot(direction)
    assert (above - below) / (2 * step) == pytest.approx(float(slope), rel=2e-3)


def test_steps_descend_and_equal_slices_move_alike(scan):
    for precision in (0.0, 1.0, math.inf):
        space, point = make_space(scan, precision)
        gradient = space(point).gradient
        step = space.precondition(gradient, point)
        assert gradient.dot(step) > 0
        differ = (step.object - step.object[:1]).abs().max()
        assert differ < 1e-6 * step.object.abs().max() if math.isinf(precision) else differ > 0


def test_equal_slices_cost_nothing_and_the_cost_grows_with_the_order(scan):
    data, point = make_space(scan, 0.0)
    space, _ = make_space(scan, 10.0)
    costs = []
    for order in range(SLICES):
        waves = torch.zeros_like(point.object)
        waves[order, 20, 20] = 1.0
        at = Unknowns(from_depth_waves(waves), point.probe)
        costs.append(space(at).loss - data(at).loss)
    assert costs == pytest.approx([0.0, 10.0, 40.0], abs=0.5)  # of losses near 1e5, in single precision sums


@given(st.integers(0, 2**16))
def test_waves_along_depth_are_orthonormal(seed):
    generator = torch.Generator().manual_seed(seed)
    images, waves = torch.randn((2, SLICES, HEIGHT, WIDTH), generator=generator)
    torch.testing.assert_close(from_depth_waves(to_depth_waves(images)), images)
    torch.testing.assert_close((to_depth_waves(images) * waves).sum(), (images * from_depth_waves(waves)).sum())


@given(st.integers(0, 2**16))
def test_phases_are_those_of_the_transmission_and_neighbours_differ_by_less_than_half_a_turn(seed):
    phases = 8 * torch.rand((SLICES, HEIGHT, WIDTH), generator=torch.Generator().manual_seed(seed))
    slices = to_transmission(phases)
    torch.testing.assert_close(slices.abs(), torch.ones_like(phases))
    unwrapped = unwrap_depth(slices)
    torch.testing.assert_close(to_transmission(unwrapped), slices, atol=1e-5, rtol=0)
    assert unwrapped.diff(dim=0).abs().max() <= math.pi + 1e-5


def test_a_solve_keeps_the_modulus_and_equal_slices(scan):
    options = QuasiNewtonOptions(6, refine_probe=False, depth_precision=math.inf)
    with torch.no_grad():
        result = solve_problem(QuasiNewtonProblem(scan, options, torch.device("cpu"), flat_stack(scan)), silent)
    np.testing.assert_allclose(np.abs(result.slices), 1, atol=1e-5)
    np.testing.assert_allclose(result.slices, np.broadcast_to(result.slices[:1], result.slices.shape), atol=1e-4)
    assert result.history["loss"][-1] < 0.9 * result.history["loss"][0]
    assert np.ptp(np.angle(result.slices)) > 0.05
