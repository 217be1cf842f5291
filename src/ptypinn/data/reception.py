"""The record of how the frames of a scan were received while it was measured, and what of them was lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ptypinn.data.ranges import format_ranges, list_ranges, read_ranges

RECEPTION = "reception"
"""Key of the record in the provenance of a scan."""
LOSSES = {
    "missing": ("has not come", "have not come"),
    "dropped": (
        "was dropped, because the disk or the receiver could not keep up",
        "were dropped, because the disk or the receiver could not keep up",
    ),
    "without_position": ("has no position", "have no position"),
    "no_counts": ("holds values that are no counts", "hold values that are no counts"),
}
"""Losses by their keys in the record, in words for one frame and for several."""


def record_reception(
    source: str,
    losses: Mapping[str, Sequence[int]],
    *,
    received: Sequence[int],
    repeated: int,
    rejected: int,
    suggested_offset: int | None = None,
) -> dict[str, Any]:
    """Return the record of a reception: texts and numbers.

    Args:
        source: Address of the source.
        losses: Frame numbers, ascending, by the keys of `LOSSES`.
        received: Numbers of the frames of the scan, ascending.
        repeated: Frames that came again.
        rejected: Messages that could not be understood.
        suggested_offset: Number of frames less that of positions, where they seem to count from different starts.
    """
    lost = {
        name: {"count": len(losses[name]), "frames": format_ranges(losses[name])} for name in LOSSES if losses.get(name)
    }
    record = {"source": source, "frames": format_ranges(received), "repeated": repeated, "rejected": rejected, **lost}
    return record if suggested_offset is None else {**record, "suggested_offset": suggested_offset}


def describe_reception(record: Mapping[str, Any]) -> list[str]:
    """Return sentences on what of a scan was lost while it was received, with the numbers of the frames.

    >>> describe_reception(record_reception("s", {"missing": [4, 5, 9]}, received=[1], repeated=0, rejected=0))
    ['3 frames have not come: 4, 5 and 9.']
    """
    sentences = []
    for name, (one, several) in LOSSES.items():
        entry = record.get(name)
        if isinstance(entry, Mapping):
            words = one if entry.get("count") == 1 else several
            noun = "frame" if entry.get("count") == 1 else "frames"
            numbers = list_ranges(read_ranges(str(entry.get("frames"))))
            sentences.append(f"{entry.get('count')} {noun} {words}: {numbers}.")
    if offset := record.get("suggested_offset"):
        sentences.append(
            f"Position 0 has no frame, and the last frame no position: frames seem to count from {offset}, and every "
            f"position to belong to the frame after; --position-offset {offset} joins them so."
        )
    if record.get("rejected"):
        sentences.append(f"{record['rejected']} messages of the source could not be understood.")
    return sentences
