"""Every solver of the comparisons as one function of a scene: a trace of error against CPU seconds.

The CPU seconds of ours include everything that a user waits for, set-up and closing sequence too; metrics are excluded.
"""

from __future__ import annotations

import ast
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

import ptypinn
from ptypinn.config.reconstruct import ReconstructConfig
from ptypinn.config.refine import RefineConfig
from ptypinn.data.scan import ScanData
from ptypinn.models.model_file import Weights, load_weights
from ptypinn.solvers.unrolled.problem import UnrolledOptions
from ptypinn.solvers.unrolled.rounds import default_rounds, estimate_dose
from ptypinn.solvers.unrolled.solver import solve_scan
from ptypinn.stages.reconstruct import reconstruct
from ptypinn.stages.refine import refine
from scenes import Scene
from store import RESULTS, Run, Store
from truth_comparison import Trace, TruthComparison

OURS = ("zero-shot", "polished", "bare", "fine-tuned", "refine")
"""The unrolled solver; the same, polished by `refine`'s solver; its physical steps without the network; with the
network fine-tuned on the scan; the iterative solver from its own start."""
PEERS = ("lsqml", "epie")
METHODS = (*OURS, *PEERS)
WITH_NETWORK = ("zero-shot", "polished", "fine-tuned")
POLISH = 60
"""Maximum number of polishing iterations."""


def open_store(method: str) -> Store:
    """Return the store of a method; peers have a file of their own, since their traces do not depend on our code."""
    return Store(RESULTS / ("peer_traces.json" if method in PEERS else "own_traces.json"))


def run_settings(method: str, scene: Scene, weights: Path | None, rounds: int | None = None) -> dict[str, Any]:
    """Return everything that a result of ours depends on: options, weights, and the code of the solvers."""
    options: dict[str, Any] = {"code": code_digest(method != "refine"), "refine_probe": scene.guess}
    if method in WITH_NETWORK:
        options["weights"] = _weights(weights).digest
    if method != "refine":
        options["rounds"] = rounds or "default"
    return options | ({"polish": POLISH} if method == "polished" else {})


def run(method: str, scene: Scene, weights: Path | None, rounds: int | None = None) -> Run:
    """Run a solver on a scene, on one thread."""
    torch.set_num_threads(1)
    if method in PEERS:
        return _run_peer(method, scene)
    settings, scan = run_settings(method, scene, weights, rounds), scene.scan()
    recorder = TraceRecorder(TruthComparison.of_scene(scene))
    one_thread: dict[str, Any] = {"refine_probe": scene.guess, "threads": 1, "device": "cpu"}
    if method in WITH_NETWORK:
        network = _weights(weights)
        if method == "fine-tuned":
            network = recorder.run(lambda: _fine_tuned(scan, weights, one_thread))
        polish = POLISH if method == "polished" else 0
        config = ReconstructConfig(rounds=rounds, polish=polish, **one_thread)
        recorder.run(lambda: reconstruct(scan, network, config, watch=recorder), last=True)
    elif method == "bare":
        options, device, rounds = (
            UnrolledOptions(refine_probe=scene.guess),
            torch.device("cpu"),
            rounds or _default_rounds(scan),
        )
        recorder.run(lambda: solve_scan(scan, None, options, rounds, device, watch=recorder), last=True)
    else:
        recorder.run(lambda: refine(scan, RefineConfig(**one_thread), watch=recorder), last=True)
    return Run(recorder.trace, settings, (recorder.trace[-1].cpu_s,))


def _default_rounds(scan: ScanData) -> int:
    return default_rounds(estimate_dose(scan))


