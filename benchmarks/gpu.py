"""The solvers on a GPU: speed against the bound, rounds as a graph, streaming, equality with the CPU, LSQ-ML beside.

    python benchmarks/gpu.py --output benchmarks/results/gpu.json      # at most 8 minutes, no network
    python benchmarks/gpu.py --device cpu --small                      # tries the script, in about a minute

Measured in turn, and written after every part, so that an interrupted run leaves what it has:

- `passes`: patterns per second of a likelihood-and-gradient pass and of two FFTs per pattern, the bound, at N = 64,
  128, 256 and 512; the pass captured as a CUDA graph; memory;
- `rounds`: the same of a round of the unrolled solver with its network: as it is, as a CUDA graph, and with the network
  compiled;
- `streaming`: the pass with counts of few bytes, and with counts that are read ahead on every pass;
- `equality`: differences from the CPU of one pass and of a solve, and whether two passes agree to the last bit with
  `torch.use_deterministic_algorithms`;
- `plateau`: seconds to the lowest error that LSQ-ML of ptychi reaches at any iteration, beside its own on the same card
  where ptychi is installed; else to the lowest error on record, which does not depend on the device.

Packages that a machine without network needs, beside PyTorch for its card, NumPy, SciPy, h5py, matplotlib,
scikit-image, jaxtyping and safetensors: the wheel of hdf5plugin; for LSQ-ML those of ptychi 2.2, pandas, tqdm,
tifffile, scikit-learn, pydantic and torchvision. The package itself runs from its source with `PYTHONPATH=src`.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import argparse
import dataclasses
import importlib.util
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ptypinn.config.reconstruct import ReconstructConfig
from ptypinn.data.pattern_batches import PatternBatches
from ptypinn.data.scan import ScanData
from ptypinn.models.model_file import load_weights
from ptypinn.solvers.quasi_newton.objective import Objective, ObjectiveValue
from ptypinn.solvers.quasi_newton.unknowns import Unknowns
from ptypinn.solvers.unrolled.problem import UnrolledOptions, build_objective, build_problem
from ptypinn.stages.reconstruct import reconstruct
from ptypinn.utils.device import pick_device
from ptypinn.utils.solve_meter import describe_device
from scenes import Scene, make_scene
from solvers import POLISH, TraceRecorder, iteration_limits, open_store
from speed import CPU, passes, peak_memory_MB
from truth_comparison import Trace, TruthComparison, best_point, time_to_error

PASS_TOLERANCE, SOLVE_TOLERANCE = 1e-5, 1e-3
"""Largest differences from the CPU, relative to the norm: of gradients, and of the object after all rounds."""
MAX_SIMULATED = 512
"""Patterns that are simulated; larger scans repeat them, which changes no time."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is measured."""

    patterns: dict[int, int]
    """Number of patterns by their edge, pixels."""
    repeats: int
    """Repeats of every timed function, of which the median counts."""
    scenes: tuple[Scene, ...]
    """Scans of the plateau."""
    limit_s: float = 480.0
    """Seconds after which no further part begins."""


FULL = Plan(
    {64: 16384, 128: 4096, 256: 1024, 512: 256},
    9,
    (Scene("lines", 1e6), Scene("structured", 1e6), Scene("lines", 1e4), Scene("field512", 1e6)),
    limit_s=420.0,
)
SMALL = Plan({64: 256, 128: 64}, 3, (Scene("lines", 1e4),))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--small", action="store_true", help="few patterns and one scan")
    parser.add_argument("--output", type=Path, help="file for the JSON; default: standard output")
    options = parser.parse_args(arguments)
    text = ""
    for report in measure(pick_device(options.device), SMALL if options.small else FULL):
        text = json.dumps(report, indent=1, allow_nan=False) + "\n"
        if options.output:
            options.output.write_text(text, encoding="utf-8")
    if not options.output:
        sys.stdout.write(text)
    return 0 if report.get("equality", {}).get("within_tolerance") else 1


def measure(device: torch.device, plan: Plan) -> Iterator[dict[str, Any]]:
    """Yield the report after every part."""
    torch.set_num_threads(1)
    clock, began = device_clock(device), time.monotonic()
    report: dict[str, Any] = {"device": describe_device(device), "torch": torch.__version__, "skipped": []}
    smallest = min(plan.patterns)
    parts: list[tuple[str, str, Callable[[], Any]]] = [("equality", "", lambda: compare_with_cpu(device, smallest))]
    for size, patterns in plan.patterns.items():
        parts.append(("passes", str(size), lambda n=size, m=patterns: time_passes(n, m, device, clock, plan.repeats)))
    parts.append(("rounds", "", lambda: time_rounds(smallest, plan, device, clock)))
    parts.append(("streaming", "", lambda: time_streaming(smallest, plan, device, clock)))
    parts += [("plateau", scene.key, lambda s=scene: time_to_plateau(s, device, clock)) for scene in plan.scenes]
    for name, key, run in parts:
        if time.monotonic() - began > plan.limit_s:
            report["skipped"].append(f"{name} {key}".strip())
            continue
        result = run()
        report[name] = {**report.get(name, {}), key: result} if key else result
        yield {**report, "seconds": round(time.monotonic() - began, 1)}
    yield {**report, "seconds": round(time.monotonic() - began, 1)}


