"""State of a live reconstruction in files that a page shows: `live.json` and the arrays beside it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from ptypinn.data.ranges import list_ranges
from ptypinn.utils.atomic_files import atomic_path, write_json
from ptypinn.utils.plain_values import to_plain

STATUS, NEWEST, POSITIONS = "live.json", "newest_pattern.npz", "live_positions.npz"
GOOD_MISFIT, FAIR_MISFIT = 1.1, 1.3
"""Residuals over counting noise up to which the picture explains the frames, and up to which it does so mostly."""

LEFT_OUT = {"no_counts": "no counts", "dark": "no beam", "stray": "far from all others"}
"""Reasons why frames never enter the picture, in words."""


@dataclass
class LiveStatus:
    """Content of the files, and the times that rates are measured by.

    Args:
        folder: The run folder.
        source: Address of the source.
    """

    folder: Path
    source: str
    state: str = "waiting"
    """`waiting`, `receiving`, `finishing`, `finished`, `failed` or `stopped`."""
    frames: dict[str, Any] = field(default_factory=dict)
    quality: dict[str, Any] = field(default_factory=dict)
    mode: tuple[str, str] = ("full", "")
    """Effort of the solver, and a sentence where it is reduced."""
    alerts: Sequence[Mapping[str, Any]] = ()
    newest_pattern: int | None = None
    delay_s: float = 0.0
    """Time that the first frame that is not in the picture has waited, seconds."""
    started_s: float = field(default_factory=time.time)
    _solved: list[tuple[float, int]] = field(default_factory=list)

    def write(self, received_hz: float = 0.0) -> None:
        """Write `live.json`."""
        now_s = time.time()
        record = {
            "state": self.state,
            "source": self.source,
            "started": _format(self.started_s),
            "updated": _format(now_s),
            "updated_s": now_s,
            "elapsed_s": now_s - self.started_s,
            "frames": self.frames,
            "rates_hz": {"received": received_hz, "solved": self._solved_rate(now_s)},
            "backlog": {"frames": self.n_waiting, "delay_s": self.delay_s},
            "mode": self.mode[0],
            "mode_text": self.mode[1],
            "quality": self.quality,
            "verdict": judge(self.quality, self.frames, self.alerts, self.mode[1]),
            "alerts": list(self.alerts),
            "newest_pattern": {} if self.newest_pattern is None else {"number": self.newest_pattern},
        }
        write_json(self.folder / STATUS, to_plain(record))

    @property
    def n_waiting(self) -> int:
        """Frames with a position that are not in the picture and will be."""
        joined, *done = (int(self.frames.get(name) or 0) for name in ("joined", "solved", "left_out"))
        return max(0, joined - sum(done))

    def _solved_rate(self, now_s: float) -> float:
        """Return the frames per second that came into the picture within the last seconds."""
        self._solved.append((now_s, int(self.frames.get("solved", 0))))
        while len(self._solved) > 2 and self._solved[0][0] < now_s - 3.0:
            self._solved.pop(0)
        (start_s, before), (end_s, after) = self._solved[0], self._solved[-1]
        return (after - before) / max(end_s - start_s, 1e-3)


def write_newest(folder: Path, number: int, measured: np.ndarray, predicted: np.ndarray, mask: np.ndarray) -> None:
    """Write the newest pattern beside its prediction, counts."""
    with atomic_path(folder / NEWEST) as temporary, temporary.open("wb") as stream:
        np.savez(stream, number=number, measured=measured, predicted=predicted.astype(np.float32), mask=mask)


def write_positions(folder: Path, numbers: np.ndarray, positions_px: np.ndarray, states: np.ndarray) -> None:
    """Write where the frames lie on the sample, and which of them are in the picture."""
    with atomic_path(folder / POSITIONS) as temporary, temporary.open("wb") as stream:
        np.savez(stream, numbers=numbers, positions_px=positions_px, state=states.astype(np.uint8))


def count_frames(
    record: Mapping[str, Any], losses: Mapping[str, Sequence[int]], left_out: Mapping[str, Sequence[int]]
) -> dict[str, Any]:
    """Return the numbers of frames for `live.json`.

    Args:
        record: State of the receiver, with the frames of the whole scan.
        losses: Frame numbers by the keys of `data.reception.LOSSES`.
        left_out: Numbers of the frames that have a position and never enter the picture, by the keys of `LEFT_OUT`.
    """
    names = "received", "spooled", "repeated", "rejected", "newest"
    return {
        "expected": record.get("n_frames"),
        **{name: record.get(name) for name in names},
        "missing": list_ranges(losses["missing"]),
        "n_missing": len(losses["missing"]),
        "dropped": len(losses["dropped"]),
        "without_position": len(losses["without_position"]),
        "left_out": sum(map(len, left_out.values())),
        "left_out_text": "; ".join(
            f"{words}: {list_ranges(left_out[name])}" for name, words in LEFT_OUT.items() if left_out.get(name)
        ),
    }


def judge(
    quality: Mapping[str, Any], frames: Mapping[str, Any], alerts: Sequence[Mapping[str, Any]], reduced: str
) -> dict[str, Any]:
    """Return the verdict on a picture in progress, a sentence and its reasons.

    >>> judge({"misfit": 1.02}, {"solved": 400}, (), "")["text"]
    'The picture explains the frames to their counting noise.'
    """
    misfit, reasons = quality.get("misfit"), [str(alert["text"]) for alert in alerts if alert.get("active")]
    if alone := frames.get("model_alone"):
        reasons.append(
            f"{alone} frames are shown by the trained model alone, which was not compared with their counts."
        )
    if not frames.get("solved") or misfit is None:
        text = "The picture so far is that of the trained model alone." if alone else "No picture yet."
        return {"text": text, "reasons": reasons}
    share = f"What the picture leaves is {misfit:.2f} times the counting noise."
    if misfit <= GOOD_MISFIT:
        text = "The picture explains the frames to their counting noise."
    elif misfit <= FAIR_MISFIT:
        text, reasons = "The picture explains the frames mostly.", [*reasons, share]
    else:
        text, reasons = "The picture does not explain the frames yet.", [*reasons, share]
    if reduced:
        reasons.append(reduced)
    if frames.get("dropped"):
        reasons.append(f"{frames['dropped']} frames were dropped.")
    if frames.get("n_missing"):
        reasons.append(f"{frames['n_missing']} frames have not come: {frames['missing']}.")
    if frames.get("left_out"):
        reasons.append(f"{frames['left_out']} frames are left out of the picture ({frames['left_out_text']}).")
    if any(alert.get("active") for alert in alerts):
        text = "Look at the experiment: " + text[0].lower() + text[1:]
    return {"text": text, "reasons": reasons}


def _format(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="milliseconds")
