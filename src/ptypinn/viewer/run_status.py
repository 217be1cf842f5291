"""How a run stands: in progress or over, when, with which figures and warnings, and what its log says."""

from __future__ import annotations

import contextlib
import csv
import json
import math
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from ptypinn.errors import InputError
from ptypinn.io.reconstruction_file import GROUP
from ptypinn.io.safe.hdf5 import open_hdf5, read_json
from ptypinn.report.text.metric_labels import HEADLINE, row_of
from ptypinn.runs.folder import FINISHED, LOG, METRICS, SNAPSHOT, reconstruction_file
from ptypinn.runs.record import mapping
from ptypinn.viewer.picture_file import file_version
from ptypinn.viewer.run_index import Run

CURVE = "learning_curve.csv"
SILENT_S = 600.0
"""A run without a sign of life for so long is called silent rather than in progress."""
TAIL_BYTES = 16_384
"""So much of the end of a log is read."""
TAIL_LINES = 60
MAX_CACHED = 4096
"""States of runs that are over are kept, so many of them."""
START = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ([\w -]+): ")
STEP = re.compile(r"^(?P<stage>[\w ]+) (?P<done>\d+)/(?P<total>\d+)(?P<rest>.*)$")
LOSS = re.compile(r"\b(?P<name>(probe_)?loss) (?P<loss>[-+.\deE]+)")

Curve = list[tuple[float, float]]


@dataclass(frozen=True)
class RunStatus:
    """How a run stands."""

    status: str
    """`finished`, `running`, `silent`, `failed`, or `file` for a reconstruction without a run folder."""
    stage: str = ""
    """Name of the stage."""
    started: str = ""
    """ISO time, UTC; empty where nobody knows."""
    changed: str = ""
    """ISO time of the end of the run, or of its last sign of life."""
    warnings: list[str] | None = None
    """What the evaluation warns of; None where nothing has been judged."""
    figures: list[dict[str, str]] = field(default_factory=list)
    """Headline figures: label, value, unit, meaning."""
    log: list[str] = field(default_factory=list)
    """End of the log."""
    progress: dict[str, Any] = field(default_factory=dict)
    """Stage, steps done and total of the last report of a run in progress."""
    curves: dict[str, Curve] = field(default_factory=dict)
    """Figures by iteration or epoch, as points."""


def read_status(run: Run, *, details: bool = False) -> RunStatus:
    """How a run stands now.

    Args:
        run: The run.
        details: Read log and curves too.
    """
    place = run.place
    log = _tail(place / LOG) if place.is_dir() else []
    if not place.is_dir():
        state = _of_file(place, file_version(place))
    elif (place / FINISHED).exists() and (found := _of_finished(place, file_version(place / FINISHED))):
        state = found
    else:
        state = _of_unfinished(place, log)
    return replace(state, log=log[-TAIL_LINES:], curves=_curves(place, state, log)) if details else state


@lru_cache(MAX_CACHED)
def _of_file(path: Path, version: str) -> RunStatus:
    """State of a reconstruction that lies alone; read once per version."""
    return RunStatus("file", changed=_iso(path.stat().st_mtime), figures=_figures(_recorded(path, "metrics")))


@lru_cache(MAX_CACHED)
def _of_finished(folder: Path, version: str) -> RunStatus | None:
    """State of a finished run, read once per version of its record; None where that cannot be read."""
    record, judged = _json(folder / FINISHED), _json(folder / METRICS)
    if not record:
        return None
    warnings = judged.get("warnings")
    return RunStatus(
        "finished",
        stage=str(record.get("stage", "")),
        started=str(record.get("started", "")),
        changed=str(record.get("finished", "")),
        warnings=[str(text) for text in warnings] if isinstance(warnings, list) else None,
        figures=_figures(mapping(judged.get("metrics"))),
    )