def device_clock(device: torch.device) -> Callable[[], float]:
    """Return a clock: CPU seconds of the process, or wall time after all work of a GPU is done."""
    if device.type == "cpu":
        return time.process_time

    def synchronised() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return synchronised


def time_passes(
    size: int, patterns: int, device: torch.device, clock: Callable[[], float], repeats: int
) -> dict[str, Any]:
    """Time the pass and its bound, and the pass as a graph; and measure the memory that it takes."""
    scan = repeat_patterns(make_scene("lines", 1e6, size=size, n_patterns=min(patterns, MAX_SIMULATED)), patterns)
    functions = passes(scan, device)
    before = reset_peak_memory(device)
    seconds = {name: median_s(run, clock, repeats) for name, run in functions.items()}
    peak_MB = peak_memory_MB() if device.type == "cpu" else torch.cuda.max_memory_allocated(device) / 2**20
    if device.type == "cuda":
        seconds["pass as a CUDA graph"] = time_graph(functions["pass"], device, clock, repeats)
    bound = seconds["two FFTs per pattern"]
    rates = {name: value if isinstance(value, str) else round(patterns / value) for name, value in seconds.items()}
    shares = {name: round(bound / value, 3) for name, value in seconds.items() if not isinstance(value, str)}
    return {
        "patterns": patterns,
        "patterns_per_s": rates,
        "share_of_bound": shares,
        "peak_memory_above_scan_MB": None if before is None or peak_MB is None else round(peak_MB - before, 1),
    }


def time_rounds(size: int, plan: Plan, device: torch.device, clock: Callable[[], float]) -> dict[str, Any]:
    """Time a round of the unrolled solver with a known probe."""
    patterns = plan.patterns[size]
    scan = repeat_patterns(make_scene("lines", 1e6, size=size, n_patterns=min(patterns, MAX_SIMULATED)), patterns)
    network = load_weights().network.to(device)
    with torch.inference_mode():
        problem = build_problem(scan, network, UnrolledOptions(refine_probe=False), device)
        iterate = problem.start
        for _ in range(3):
            iterate = problem.solver.round(iterate)

        def run() -> object:
            return problem.solver.round(iterate)

        seconds: dict[str, float | str] = {"as it is": median_s(run, clock, plan.repeats)}
        if device.type == "cuda":
            seconds["as a CUDA graph"] = time_graph(run, device, clock, plan.repeats)
            problem.solver.network = torch.compile(network)  # type: ignore[assignment]
            seconds["network compiled"] = attempt(lambda: median_s(run, clock, plan.repeats))
    return {
        "size": size,
        "patterns": patterns,
        "patterns_per_s": {n: s if isinstance(s, str) else round(patterns / s) for n, s in seconds.items()},
    }


def time_streaming(size: int, plan: Plan, device: torch.device, clock: Callable[[], float]) -> dict[str, Any]:
    """Time the pass by how the counts are stored; all of them have the same loss."""
    patterns = plan.patterns[size]
    scan = repeat_patterns(make_scene("lines", 1e4, size=size, n_patterns=min(patterns, MAX_SIMULATED)), patterns)
    probe, canvas = (torch.from_numpy(array).to(device) for array in (scan.require_probe(), scan.truth))
    objective, at = build_objective(scan, probe, UnrolledOptions(), (0, 0)), Unknowns(canvas)
    budgets = {"float32": None, "few bytes": 2 * scan.n_patterns * size**2, "read on every pass": 0}
    rates, losses = {}, []
    for name, budget_bytes in budgets.items():
        one = dataclasses.replace(objective, stack=PatternBatches(scan, device, budget_bytes=budget_bytes))
        rates[name] = round(patterns / median_s(lambda objective=one: objective(at), clock, plan.repeats))
        losses.append(float(one(at).loss))
    return {"patterns_per_s": rates, "largest_relative_difference_of_losses": float(np.ptp(losses) / losses[0])}


def compare_with_cpu(device: torch.device, size: int) -> dict[str, Any]:
    """Compare one pass and one solve with those on the CPU, and two passes in deterministic mode with each other."""
    scan = make_scene("lines", 1e5, size=size, n_patterns=144)
    ours, theirs = (evaluate_pass(scan, place) for place in (device, CPU))
    blocks = zip(("object", "probe", "shifts"), ours.gradient.blocks, theirs.gradient.blocks, strict=False)
    result: dict[str, Any] = {f"pass: {name}": difference(a.cpu(), b) for name, a, b in blocks}
    config = ReconstructConfig(rounds=8, polish=0, probe_rounds=8, assume="ideal", threads=1)
    objects = [
        torch.from_numpy(reconstruct(scan, config=dataclasses.replace(config, device=place.type)).object)
        for place in (device, CPU)
    ]
    result["solve: object"] = difference(*objects)
    result["tolerances"] = {"pass": PASS_TOLERANCE, "solve": SOLVE_TOLERANCE}
    result["within_tolerance"] = all(
        value <= (PASS_TOLERANCE if name.startswith("pass") else SOLVE_TOLERANCE)
        for name, value in result.items()
        if name.startswith(("pass: ", "solve: "))
    )
    return {**result, "deterministic_passes_agree": attempt(lambda: repeats_exactly(scan, device))}


