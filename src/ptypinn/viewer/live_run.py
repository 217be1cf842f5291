"""Runs of scans in progress: state, newest pattern and positions, from files of a folder that may be a stranger's.

Whatever such a file lacks, or has of another type or size, is left out.
"""

from __future__ import annotations

import contextlib
import json
import math
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32

from ptypinn.errors import InputError
from ptypinn.io.safe.npz import Archive
from ptypinn.runs.folder import SNAPSHOT
from ptypinn.runs.lock import LOCK
from ptypinn.runs.record import as_mapping
from ptypinn.runs.untrusted import is_regular, read_whole
from ptypinn.stages.live_status import FAIR_MISFIT, GOOD_MISFIT, NEWEST, POSITIONS, STATUS
from ptypinn.utils.atomic_files import is_running
from ptypinn.viewer.folders import digest, stamp_file

ACTIVE = ("waiting", "receiving", "finishing")
"""States of a run that goes on."""
ENDED = ("finished", "failed", "stopped")
INTERRUPTED = "interrupted"
"""State of a run whose process has ended without a word."""
MAX_STATUS_BYTES = 2**20
MAX_ARRAY_BYTES = 2**26
MAX_SIDE_PX = 4096
"""Longest side of a pattern, pixels."""
MAX_POSITIONS = 20_000
"""Maximum number of positions on a map; of more, so many are shown evenly."""
MAX_COUNTS, MAX_POSITION_PX = 1e12, 1e9
MAX_TEXT, MAX_LINES = 500, 20
FRAMES = (
    *("expected", "received", "spooled", "joined", "solved", "newest", "newest_solved"),
    *("repeated", "rejected", "dropped", "n_missing", "without_position", "left_out"),
)
"""Numbers of frames in the state."""
TEXTS = ("missing", "left_out_text")
"""Numbers of single frames in it, as text."""


def live_version(folder: Path) -> str:
    """Return a text that changes with the files of a run in progress; empty where it is none."""
    stamps = [stamp_file(folder / name) for name in (STATUS, SNAPSHOT, NEWEST, POSITIONS)]
    return digest([*stamps, str(is_abandoned(folder))]) if stamps[0] else ""


def read_live(folder: Path) -> dict[str, Any] | None:
    """Return the state of a run in progress as plain values; None where there is none."""
    try:
        record = as_mapping(json.loads(read_whole(folder / STATUS, MAX_STATUS_BYTES)))
    except (OSError, ValueError, RecursionError):
        return None
    state = record.get("state")
    if state not in (*ACTIVE, *ENDED):
        return None
    if state in ACTIVE and is_abandoned(folder):
        state = INTERRUPTED
    frames, rates, backlog, quality, verdict = (
        as_mapping(record.get(name)) for name in ("frames", "rates_hz", "backlog", "quality", "verdict")
    )
    updated_s = _number(record.get("updated_s"))
    content = {
        "state": state,
        "source": _text(record.get("source")),
        "started": _text(record.get("started")),
        "elapsed_s": _number(record.get("elapsed_s")),
        "age_s": None if updated_s is None or state not in ACTIVE else max(0.0, time.time() - updated_s),
        "frames": {name: _count(frames.get(name)) for name in FRAMES}
        | {name: _text(frames.get(name)) for name in TEXTS},
        "rates_hz": {name: _number(rates.get(name)) for name in ("received", "solved")},
        "backlog": {"frames": _count(backlog.get("frames")), "delay_s": _number(backlog.get("delay_s"))},
        "mode_text": _text(record.get("mode_text")),
        "misfit": _number(quality.get("misfit")),
        "probe": _text(quality.get("probe")),
        "verdict": {"text": _text(verdict.get("text")), "reasons": _texts(verdict.get("reasons"))},
        "alerts": _read_alerts(record.get("alerts")),
    }
    return content | {"is_active": state in ACTIVE, "level": judge_level(content)}


def judge_level(content: Mapping[str, Any]) -> str:
    """Return how a state is shown: `alert`, `good`, `fair`, `poor`, or empty without a picture.

    >>> judge_level({"alerts": [], "misfit": 1.02})
    'good'
    """
    misfit = content["misfit"]
    if any(alert["active"] for alert in content["alerts"]):
        return "alert"
    if misfit is None:
        return ""
    return "good" if misfit <= GOOD_MISFIT else "fair" if misfit <= FAIR_MISFIT else "poor"


