"""What limits a scenario, in words, where the runs show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ptypinn.typed import text

TWIN = (
    "gs1_ideal reaches a correlation of {own:.3f} where {better} reaches {other:.3f}. Its probe is real and symmetric, "
    "and it sees one pattern at a time: an object and its conjugate mirrored through the probe's centre make the same "
    "pattern there, so that a network cannot tell which of the two it sees. Neighbouring patterns (gs2_ideal) or the "
    "curvature of a real beam (gs1_custom) break the tie."
)
CLEAR_GAIN = 0.01
"""Correlation that another scenario must have more, before anything is said."""


def limits_of(rows: Sequence[Mapping[str, Any]], records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Sentences about what limits the runs: those that their records hold, else what their figures show.

    Args:
        rows: Summaries of the runs.
        records: Their `run_metadata.json`, in the same order.
    """
    noted: dict[str, list[str]] = {}
    for row, record in zip(rows, records, strict=True):
        for note in _noted(record):
            noted.setdefault(note, []).append(row["run"])
    return [f"{', '.join(runs)}: {note}" for note, runs in noted.items()] or _shown(rows)


def _noted(record: Mapping[str, Any]) -> list[str]:
    notes = record.get("limits") or record.get("limitation") or []
    notes = [notes] if isinstance(notes, str) else notes if isinstance(notes, list) else []
    return [note for note in map(text, notes) if note]


def _shown(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    best: dict[str, float] = {}
    for row in rows:
        if row.get("pearson_r_amplitude") is not None:
            best[row["scenario"]] = max(row["pearson_r_amplitude"], best.get(row["scenario"], -1.0))
    own = best.pop("gs1_ideal", None)
    others = {name: value for name, value in best.items() if name in ("gs2_ideal", "gs1_custom")}
    if own is None or not others:
        return []
    better = max(others, key=lambda name: others[name])
    return [TWIN.format(own=own, better=better, other=others[better])] if others[better] > own + CLEAR_GAIN else []
