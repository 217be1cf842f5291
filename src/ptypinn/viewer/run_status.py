"""Status of a run: in progress or finished, dates, headline metrics, warnings, progress, curves and log."""

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
from io import StringIO
from pathlib import Path
from typing import Any

from ptypinn.errors import InputError
from ptypinn.io.reconstruction_file import GROUP
from ptypinn.io.safe.hdf5 import read_json
from ptypinn.io.safe.hdf5_open import open_hdf5
from ptypinn.report.text.metric_labels import KEY_METRICS, metric_row
from ptypinn.runs.folder import FINISHED, LOG, METRICS, SNAPSHOT, reconstruction_file
from ptypinn.runs.record import as_mapping
from ptypinn.runs.untrusted import is_regular, read_end, read_start
from ptypinn.utils.plain_values import number
from ptypinn.viewer.picture_file import file_version
from ptypinn.viewer.run_index import Run

CURVE = "learning_curve.csv"
SILENT_S = 600.0
"""A run whose files have not changed for so long is `silent` rather than `running`."""
TAIL_BYTES = 16_384
"""Number of bytes that are read from the end of a log."""
TAIL_LINES = 60
MAX_CACHED = 4096
"""Maximum number of finished runs whose status is in the cache."""
START = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ([\w -]+): ")
STEP = re.compile(r"^(?P<stage>[\w ]+) (?P<done>\d{1,15})/(?P<total>\d{1,15})(?P<rest>.*)$")
LEFT = re.compile(r"(\d+) s left")
LOSS = re.compile(r"\b(?P<name>(probe_)?loss) (?P<loss>[-+.\deE]+)")

Curve = list[tuple[float, float]]


@dataclass(frozen=True)
class RunStatus:
    """Status of a run."""

    status: str
    """`finished`, `running`, `silent`, `failed`, `unreadable`, or `file` for a reconstruction without a run folder."""
    stage: str = ""
    """Name of the stage."""
    started: str = ""
    """ISO time, UTC; empty where unknown."""
    changed: str = ""
    """ISO time of the end of the run, or of the last change of its files."""
    warnings: list[str] | None = None
    """Warnings of the evaluation; None where there was none."""
    metrics: list[dict[str, str]] = field(default_factory=list)
    """Headline metrics: label, value, unit, meaning."""
    log: list[str] = field(default_factory=list)
    """End of the log."""
    progress: dict[str, Any] = field(default_factory=dict)
    """Stage, steps done and total of the last report of a run in progress."""
    curves: dict[str, Curve] = field(default_factory=dict)
    """Losses by iteration or epoch, as points."""


def read_status(run: Run, *, details: bool = False) -> RunStatus:
    """Return the current status of a run.

    Args:
        run: The run.
        details: Read log and curves too.
    """
    path = run.path
    log = _read_tail(path / LOG) if path.is_dir() else []
    if not path.is_dir():
        status = _file_status(path, file_version(path))
    elif is_regular(path / FINISHED) and (record := _finished_status(path, file_version(path / FINISHED))):
        status = record
    else:
        status = _unfinished_status(path, log)
    return replace(status, log=log[-TAIL_LINES:], curves=_read_curves(path, status, log)) if details else status


@lru_cache(MAX_CACHED)
def _file_status(path: Path, version: str) -> RunStatus:
    """Return the status of a reconstruction file without a run folder; read once per version."""
    return RunStatus(
        "file", changed=_format_time(path.stat().st_mtime), metrics=_label_metrics(_read_record(path, "metrics"))
    )


@lru_cache(MAX_CACHED)
def _finished_status(folder: Path, version: str) -> RunStatus | None:
    """Return the status of a finished run, read once per version of its record; None where that cannot be read."""
    record, evaluation = _read_json(folder / FINISHED), _read_json(folder / METRICS)
    if not record:
        return None
    warnings = evaluation.get("warnings")
    return RunStatus(
        "finished",
        stage=str(record.get("stage", "")),
        started=str(record.get("started", "")),
        changed=str(record.get("finished", "")),
        warnings=[str(text) for text in warnings] if isinstance(warnings, list) else None,
        metrics=_label_metrics(as_mapping(evaluation.get("metrics"))),
    )


