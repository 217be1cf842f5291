"""No round, and no step of `refine`, waits for the device: on one that computes nothing, a wait is an error.

Tensors on torch's meta device have shapes and no values. Reading one, selecting by a condition, and copying one to the
host fail there, and the code takes the way of a GPU. Copies from the host to the device are refused as well.
"""

import contextlib
import copy
import dataclasses
from collections import deque

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ptypinn.config.simulate import SimulateConfig
from ptypinn.models.unrolled import CHANNELS, UnrolledCorrection
from ptypinn.physics.probe_variation import slow_weights
from ptypinn.solvers.quasi_newton.loop import LBFGSMemory
from ptypinn.solvers.quasi_newton.phase_slices import PhaseSlices
from ptypinn.solvers.quasi_newton.preconditioner import Preconditioner
from ptypinn.solvers.quasi_newton.problem import QuasiNewtonOptions, QuasiNewtonProblem
from ptypinn.solvers.unrolled.loop import Iterate
from ptypinn.solvers.unrolled.problem import EXPECTED_SPECTRUM, UnrolledOptions, build_problem
from ptypinn.stages.simulate import simulate
from thick_scans import make_thick_scan

CPU, META = torch.device("cpu"), torch.device("meta")
REFUSED = (
    torch.ops.aten._local_scalar_dense,
    torch.ops.aten.nonzero,
    torch.ops.aten.masked_select,
    torch.ops.aten._unique2,
    torch.ops.aten.unique_dim,
    torch.ops.aten.repeat_interleave.Tensor,
)


class WaitingError(AssertionError):
    """An operation waits for the device, or has a shape that depends on values."""