def _of_unfinished(folder: Path, log: list[str]) -> RunStatus:
    """State of a run that is in progress, or has not come to its end."""
    seen = [path.stat().st_mtime for name in (LOG, SNAPSHOT, CURVE) if (path := folder / name).exists()]
    last, status = max(seen, default=0.0), "running"
    if log and log[-1].startswith("failed: "):
        status = "failed"
    elif time.time() - last > SILENT_S:
        status = "silent"
    starts = [(match, line) for line in (*_head(folder / LOG), *log) if (match := START.match(line))]
    stage, started = (starts[-1][0][1], starts[-1][1].split()[0]) if starts else ("", "")
    return RunStatus(status, stage, started, _iso(last), progress=_progress(log))


def _figures(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """Headline figures in words, of those that are numbers."""
    known = {name: float(value) for name, value in metrics.items() if isinstance(value, int | float)}
    rows = [row_of(name, known, {}) for name in HEADLINE if name in known]
    return [
        {"label": row.word.label, "value": row.value, "unit": row.word.unit, "meaning": row.word.meaning}
        for row in rows
    ]


def _curves(place: Path, state: RunStatus, log: list[str]) -> dict[str, Curve]:
    """Curves of a finished run from its reconstruction, of others from the learning curve or the log."""
    recon = reconstruction_file(place)
    if state.status in ("finished", "file") and recon.exists():
        found = _recorded(recon, "history")
        return {name: _points(enumerate(values, 1)) for name, values in found.items() if isinstance(values, list)}
    with contextlib.suppress(OSError, ValueError), (place / CURVE).open(newline="") as lines:
        rows = list(csv.DictReader(lines))
        names = [name for name in ("train_loss", "val_loss") if len(rows) > 1 and name in rows[0]]
        if names:
            return {name: _points((row.get("epoch"), row[name] or "nan") for row in rows) for name in names}
    return _losses(log)


def _losses(log: list[str]) -> dict[str, Curve]:
    """Losses by step, of the last stage in a log that tells any."""
    told = [(step, loss) for line in log if (step := STEP.match(line)) and (loss := LOSS.search(step["rest"]))]
    points: dict[str, list[tuple[str, str]]] = {}
    for step, loss in told:
        if step["stage"] == told[-1][0]["stage"]:
            points.setdefault(loss["name"], []).append((step["done"], loss["loss"]))
    return {name: _points(of) for name, of in points.items()}


def _progress(log: list[str]) -> dict[str, Any]:
    last = next((match for line in reversed(log) if (match := STEP.match(line))), None)
    if last is None:
        return {}
    return {
        "stage": last["stage"],
        "done": int(last["done"]),
        "total": int(last["total"]),
        "text": " · ".join(last["rest"].split("  ")).strip(" ·"),
    }


def _recorded(path: Path, name: str) -> Mapping[str, Any]:
    """A record of a reconstruction file; empty where it cannot be read."""
    with contextlib.suppress(InputError), open_hdf5(path) as file:
        return mapping(read_json(file, str(path), f"{GROUP}/{name}"))
    return {}


def _points(pairs: Iterable[tuple[Any, Any]]) -> Curve:
    """Pairs of finite numbers; nothing where they are no numbers."""
    with contextlib.suppress(TypeError, ValueError):
        points = [(float(x), float(y)) for x, y in pairs]
        return [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    return []


def _json(path: Path) -> Mapping[str, Any]:
    with contextlib.suppress(OSError, ValueError, RecursionError):
        return mapping(json.loads(path.read_text(encoding="utf-8")))
    return {}


def _tail(path: Path) -> list[str]:
    with contextlib.suppress(OSError), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        return file.read().decode("utf-8", "replace").splitlines()
    return []


def _head(path: Path) -> list[str]:
    """The first line of a file, which a long log has lost from its end."""
    with contextlib.suppress(OSError), path.open(encoding="utf-8", errors="replace") as file:
        return [file.readline(TAIL_BYTES).rstrip("\n")]
    return []


def _iso(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="seconds")
