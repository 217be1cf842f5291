"""Every solver of the comparisons as one function of a scene: a trace of error against CPU seconds.

Of ours everything that a user waits for is on the clock, set-up and closing account included; figures are not.
"""

from __future__ import annotations

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
from judge import Judge, Trace
from ptypinn.config.reconstruct import ReconstructConfig
from ptypinn.config.refine import RefineConfig
from ptypinn.data.scan import ScanData
from ptypinn.models.model_file import Weights, load_weights
from ptypinn.solvers.unrolled.problem import LearnedOptions
from ptypinn.solvers.unrolled.round_schedule import light_on, usual_rounds
from ptypinn.solvers.unrolled.solver import solve_scan
from ptypinn.stages.reconstruct import reconstruct
from ptypinn.stages.refine import refine
from scenes import Scene
from store import RESULTS, Run, Store

OURS = ("zero-shot", "polished", "bare", "fine-tuned", "refine")
"""The learned solver; the same and `refine`'s solver from there; its physical steps without the network; the network
tuned to the scan; the iterative solver from its own start."""
PEERS = ("lsqml", "epie")
METHODS = (*OURS, *PEERS)
LEARNED = ("zero-shot", "polished", "fine-tuned")
POLISH = 60
"""Most iterations of polishing."""


def store_of(method: str) -> Store:
    """Peers have a file of their own: their traces are slow, and do not depend on anything of ours."""
    return Store(RESULTS / ("peer_traces.json" if method in PEERS else "own_traces.json"))


def settings_of(method: str, scene: Scene, weights: Path | None, rounds: int | None = None) -> dict[str, Any]:
    """What decides a result of ours: options, weights, and the code of the solvers."""
    options: dict[str, Any] = {"code": code_digest(method != "refine"), "refine_probe": scene.guess}
    if method in LEARNED:
        options["weights"] = _weights(weights).digest
    if method != "refine":
        options["rounds"] = rounds or "usual"
    return options | ({"polish": POLISH} if method == "polished" else {})


def run(method: str, scene: Scene, weights: Path | None, rounds: int | None = None) -> Run:
    """Run a solver on a scene, on one thread."""
    torch.set_num_threads(1)
    if method in PEERS:
        return _run_peer(method, scene)
    settings, scan, watched = settings_of(method, scene, weights, rounds), scene.scan(), _Watched(Judge.of(scene))
    one_thread: dict[str, Any] = {"refine_probe": scene.guess, "threads": 1, "device": "cpu"}
    if method in LEARNED:
        network = _weights(weights)
        if method == "fine-tuned":
            network = watched.start(lambda: _fine_tuned(scan, weights, one_thread))
        polish = POLISH if method == "polished" else 0
        config = ReconstructConfig(rounds=rounds, polish=polish, **one_thread)
        watched.start(lambda: reconstruct(scan, network, config, watch=watched), last=True)
    elif method == "bare":
        options, device, rounds = LearnedOptions(refine_probe=scene.guess), torch.device("cpu"), rounds or _usual(scan)
        watched.start(lambda: solve_scan(scan, None, options, rounds, device, watch=watched), last=True)
    else:
        watched.start(lambda: refine(scan, RefineConfig(**one_thread), watch=watched), last=True)
    return Run(watched.trace, settings, (watched.trace[-1].cpu_s,))


def _usual(scan: ScanData) -> int:
    return usual_rounds(light_on(scan))


class _Watched:
    """Takes the figures of every object that a solver shows, with the clock stopped."""

    def __init__(self, judge: Judge) -> None:
        self.judge, self.trace, self._spent = judge, Trace(), 0.0

    def start(self, work: Callable[[], Any], last: bool = False) -> Any:
        """Do some work on the clock; its result is the `last` point of the trace where so asked."""
        self._began = time.process_time()
        found = work()
        if last:
            self(lambda: found)
        else:
            self._spent += time.process_time() - self._began
        return found

    def __call__(self, look: Callable[[], Any]) -> None:
        self._spent += time.process_time() - self._began
        self.trace.append(self.judge.point(len(self.trace) + 1, self._spent, look().object))
        self._began = time.process_time()


def _run_peer(method: str, scene: Scene) -> Run:
    from peer.epie import epie_options, epie_task
    from peer.lsqml import stepped
    from ptypinn.solvers.lsqml import LsqmlOptions, lsqml_task

    scan, options = scene.scan(), LsqmlOptions(refine_probe=scene.guess)
    task: Any = lsqml_task(scan, options)
    if method == "epie":
        options = epie_options(scene.photons, scene.guess)
        task = epie_task(scan, options)
    trace = stepped(task, Judge.of(scene), *effort(method, scene))
    return Run(trace, {"solver": f"ptychi {version('ptychi')}", **asdict(options)}, (trace[-1].cpu_s,))


def effort(method: str, scene: Scene) -> tuple[int, int]:
    """Most iterations of a peer, and how many lie between figures: more light takes more; ePIE creeps in any case."""
    iterations = int(np.interp(np.log10(scene.photons), [3, 4, 5, 6, 7], [60, 110, 160, 220, 260]))
    iterations = iterations // 2 if method == "epie" else iterations
    return iterations, 2 if iterations <= 160 else 4


@cache
def _weights(path: Path | None) -> Weights:
    return load_weights(path)


def digest_of_weights(path: Path | None) -> str:
    """Digest of a weights file, or of the weights of the package."""
    return _weights(path).digest


def _fine_tuned(scan: ScanData, weights: Path | None, options: dict[str, Any]) -> Weights:
    from ptypinn.config.finetune import FinetuneConfig
    from ptypinn.stages.finetune import finetune

    config = FinetuneConfig(start="shipped" if weights is None else str(weights), **options)
    with TemporaryDirectory() as folder:
        return load_weights(finetune(scan, config, output_dir=folder))


@cache
def code_digest(learned: bool) -> str:
    """Digest of the solvers' source, so that a change of it is seen."""
    root, found = Path(ptypinn.__file__).parent, hashlib.sha256()
    for folder in ("physics", "solver", *(("learned", "models") if learned else ())):
        for file in sorted((root / folder).glob("*.py")):
            found.update(json.dumps([file.name, file.read_text(encoding="utf-8")]).encode())
    return found.hexdigest()[:12]