def _unfinished_status(folder: Path, log: list[str]) -> RunStatus:
    """Return the status of a run that is in progress, or was stopped."""
    times = [path.stat().st_mtime for name in (LOG, SNAPSHOT, CURVE) if is_regular(path := folder / name)]
    last_change, status = max(times, default=0.0), "running"
    if log and log[-1].startswith("failed: "):
        status = "failed"
    elif time.time() - last_change > SILENT_S:
        status = "silent"
    starts = [(match, line) for line in (*_read_first_line(folder / LOG), *log) if (match := START.match(line))]
    stage, started = (starts[-1][0][1], starts[-1][1].split()[0]) if starts else ("", "")
    return RunStatus(status, stage, started, _format_time(last_change), progress=_parse_progress(log))


def _label_metrics(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return label, value, unit and meaning of the headline metrics."""
    numbers = {name: float(finite) for name, value in metrics.items() if (finite := number(value)) is not None}
    rows = [metric_row(name, numbers, {}) for name in KEY_METRICS if name in numbers]
    return [
        {"label": row.label.label, "value": row.value, "unit": row.label.unit, "meaning": row.label.meaning}
        for row in rows
    ]


def _read_curves(folder: Path, status: RunStatus, log: list[str]) -> dict[str, Curve]:
    """Read the curves of a finished run from its reconstruction, of others from the learning curve or the log."""
    recon = reconstruction_file(folder)
    if status.status in ("finished", "file") and is_regular(recon):
        history = _read_record(recon, "history")
        return {
            name: _finite_points(enumerate(values, 1)) for name, values in history.items() if isinstance(values, list)
        }
    with contextlib.suppress(OSError, ValueError, csv.Error):
        rows = list(csv.DictReader(StringIO(read_start(folder / CURVE).decode(), newline="")))
        names = [name for name in ("train_loss", "val_loss") if len(rows) > 1 and name in rows[0]]
        if names:
            return {name: _finite_points((row.get("epoch"), row[name] or "nan") for row in rows) for name in names}
    return _parse_losses(log)


def _parse_losses(log: list[str]) -> dict[str, Curve]:
    """Return the losses by step of the last stage in a log with losses."""
    lines = [(step, loss) for line in log if (step := STEP.match(line)) and (loss := LOSS.search(step["rest"]))]
    points: dict[str, list[tuple[str, str]]] = {}
    for step, loss in lines:
        if step["stage"] == lines[-1][0]["stage"]:
            points.setdefault(loss["name"], []).append((step["done"], loss["loss"]))
    return {name: _finite_points(pairs) for name, pairs in points.items()}


def _parse_progress(log: list[str]) -> dict[str, Any]:
    """Return the last report of progress: stage, steps done and in total, estimated time left, other figures."""
    last = next((match for line in reversed(log) if (match := STEP.match(line))), None)
    if last is None:
        return {}
    parts = [part.strip() for part in last["rest"].split("  ")]
    left_s = next((float(match[1]) for part in parts if (match := LEFT.fullmatch(part))), None)
    return {
        "stage": last["stage"],
        "done": int(last["done"]),
        "total": int(last["total"]),
        "left_s": left_s,
        "text": " · ".join(part for part in parts if part and not LEFT.fullmatch(part)),
    }


def _read_record(path: Path, name: str) -> Mapping[str, Any]:
    """Read a record of a reconstruction file; empty where it cannot be read."""
    with contextlib.suppress(InputError), open_hdf5(path) as file:
        return as_mapping(read_json(file, str(path), f"{GROUP}/{name}"))
    return {}


def _finite_points(pairs: Iterable[tuple[Any, Any]]) -> Curve:
    """Return the pairs of finite numbers; none where a value is not a number."""
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        points = [(float(x), float(y)) for x, y in pairs]
        return [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    return []


def _read_json(path: Path) -> Mapping[str, Any]:
    with contextlib.suppress(OSError, ValueError, RecursionError):
        return as_mapping(json.loads(read_start(path)))
    return {}


def _read_tail(path: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return read_end(path, TAIL_BYTES).decode("utf-8", "replace").splitlines()
    return []


def _read_first_line(path: Path) -> list[str]:
    """Read the first line of a log, which the end of a long one does not contain."""
    with contextlib.suppress(OSError):
        return read_start(path, TAIL_BYTES).decode("utf-8", "replace").splitlines()[:1]
    return []


def _format_time(time_s: float) -> str:
    with contextlib.suppress(ValueError, OverflowError, OSError):  # a year that no calendar has
        return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="seconds")
    return ""
