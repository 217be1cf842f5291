"""Solve a scan, or a tile of one, by rounds of the unrolled solver: the probe first where it is asked for."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from ptypinn.data.reconstruction import SolverResult
from ptypinn.data.scan import TERMS, ScanData
from ptypinn.errors import InputError
from ptypinn.metrics.data_fit import measure_misfit
from ptypinn.solvers.distributed.band_canvas import CanvasBand
from ptypinn.solvers.distributed.canvas import CanvasPart
from ptypinn.solvers.quasi_newton.unknowns import frames_to_host, mix_variation, orthogonalise_modes
from ptypinn.solvers.unrolled.loop import PASSES, Iterate
from ptypinn.solvers.unrolled.problem import ScanContext, UnrolledOptions, UnrolledProblem, build_problem
from ptypinn.solvers.unrolled.rank_jobs import SolveJob, share_out
from ptypinn.solvers.unrolled.rounds import (
    MAX_PROBE_MISFIT,
    MIN_ROUNDS,
    HeldOutSelector,
    count_averaged_rounds,
    have_stagnated,
)
from ptypinn.utils.device import cpu_threads
from ptypinn.utils.progress import IterateCallback, Progress, silent
from ptypinn.utils.ranks import Ranks


@dataclass(frozen=True)
class UnrolledResult(SolverResult):
    """Result of the unrolled solver, on the host.

    `history` holds `loss` before the last pass of every round; where pixels were held out, `held_out_loss` before every
    round and after the last; where the probe was solved for, `probe_loss` of its rounds.
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
    context: ScanContext | None = None,
    progress: Progress | None = None,
    watch: IterateCallback[UnrolledResult] | None = None,
) -> UnrolledResult:
    """Run rounds on a scan from its physical start.

    Where the probe is solved for, `find_probe` comes first; the object begins anew, because it has fitted more noise.

    Args:
        scan: Scan with a calibrated probe.
        network: The correction; None for the data steps alone.
        options: Options of the solver.
        rounds: Number of rounds for the object, each of `PASSES` passes over the data.
        device: Device to solve on.
        context: Of the scan that `scan` is a tile of, where it is one; its probe is not to be solved for then.
        progress: Called after every round, as the stage `reconstruct`.
        watch: Called after every round, but not while the object begins anew.

    Raises:
        InputError: Where the solution is no longer finite.
    """
    total = rounds + options.final_rounds
    if not options.refine_probe:
        report = _offset_progress(progress or silent, 0, total)
        return _solve(scan, network, options, rounds, device, context=context, report=report, watch=watch)
    total += options.probe_rounds
    report = _offset_progress(progress or silent, 0, total)
    first = find_probe(scan, network, options, device, report=report, watch=watch)
    report = _offset_progress(progress or silent, options.probe_rounds, total)
    held_probe = replace(options, refine_probe=False)
    result = _solve(_with_terms(scan, first), network, held_probe, rounds, device, report=report)
    history = {"probe_loss": first.history["loss"], **result.history}
    return replace(result, history=history, passes=first.passes + result.passes)


def _with_terms(scan: ScanData, first: UnrolledResult) -> ScanData:
    """Return a scan with the probe, and with the terms of the experiment, that rounds before have solved for."""
    terms = {name: term for name in TERMS if (term := getattr(first, name)) is not None}
    return scan.replace(probe=first.probe, **terms)


def find_probe(
    scan: ScanData,
    network: nn.Module | None,
    options: UnrolledOptions,
    device: torch.device,
    *,
    report: Progress = silent,
    watch: IterateCallback[UnrolledResult] | None = None,
) -> UnrolledResult:
    """Run the rounds that solve for object and probe together, for the sake of the probe."""
    rounds, options = options.probe_rounds, replace(options, final_rounds=0)

    def report_probe(stage: str, done: int, total: int, /, **figures: float) -> None:
        report(stage, done, total, **{f"probe_{name}": value for name, value in figures.items()})

    return _solve(scan, network, options, rounds, device, report=report_probe, watch=watch)


def to_result(problem: UnrolledProblem, scan: ScanData, iterate: Iterate) -> UnrolledResult:
    """Bring an iterate to the host, without its history.

    Args:
        problem: The problem; of a band of the canvas, all processes call this, and the first one gets the whole.
        scan: The whole scan.
        iterate: The iterate.
    """
    objective, canvas = problem.solver.objective, problem.solver.objective.canvas
    point, held = iterate.point, objective.terms.variation
    probe, images = (objective.probe, held and held.images) if point.probe is None else (point.probe, point.variation)
    modes = orthogonalise_modes(probe)
    illumination = canvas.gather(problem.solver.preconditioner.illumination)
    frames = (None if values is None else canvas.gather_frames(values) for values in (point.log_flux, point.beam_px))
    log_flux, beam_px = frames
    return UnrolledResult(
        torch.where(illumination > 0, canvas.gather(point.object), 1.0).cpu().numpy(),
        illumination.cpu().numpy(),
        modes.cpu().numpy(),
        scan.positions_px - np.asarray(problem.origin, np.float64),
        problem.origin,
        **frames_to_host(replace(point, log_flux=log_flux, beam_px=beam_px)),
        probe_variation=None if images is None else mix_variation(images, probe, modes).cpu().numpy(),
    )