def is_abandoned(folder: Path) -> bool:
    """Return True where the process that wrote to a run folder has ended without a word.

    A process on another computer counts as one that goes on.
    """
    try:
        record = as_mapping(json.loads(read_whole(folder / LOCK, MAX_STATUS_BYTES)))
    except FileNotFoundError:
        return True
    except (OSError, ValueError, RecursionError):
        return False
    pid = record.get("pid")
    return record.get("host") == platform.node() and isinstance(pid, int) and not (pid > 1 and is_running(pid))


@dataclass(frozen=True)
class LivePattern:
    """The newest pattern of a run in progress, and its prediction."""

    version: str
    """Text that changes with the file."""
    number: int
    """Frame number."""
    measured: Float32[np.ndarray, "y x"]
    """Counts, zero frequency at N//2."""
    predicted: Float32[np.ndarray, "y x"]
    """Expected counts."""
    good: Bool[np.ndarray, "y x"]
    """Good pixels."""


def read_newest(folder: Path) -> LivePattern | None:
    """Return the newest pattern; None where there is none, or it makes no sense."""
    version = digest([stamp_file(folder / NEWEST)])
    arrays = _read_arrays(folder / NEWEST, ("number", "measured", "predicted", "mask"))
    if arrays is None or any(array.dtype.kind not in "iufb" for array in arrays.values()):
        return None
    number, measured, predicted, mask = arrays.values()
    shape = measured.shape
    fits = measured.ndim == 2 and predicted.shape == mask.shape == shape
    fits = fits and number.size == 1 and number.dtype.kind in "iu"
    if not fits or not 0 < min(shape) <= max(shape) <= MAX_SIDE_PX:
        return None
    counts, expected = (np.nan_to_num(array).clip(0, MAX_COUNTS).astype(np.float32) for array in (measured, predicted))
    return LivePattern(version, int(number.item()), counts, expected, mask.astype(bool))


def pack_positions(folder: Path) -> bytes:
    """Return where the frames lie and which are in the picture, the newest one last, for a map.

    Coordinates (y, x) of the probe array's pixel (0, 0) in object pixels of the scan, single precision, little-endian,
    then one byte of state per frame: 0 waiting, 1 in the picture, 2 settled. Empty where there are none.
    """
    arrays = _read_arrays(folder / POSITIONS, ("numbers", "positions_px", "state"))
    if arrays is None or any(array.dtype.kind not in "iuf" for array in arrays.values()):
        return b""
    numbers, positions, states = arrays.values()
    if states.dtype.kind == "f":
        return b""
    if numbers.ndim != 1 or positions.shape != (len(numbers), 2) or states.shape != numbers.shape or not len(numbers):
        return b""
    index = np.linspace(0, len(numbers) - 1, min(len(numbers), MAX_POSITIONS)).astype(int)
    newest = int(np.argmax(numbers))
    index = np.append(index[index != newest], newest)
    index = index[(np.abs(positions[index]) < MAX_POSITION_PX).all(1)]
    return positions[index].astype("<f4").tobytes() + states[index].astype(np.uint8).tobytes()


def _read_arrays(path: Path, names: Sequence[str]) -> dict[str, np.ndarray] | None:
    """Return arrays of an NPZ file; None where one is missing, or the file is damaged, too large or no regular one."""
    with contextlib.suppress(InputError, OSError, KeyError):
        if is_regular(path) and path.stat().st_size <= MAX_ARRAY_BYTES:
            archive = Archive(path, float(MAX_ARRAY_BYTES))
            return {name: archive[name] for name in names}
    return None


def _read_alerts(values: Any) -> list[dict[str, Any]]:
    entries = [as_mapping(value) for value in values[:MAX_LINES]] if isinstance(values, list) else []
    return [
        {
            "kind": _text(entry.get("kind")),
            "text": _text(entry.get("text")),
            "since_number": _count(entry.get("since_number")),
            "active": entry.get("active") is True,
        }
        for entry in entries
        if _text(entry.get("text"))
    ]


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) < 1e15 and math.isfinite(value) else None


def _count(value: Any) -> int | None:
    number = _number(value)
    return None if number is None or number < 0 else int(number)


def _text(value: Any) -> str:
    return value[:MAX_TEXT] if isinstance(value, str) else ""


def _texts(values: Any) -> list[str]:
    texts = [_text(value) for value in values[:MAX_LINES]] if isinstance(values, list) else []
    return [text for text in texts if text]


def positions_version(folder: Path) -> str:
    """Return a text that changes with the positions."""
    return digest([stamp_file(folder / POSITIONS)])