def repeats_exactly(scan: ScanData, device: torch.device) -> bool:
    """Return True if two passes in deterministic mode agree to the last bit."""
    torch.use_deterministic_algorithms(True)
    try:
        one, other = (evaluate_pass(scan, device).gradient.object for _ in range(2))
    finally:
        torch.use_deterministic_algorithms(False)
    return torch.equal(one, other)


def evaluate_pass(scan: ScanData, device: torch.device) -> ObjectiveValue:
    """Return loss and gradient of object, probe and positions at a point beside the truth."""
    probe, canvas = (torch.from_numpy(array).to(device) for array in (scan.require_probe(), scan.truth))
    objective: Objective = build_objective(scan, probe, UnrolledOptions(), (0, 0))
    shifts = torch.rand((scan.n_patterns, 2), generator=torch.Generator().manual_seed(0)).to(device) - 0.5
    return objective(Unknowns(0.9 * canvas, probe, shifts))


def time_to_plateau(scene: Scene, device: torch.device, clock: Callable[[], float]) -> dict[str, Any]:
    """Time the unrolled solver, polished, to the lowest error of LSQ-ML, and LSQ-ML to the same."""
    scan, comparison = scene.scan(), TruthComparison.of_scene(scene)
    config = ReconstructConfig(refine_probe=False, polish=POLISH, threads=1, device=device.type)
    cost = reconstruct(scan, config=config).provenance["cost"]  # it warms the device up too
    recorder = TraceRecorder(comparison, clock)
    recorder.run(lambda: reconstruct(scan, config=config, watch=recorder), last=True)
    theirs = run_lsqml(scene, scan, comparison, device, clock)
    stored = None if theirs else open_store("lsqml").find("lsqml", scene)
    result: dict[str, Any] = {"ours": summarise(recorder.trace), "cost": cost, "lsqml": theirs and summarise(theirs)}
    if trace := theirs or (stored and stored.trace):
        goal = best_point(trace).error
        result |= {"plateau": goal, "plateau_is_on_record": theirs is None}
        result["ours_to_plateau_s"] = time_to_error(recorder.trace, goal)
        result["lsqml_to_plateau_s"] = theirs and time_to_error(theirs, goal)
    return result


def run_lsqml(
    scene: Scene, scan: ScanData, comparison: TruthComparison, device: torch.device, clock: Callable[[], float]
) -> Trace | None:
    """Return the trace of LSQ-ML on the device; None where ptychi is not installed."""
    if importlib.util.find_spec("ptychi") is None:
        return None
    from peer.lsqml import run_steps
    from ptypinn.solvers.lsqml import LsqmlOptions, lsqml_task

    task = lsqml_task(scan, LsqmlOptions(refine_probe=False, device="cpu" if device.type == "cpu" else "cuda"))
    return run_steps(task, comparison, *iteration_limits("lsqml", scene), clock=clock)


def summarise(trace: Trace) -> dict[str, float]:
    last, best = trace[-1], best_point(trace)
    return {"seconds": last.cpu_s, "error": last.error, "lowest_error": best.error, "iterations": last.iteration}


def repeat_patterns(scan: ScanData, patterns: int) -> ScanData:
    """Return a scan of so many patterns, the same ones over and over."""
    return scan.subset(np.sort(np.arange(patterns) % scan.n_patterns))


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    """Return the norm of the difference over that of the other."""
    return float(torch.linalg.vector_norm(one - other) / torch.linalg.vector_norm(other))


def reset_peak_memory(device: torch.device) -> float | None:
    """Begin to measure the peak memory; return the present one, MiB."""
    if device.type == "cpu":
        return peak_memory_MB(restart=True)
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device) / 2**20


def median_s(run: Callable[[], object], clock: Callable[[], float], repeats: int) -> float:
    """Return the median time of a call after one that is not counted, seconds."""
    run()
    times = []
    for _ in range(repeats):
        started = clock()
        run()
        times.append(clock() - started)
    return float(np.median(times))


def time_graph(
    run: Callable[[], object], device: torch.device, clock: Callable[[], float], repeats: int
) -> float | str:
    """Return the time of a function that is captured as a CUDA graph, or why it cannot be."""

    def capture_and_time() -> float:
        side = torch.cuda.Stream(device)
        side.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(side):
            for _ in range(3):
                run()
        torch.cuda.current_stream(device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            kept_alive = run()
        seconds = median_s(graph.replay, clock, repeats)
        del kept_alive
        return seconds

    return attempt(capture_and_time)


def attempt(run: Callable[[], Any]) -> Any:
    """Return the result of a measurement, or in words why there is none."""
    try:
        return run()
    except Exception as error:  # whatever a compiler or a driver refuses must not lose the other figures
        return f"failed: {type(error).__name__}: {str(error)[:200]}"


if __name__ == "__main__":
    raise SystemExit(main())
