"""Solve a scan, or a window of one, by rounds of the learned solver."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from ptypinn.data.reconstruction import SolverResult
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.solvers.quasi_newton.unknowns import orthogonalise_modes
from ptypinn.solvers.unrolled.loop import PASSES, Iterate
from ptypinn.solvers.unrolled.problem import ScanContext, UnrolledOptions, UnrolledProblem, build_problem
from ptypinn.solvers.unrolled.round_schedule import MIN_ROUNDS, count_averaged_rounds
from ptypinn.utils.progress import Progress, WatchOf, silent


@dataclass(frozen=True)
class UnrolledResult(SolverResult):
    """What the learned solver found.

    `history` holds `loss` before the last pass of every round; where the solution is judged, `held_out_loss` before
    every round and after the last; where the probe was solved for, `probe_loss` of the rounds that found it.
    """

    passes: int = 0
    """Passes over the data."""


def solve_scan(
    scan: ScanData,
    network: nn.Module | None,
    options: UnrolledOptions,
    rounds: int,
    device: torch.device,
    *,
    whole: ScanContext | None = None,
    progress: Progress | None = None,
    watch: WatchOf[UnrolledResult] | None = None,
) -> UnrolledResult:
    """Run so many rounds on a scan from its physical start.

    Where the probe is solved for, `find_probe` comes first, and the rounds begin anew with the probe that it finds:
    the object there has fitted more noise on its way than these rounds do.

    Args:
        scan: Scan with a calibrated probe.
        network: The correction; None for the physical steps alone.
        options: How to solve.
        rounds: Number of rounds for the object, each of `PASSES` passes over the data.
        device: Where to solve.
        whole: Of the scan that `scan` is a window of, where it is one; its probe is not to be solved for then.
        progress: Told about every round, as the stage `reconstruct`.
        watch: Called after every round that improves on what it has seen: not while the object begins anew.

    Raises:
        InputError: Where the solution is no longer finite.
    """
    if not options.refine_probe:
        report = _within(progress or silent, 0, rounds + options.closing)
        return _solve(scan, network, options, rounds, device, whole=whole, report=report, watch=watch)
    total = options.probe_rounds + rounds + options.closing
    report = _within(progress or silent, 0, total)
    first = find_probe(scan, network, options, device, report=report, watch=watch)
    known, report = replace(options, refine_probe=False), _within(progress or silent, options.probe_rounds, total)
    found = _solve(scan.replace(probe=first.probe), network, known, rounds, device, report=report)
    history = {"probe_loss": first.history["loss"], **found.history}
    return replace(found, history=history, passes=first.passes + found.passes)


def find_probe(
    scan: ScanData,
    network: nn.Module | None,
    options: UnrolledOptions,
    device: torch.device,
    *,
    report: Progress = silent,
    watch: WatchOf[UnrolledResult] | None = None,
) -> UnrolledResult:
    """Object and probe after the rounds that solve for both; the probe is what they are for."""
    rounds, options = options.probe_rounds, replace(options, closing=0)

    def told(stage: str, done: int, total: int, /, **figures: float) -> None:
        report(stage, done, total, **{f"probe_{name}": value for name, value in figures.items()})

    return _solve(scan, network, options, rounds, device, report=told, watch=watch)


def _solve(
    scan: ScanData,
    network: nn.Module | None,
    options: UnrolledOptions,
    rounds: int,
    device: torch.device,
    *,
    whole: ScanContext | None = None,
    report: Progress,
    watch: WatchOf[UnrolledResult] | None = None,
) -> UnrolledResult:
    """All rounds of one kind; those that solve for the probe are not judged: more of them are better for it."""
    network = None if network is None else network.to(device)
    with torch.inference_mode():
        problem = build_problem(scan, network, options, device, whole)

        def seen(state: Iterate) -> None:
            if watch is not None:
                watch(lambda: to_result(problem, scan, state))

        judged = options.judged and not options.refine_probe
        states, history = _run(problem, rounds, scan.source, judged, report, seen)
        states += _close(problem, states[-1], options.closing, _within(report, rounds, rounds + options.closing), seen)
        passes = 1 + PASSES * (len(history["loss"]) + options.closing)
        return replace(to_result(problem, scan, _mean(states[-_averaged(problem) :])), history=history, passes=passes)


def _within(report: Progress, before: int, total: int) -> Progress:
    """Tell of rounds, counted from 1, as those that follow some, of so many in all."""

    def told(stage: str, done: int, _: int, /, **figures: float) -> None:
        report(stage, before + done, total, **figures)

    return told


def to_result(problem: UnrolledProblem, scan: ScanData, state: Iterate) -> UnrolledResult:
    """A state on the host, without how it came about."""
    probe = problem.solver.objective.probe if state.at.probe is None else state.at.probe
    light = problem.solver.preconditioner.illumination
    return UnrolledResult(
        torch.where(light > 0, state.at.object, 1.0).cpu().numpy(),
        light.cpu().numpy(),
        orthogonalise_modes(probe).cpu().numpy(),
        scan.positions_px - np.asarray(problem.origin, np.float64),
        problem.origin,
    )


def _run(
    problem: UnrolledProblem,
    rounds: int,
    source: str,
    judged: bool,
    report: Progress,
    seen: Callable[[Iterate], None],
) -> tuple[list[Iterate], dict[str, list[float]]]:
    """The last states or, where they are judged, those up to the best; and the losses on the way."""
    state, losses, judge = problem.start, list[float](), HeldOutSelector()
    recent = deque([state], maxlen=_averaged(problem))
    for number in range(1, rounds + 1):
        state = problem.solver.round(state)
        if not math.isfinite(state.loss):
            found = f"a loss of {state.loss} in round {number}"
            raise InputError(source, "counts", found, "a finite loss; are probe and counts of sane size?")
        losses.append(state.loss)
        report("reconstruct", number, rounds, loss=state.loss)
        seen(state)
        if judged:
            judge.look(recent, state.held_out_loss)  # which is that of the state before
        recent.append(state)
        if judged and judge.gives_up(state):
            break
    if not judged:
        return list(recent), {"loss": losses}
    judge.look(recent, problem.solver.objective(state.at).held_out_loss)
    return judge.best, {"loss": losses, "held_out_loss": judge.history}


def _close(
    problem: UnrolledProblem, state: Iterate, rounds: int, report: Progress, seen: Callable[[Iterate], None]
) -> list[Iterate]:
    """Go on from a state with all pixels: the states after every round."""
    solver, states = problem.solver, list[Iterate]()
    solver.objective = replace(solver.objective, held_out=None)
    for number in range(1, rounds + 1):
        state = solver.round(state)
        states.append(state)
        report("reconstruct", number, rounds, loss=state.loss)
        seen(state)
    return states


def _averaged(problem: UnrolledProblem) -> int:
    """How many of the last objects the result is the mean of."""
    return count_averaged_rounds(problem.solver.preconditioner.levels.light)


def _mean(states: list[Iterate]) -> Iterate:
    """The last state, with the mean of the objects where they are near the solution, the probe known."""
    last = states[-1]
    if last.rounds < MIN_ROUNDS or last.at.probe is not None:
        return last
    mean = torch.stack([state.at.object for state in states]).mean(0)
    return replace(last, at=replace(last.at, object=mean))


PATIENCE = 6
"""Rounds without a better state, after which none is to be expected."""


class HeldOutSelector:
    """Keeps the states that end with that of least held-out loss from round `FEWEST` on, and the last one before it.

    With few counts, chance would decide among the first rounds.
    """

    def __init__(self) -> None:
        self.best, self.least, self.history = list[Iterate](), math.inf, list[float]()

    def look(self, states: Iterable[Iterate], held_out_loss: float) -> None:
        """Take notice of a state, which ends some that follow each other, and of its loss on the held-out pixels."""
        states = list(states)
        self.history.append(held_out_loss)
        if states[-1].rounds < MIN_ROUNDS:
            self.best = states
        elif held_out_loss < self.least:
            self.best, self.least = states, held_out_loss

    def gives_up(self, state: Iterate) -> bool:
        """Whether to stop at a state."""
        return state.rounds - self.best[-1].rounds >= PATIENCE
