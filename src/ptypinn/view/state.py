"""How a run stands: in progress or over, when, with which figures and warnings, and what its log says."""

from __future__ import annotations

import contextlib
import csv
import json
import math
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ptypinn.data.hdf5 import open_hdf5, read_json
from ptypinn.data.recon_file import GROUP
from ptypinn.errors import InputError
from ptypinn.recorded import mapping
from ptypinn.report.words import HEADLINE, row_of
from ptypinn.runs import FINISHED, LOG, METRICS, RECONSTRUCTION, SNAPSHOT
from ptypinn.view.catalogue import Run

CURVE = "learning_curve.csv"
SILENT_S = 600.0
"""A run without a sign of life for so long is called silent rather than in progress."""
TAIL_BYTES = 16_384
"""So much of the end of a log is read."""
TAIL_LINES = 60
START = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ([\w -]+): ")
STEP = re.compile(r"^(?P<stage>[\w ]+) (?P<done>\d+)/(?P<total>\d+)(?P<rest>.*)$")
LOSS = re.compile(r"\bloss (?P<loss>[-+.\deE]+)")

Curve = list[tuple[float, float]]


@dataclass
class State:
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


def state_of(run: Run, *, details: bool = False) -> State:
    """How a run stands now.

    Args:
        run: The run.
        details: Read log and curves too.
    """
    if not run.place.is_dir():
        state = State(
            "file", changed=_iso(run.place.stat().st_mtime), figures=_figures(_recorded(run.place, "metrics"))
        )
    else:
        state = _of_folder(run.place)
    if details:
        state.curves = _curves(run.place, state)
        state.log = state.log[-TAIL_LINES:]
    else:
        state.log = []
    return state


def _of_folder(folder: Path) -> State:
    log, record = _tail(folder / LOG), _json(folder / FINISHED)
    if record:
        judged = _json(folder / METRICS)
        warnings = judged.get("warnings")
        sentences = [str(text) for text in warnings] if isinstance(warnings, list) else None
        return State(
            "finished",
            str(record.get("stage", "")),
            str(record.get("started", "")),
            str(record.get("finished", "")),
            sentences,
            _figures(mapping(judged.get("metrics"))),
            log,
        )
    seen = [path.stat().st_mtime for name in (LOG, SNAPSHOT, CURVE) if (path := folder / name).exists()]
    last, status = max(seen, default=0.0), "running"
    if log and log[-1].startswith("failed: "):
        status = "failed"
    elif time.time() - last > SILENT_S:
        status = "silent"
    starts = [(match, line) for line in (*_head(folder / LOG), *log) if (match := START.match(line))]
    stage, started = (starts[-1][0][1], starts[-1][1].split()[0]) if starts else ("", "")
    return State(status, stage, started, _iso(last), log=log, progress=_progress(log))


def _figures(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """Headline figures in words, of those that are numbers."""
    known = {name: float(value) for name, value in metrics.items() if isinstance(value, int | float)}
    rows = [row_of(name, known, {}) for name in HEADLINE if name in known]
    return [
        {"label": row.word.label, "value": row.value, "unit": row.word.unit, "meaning": row.word.meaning}
        for row in rows
    ]


def _curves(place: Path, state: State) -> dict[str, Curve]:
    """Curves of a finished run from its reconstruction, of others from the learning curve or the log."""
    recon = place / RECONSTRUCTION if place.is_dir() else place
    if state.status in ("finished", "file") and recon.exists():
        found = _recorded(recon, "history")
        return {name: _points(enumerate(values, 1)) for name, values in found.items() if isinstance(values, list)}
    if (place / CURVE).exists():
        with contextlib.suppress(OSError, ValueError), (place / CURVE).open(newline="") as lines:
            rows = list(csv.DictReader(lines))
            names = [name for name in ("train_loss", "val_loss") if rows and name in rows[0]]
            return {name: _points((row.get("epoch"), row[name] or "nan") for row in rows) for name in names}
    steps = [match for line in state.log if (match := STEP.match(line)) and match["stage"] == state.stage]
    losses = [(step["done"], loss["loss"]) for step in steps if (loss := LOSS.search(step["rest"]))]
    return {"loss": _points(losses)} if losses else {}


def _progress(log: list[str]) -> dict[str, Any]:
    last = next((match for line in reversed(log) if (match := STEP.match(line))), None)
    if last is None:
        return {}
    return {
        "stage": last["stage"],
        "done": int(last["done"]),
        "total": int(last["total"]),
        "text": last["rest"].strip(),
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