class RefuseWaiting(TorchDispatchMode):
    """Refuse operations that read values on the host, or that move tensors from or to it."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in REFUSED or func.overloadpacket in REFUSED:
            raise WaitingError(str(func))
        devices = {each.device.type for each in args if isinstance(each, torch.Tensor) and each.ndim}
        target = kwargs.get("device")
        if len(devices | ({torch.device(target).type} if target is not None else set())) > 1:
            raise WaitingError(f"{func} from {devices} to {target}")
        return func(*args, **kwargs)


def to_meta(value, memo):
    """Return a copy of nested objects with every tensor, and every device, on the meta device."""
    if id(value) not in memo:
        memo[id(value)] = _to_meta(value, memo)
    return memo[id(value)]


def _to_meta(value, memo):
    if isinstance(value, torch.device):
        return META
    if isinstance(value, (torch.Tensor, torch.nn.Module)):
        return copy.deepcopy(value).to(META)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(to_meta(each, memo) for each in value))
    if isinstance(value, (tuple, list, deque)):
        return type(value)(to_meta(each, memo) for each in value)
    if not type(value).__module__.startswith("ptypinn") or not hasattr(value, "__dict__"):
        return value
    result = memo[id(value)] = copy.copy(value)
    for name, each in vars(value).items():
        object.__setattr__(result, name, to_meta(each, memo))
    return result


@pytest.fixture(scope="module")
def scan():
    config = SimulateConfig(
        size=32,
        object_size=(72, 80),
        overlap=0.7,
        photons=1e4,
        probe="disk",
        probe_diameter_px=12.0,
        curvature_rad=2.0,
        mode_fractions=(0.8, 0.2),
        seed=3,
    )
    return simulate(config)


def small_network():
    return UnrolledCorrection(CHANNELS, widths=(8, 8, 8, 8)).eval().requires_grad_(False)


ROUNDS = {
    "known probe": UnrolledOptions(refine_probe=False, hold_out=True),
    "unknown probe": UnrolledOptions(),
    "all terms": UnrolledOptions(solve_flux=True, solve_background=True, solve_beam=True, hold_out=True),
}
"""Rounds of the unrolled solver by what is solved for."""


@pytest.mark.parametrize("name", ROUNDS)
def test_no_round_waits_for_the_device(name, scan, monkeypatch):
    monkeypatch.setattr(torch, "autocast", lambda *args, **options: contextlib.nullcontext())  # has no meta device
    problem = build_problem(scan, small_network(), ROUNDS[name], CPU)
    with torch.inference_mode():
        start = problem.solver.round(problem.start).read_losses()
        start = dataclasses.replace(start, rounds=start.rounds + 1)  # the preconditioner is refreshed next
    with torch.no_grad():
        solver, iterate = to_meta((problem.solver, start), {})
        with RefuseWaiting():
            for _ in range(2):
                iterate = solver.round(iterate)
    assert isinstance(iterate, Iterate) and iterate.point.object.device == META
    assert iterate.loss.device == META
    with pytest.raises((WaitingError, RuntimeError)), RefuseWaiting():
        iterate.read_losses()


STEPS = {
    "known probe": QuasiNewtonOptions(1, refine_probe=False),
    "unknown probe": QuasiNewtonOptions(1),
    "all terms": QuasiNewtonOptions(1, refine_positions=True, solve_flux=True, solve_background=True, solve_beam=True),
    "varying probe": QuasiNewtonOptions(1, refine_positions=True),
    "slices": QuasiNewtonOptions(1),
}
"""Steps of `refine` by what is solved for."""


def problem_of(name, scan):
    """Return the problem of a step, and the inverse Fresnel numbers of its gaps."""
    options, initial, gaps = STEPS[name], None, None
    if name == "varying probe":
        weights = slow_weights(scan.n_patterns, 2).numpy()
        images = 0.1 * np.stack([np.roll(scan.probe, step, -1) for step in (1, 2)])
        scan = scan.replace(probe_variation=images.astype(np.complex64), probe_weights=weights)
    if name == "slices":
        scan, initial = make_thick_scan(n_patterns=9)
        scan, gaps = scan.replace(gap_fresnel_numbers=initial.gap_fresnel_numbers), 1 / initial.gap_fresnel_numbers
    problem = QuasiNewtonProblem(scan, options, CPU, initial, held_out_period=20)
    return problem, None if gaps is None else torch.from_numpy(gaps)


@pytest.mark.parametrize("name", STEPS)
def test_no_direction_and_no_evaluation_of_a_step_waits_for_the_device(name, scan):
    with torch.no_grad():
        problem, gaps = problem_of(name, scan)
        objective, point = problem.objective(held_out=True), problem.starting_point()
        point = dataclasses.replace(point, shifts=problem.shifts if STEPS[name].refine_positions else None)
        steps = Preconditioner(problem.corners, problem.extent, EXPECTED_SPECTRUM, problem.stack.scan.size, gaps=gaps)
        steps.refresh(point, problem.probe)
        if STEPS[name].solve_background:
            point = steps.add_background(point, problem.stack, None)
        memory, value = LBFGSMemory(steps), objective(point)
        for _ in range(2):
            end = point.plus(memory.direction(value.gradient, point), 0.1)
            value, before = objective(end), value
            memory.update(end.minus(point), value.gradient.minus(before.gradient))
            point = end
        assert memory.pairs
        objective, memory, point, value = to_meta((objective, memory, point, value), {})
        with RefuseWaiting():
            memory.precondition.refresh(point, objective.probe if point.probe is None else point.probe)
            value = objective(point.plus(memory.direction(value.gradient, point)))
    assert value.loss.device == META


def test_no_step_of_slices_of_phase_alone_waits_for_the_device():
    problem, gaps = problem_of("slices", None)
    with torch.no_grad():
        point = problem.starting_point()
        steps = Preconditioner(problem.corners, problem.extent, EXPECTED_SPECTRUM, problem.stack.scan.size, gaps=gaps)
        steps.refresh(point, problem.probe)
        space = PhaseSlices(problem.objective(held_out=True), steps, 30.0)
        space, point = to_meta((space, space.enter(point)), {})
        space.precondition(space(point).gradient, point)  # what all steps have in common is made once
        with RefuseWaiting():
            value = space(point)
            space.precondition(value.gradient, point)
    assert value.loss.device == META


@pytest.mark.parametrize("wait", [lambda x: float(x.sum()), lambda x: x[x > 0], lambda x: x.cpu(), torch.unique])
def test_waits_are_refused(wait):
    with pytest.raises((WaitingError, RuntimeError, NotImplementedError)), RefuseWaiting():
        wait(torch.ones(3, device=META))
    with pytest.raises(WaitingError), RefuseWaiting():
        torch.ones(3).to(META)
