"""Traces of solvers on scenes, stored in JSON files, so that a comparison repeats only what has changed."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from scenes import Scene
from truth_comparison import Trace, describe_machine, from_columns, to_columns

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Run:
    """One solver on one scene."""

    trace: Trace
    """Error against CPU seconds; the last point is the result of the solver."""
    settings: dict[str, Any]
    """Everything that the result depends on, JSON-able."""
    repeats_s: tuple[float, ...] = ()
    """CPU seconds of the whole run, one value per measurement, that of the trace first."""

    @property
    def time_factor(self) -> float:
        """Return the mean CPU time of the repeats over that of the trace."""
        return fmean(self.repeats_s) / self.repeats_s[0] if self.repeats_s else 1.0


class Store:
    """A file of runs, one per line, written after every run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def find(self, method: str, scene: Scene, settings: dict[str, Any] | None = None) -> Run | None:
        """Return a stored run; None where there is none, or its settings do not include these."""
        entry = self._read().get(f"{method}: {scene.key}")
        if entry is None or not (settings or {}).items() <= entry["settings"].items():
            return None
        return Run(from_columns(entry["trace"]), entry["settings"], tuple(entry["repeats_s"]))

    def save(self, method: str, scene: Scene, run: Run) -> None:
        """Store a run in place of an earlier one."""
        entry = {
            "machine": describe_machine(),
            "torch": torch.__version__,
            "settings": run.settings,
            "repeats_s": [round(seconds, 3) for seconds in run.repeats_s],
            "trace": to_columns(run.trace),
        }
        with locked(self.path.parent):
            entries = self._read() | {f"{method}: {scene.key}": entry}
            lines = (f"{json.dumps(key)}: {json.dumps(entries[key], allow_nan=False)}" for key in sorted(entries))
            part = self.path.with_suffix(".part")
            part.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
            part.replace(self.path)

    def _read(self) -> dict[str, Any]:
        return json.loads(self.path.read_text(encoding="utf-8")) if self.path.exists() else {}


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Allow one command at a time to write: several may run."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