class TraceRecorder:
    """Record of the error of every intermediate object, with the clock stopped."""

    def __init__(self, comparison: TruthComparison, clock: Callable[[], float] = time.process_time) -> None:
        self.comparison, self.trace, self._cpu_s, self._clock = comparison, Trace(), 0.0, clock

    def run(self, work: Callable[[], Any], last: bool = False) -> Any:
        """Run a call on the clock; with `last`, its result is the last point of the trace."""
        self._started = self._clock()
        result = work()
        if last:
            self(lambda: result)
        else:
            self._cpu_s += self._clock() - self._started
        return result

    def __call__(self, make_result: Callable[[], Any]) -> None:
        """Add a point for an intermediate result."""
        self._cpu_s += self._clock() - self._started
        self.trace.append(self.comparison.measure(len(self.trace) + 1, self._cpu_s, make_result().object))
        self._started = self._clock()


def _run_peer(method: str, scene: Scene) -> Run:
    from peer.epie import epie_options, epie_task
    from peer.lsqml import run_steps
    from ptypinn.solvers.lsqml import LsqmlOptions, lsqml_task

    scan, options = scene.scan(), LsqmlOptions(refine_probe=scene.guess)
    task: Any = lsqml_task(scan, options)
    if method == "epie":
        options = epie_options(scene.photons, scene.guess)
        task = epie_task(scan, options)
    trace = run_steps(task, TruthComparison.of_scene(scene), *iteration_limits(method, scene))
    return Run(trace, {"solver": f"ptychi {version('ptychi')}", **asdict(options)}, (trace[-1].cpu_s,))


def iteration_limits(method: str, scene: Scene) -> tuple[int, int]:
    """Return the maximum iterations of a peer and those between measurements; a higher dose needs more."""
    iterations = int(np.interp(np.log10(scene.photons), [3, 4, 5, 6, 7], [60, 110, 160, 220, 260]))
    iterations = iterations // 2 if method == "epie" else iterations
    return iterations, 2 if iterations <= 160 else 4


@cache
def _weights(path: Path | None) -> Weights:
    return load_weights(path)


def weights_digest(path: Path | None) -> str:
    """Return the digest of a weights file, or of the weights of the package."""
    return _weights(path).digest


def _fine_tuned(scan: ScanData, weights: Path | None, options: dict[str, Any]) -> Weights:
    from ptypinn.config.finetune import FinetuneConfig
    from ptypinn.stages.finetune import finetune

    config = FinetuneConfig(init_weights="shipped" if weights is None else str(weights), **options)
    with TemporaryDirectory() as folder:
        return load_weights(finetune(scan, config, output_dir=folder))


CODE = ("physics", "losses", "solvers/quasi_newton")
CODE_OF_UNROLLED = ("solvers/unrolled", "models")
"""Modules and packages that the results of `refine`, and in addition those of the unrolled solver, depend on."""
REPRODUCED: dict[str, str] = {}
"""Digest of the code to the digest of earlier code whose stored runs it reproduces to the last digit.

`reproduce.py` compares the runs and prints the entries. Any later change of the code has another digest, and so needs
another check.
"""


@cache
def code_digest(unrolled: bool) -> str:
    """Return the digest of the solvers' code, or of the earlier code whose results it reproduces.

    Args:
        unrolled: Include the code of the unrolled solver and its network.
    """
    digest = source_digest(unrolled)
    return REPRODUCED.get(digest, digest)


def source_digest(unrolled: bool) -> str:
    """Return the digest of the syntax trees of the solvers' modules, without comments and docstrings.

    Args:
        unrolled: Include the code of the unrolled solver and its network.
    """
    root, digest = Path(ptypinn.__file__).parent, hashlib.sha256()
    for name in (*CODE, *(CODE_OF_UNROLLED if unrolled else ())):
        files = sorted((root / name).glob("*.py")) or [(root / name).with_suffix(".py")]
        for file in files:
            digest.update(json.dumps([file.name, _statements(file.read_text(encoding="utf-8"))]).encode())
    return digest.hexdigest()[:12]


def _statements(source: str) -> str:
    """Return a dump of a module's syntax tree without docstrings, which are its only bare strings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [one for one in body if not _is_docstring(one)]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
