"""Traces of solvers on scenes, kept in JSON files, so that a comparison runs again only what has changed."""

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

from judge import Trace, columns, from_columns, machine
from scenes import Scene

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Run:
    """One solver on one scene."""

    trace: Trace
    """Error against CPU seconds on the way; the last point is what the solver returns."""
    settings: dict[str, Any]
    """What decides the result, JSON-able."""
    repeats_s: tuple[float, ...] = ()
    """CPU seconds of the whole run each time that it was measured, that of the trace first."""

    @property
    def pace(self) -> float:
        """Mean CPU time of the repeats over that of the trace."""
        return fmean(self.repeats_s) / self.repeats_s[0] if self.repeats_s else 1.0


class Store:
    """A file of runs, one a line, written after every run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def find(self, method: str, scene: Scene, settings: dict[str, Any] | None = None) -> Run | None:
        """A stored run; None where there is none, or none with these settings among its own."""
        entry = self._read().get(f"{method}: {scene.key}")
        if entry is None or not (settings or {}).items() <= entry["settings"].items():
            return None
        return Run(from_columns(entry["trace"]), entry["settings"], tuple(entry["repeats_s"]))

    def keep(self, method: str, scene: Scene, run: Run) -> None:
        """Store a run in place of the one that is there."""
        entry = {
            "machine": machine(),
            "torch": torch.__version__,
            "settings": run.settings,
            "repeats_s": [round(seconds, 3) for seconds in run.repeats_s],
            "trace": columns(run.trace),
        }
        with _locked(self.path.parent):
            entries = self._read() | {f"{method}: {scene.key}": entry}
            lines = (f"{json.dumps(key)}: {json.dumps(entries[key], allow_nan=False)}" for key in sorted(entries))
            part = self.path.with_suffix(".part")
            part.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
            part.replace(self.path)

    def _read(self) -> dict[str, Any]:
        return json.loads(self.path.read_text(encoding="utf-8")) if self.path.exists() else {}


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One command at a time writes: several may run."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