def _solve(
    scan: ScanData,
    network: nn.Module | None,
    options: UnrolledOptions,
    rounds: int,
    device: torch.device,
    *,
    context: ScanContext | None = None,
    report: Progress,
    watch: IterateCallback[UnrolledResult] | None = None,
) -> UnrolledResult:
    """Run all rounds of one kind, with the other processes of this call where the canvas has room for all of them."""
    job = SolveJob(scan, network, options, rounds, context)
    with share_out(job, device, watched=watch is not None) as (part, canvas):
        return solve_part(part, canvas, device, scan, report=report, watch=watch)


def solve_part(
    job: SolveJob,
    canvas: CanvasPart,
    device: torch.device,
    scan: ScanData,
    *,
    report: Progress = silent,
    watch: IterateCallback[UnrolledResult] | None = None,
) -> UnrolledResult:
    """Run all rounds of one kind; among those that solve for the probe none is selected: more of them are better.

    These may end earlier where they stagnate far above counting noise.

    Args:
        job: The scan, or the patterns of it that lie on this part of its canvas.
        canvas: The part of the canvas.
        device: Device to solve on.
        scan: The whole scan; only the first process reads its counts.
        report: Called after every round.
        watch: Called after every round.
    """
    network, options, rounds = None if job.network is None else job.network.to(device), job.options, job.rounds
    with torch.inference_mode():
        problem = build_problem(job.scan, network, options, device, job.context, canvas)

        def show(iterate: Iterate) -> None:
            canvas.offer(watch, lambda: to_result(problem, scan, iterate))

        def ends(iterate: Iterate, losses: list[float]) -> bool:
            if not (options.end_stagnant and options.refine_probe and have_stagnated(losses)):
                return False
            result = to_result(problem, scan, iterate)
            return canvas.agree(lambda: _misfit(result, scan, device) > MAX_PROBE_MISFIT)

        select = options.hold_out and not options.refine_probe
        iterates, history = _run_rounds(problem, rounds, scan.source, select, ends, report, show)
        final_report = _offset_progress(report, rounds, rounds + options.final_rounds)
        iterates += _run_final_rounds(problem, iterates[-1], options.final_rounds, final_report, show)
        result = to_result(problem, scan, _average(iterates[-_averaged_rounds(problem) :]))
        return replace(result, history=history, passes=1 + PASSES * (len(history["loss"]) + options.final_rounds))


def follow(ranks: Ranks) -> None:
    """Solve, beside the first process, what it hands out, until it says that there is no more."""
    while (task := ranks.hand_out(None)) is not None:
        device = ranks.device(task.device)
        canvas = CanvasBand(ranks, task.bands, task.frame, device, watched=task.watched)
        with cpu_threads(task.threads):
            solve_part(task.job, canvas, device, task.job.scan)


def _misfit(result: UnrolledResult, scan: ScanData, device: torch.device) -> float:
    recon = result.reconstruction(scan, {})
    return measure_misfit(recon.scan_part(scan), recon, device=device)


def _run_rounds(
    problem: UnrolledProblem,
    rounds: int,
    source: str,
    select: bool,
    ends: Callable[[Iterate, list[float]], bool],
    report: Progress,
    show: Callable[[Iterate], None],
) -> tuple[list[Iterate], dict[str, list[float]]]:
    """Return the last iterates or, where held-out pixels select, those up to the best; and the losses on the way."""
    iterate, losses, selector = problem.start, list[float](), HeldOutSelector()
    recent = deque([iterate], maxlen=_averaged_rounds(problem))
    for number in range(1, rounds + 1):
        iterate = problem.solver.round(iterate).read_losses()
        if not math.isfinite(iterate.loss):
            loss = f"a loss of {iterate.loss} in round {number}"
            raise InputError(source, "counts", loss, "a finite loss; are probe and counts of sane size?")
        losses.append(float(iterate.loss))
        report("reconstruct", number, rounds, loss=losses[-1])
        show(iterate)
        if select:
            selector.update(recent, float(iterate.held_out_loss))  # which is that of the iterate before
        recent.append(iterate)
        if (select and selector.should_stop(iterate)) or ends(iterate, losses):
            break
    if not select:
        return list(recent), {"loss": losses}
    selector.update(recent, float(problem.solver.objective(iterate.point).held_out_loss))
    return selector.best, {"loss": losses, "held_out_loss": selector.history}


def _run_final_rounds(
    problem: UnrolledProblem, iterate: Iterate, rounds: int, report: Progress, show: Callable[[Iterate], None]
) -> list[Iterate]:
    """Go on from an iterate with all pixels; return the iterates after every round."""
    objective, iterates = problem.solver.objective, list[Iterate]()
    solver = problem.solver.with_objective(replace(objective, held_out=None))
    for number in range(1, rounds + 1):
        iterate = solver.round(iterate).read_losses()
        iterates.append(iterate)
        report("reconstruct", number, rounds, loss=float(iterate.loss))
        show(iterate)
    return iterates


def _offset_progress(report: Progress, before: int, total: int) -> Progress:
    """Report rounds, counted from 1, as those that follow earlier ones, of a total."""

    def offset_report(stage: str, done: int, _: int, /, **figures: float) -> None:
        report(stage, before + done, total, **figures)

    return offset_report


def _averaged_rounds(problem: UnrolledProblem) -> int:
    return count_averaged_rounds(float(problem.solver.preconditioner.stats.mean))


def _average(iterates: list[Iterate]) -> Iterate:
    """Return the last iterate, with the mean of the objects where they are near the solution, the probe known."""
    last = iterates[-1]
    if last.rounds < MIN_ROUNDS or last.point.probe is not None:
        return last
    mean = torch.stack([iterate.point.object for iterate in iterates]).mean(0)
    return replace(last, point=replace(last.point, object=mean))
