"""Form of the frames of a scan: shape and number type, as the first frames decide, and the square that is spooled."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ptypinn.config.load import LoadConfig
from ptypinn.errors import InputError
from ptypinn.io.crop import Window, cut, window_of
from ptypinn.streams.messages import Frames
from ptypinn.utils.atomic_files import write_json

FORM = "form.json"
"""File of the spool with the form of its frames."""
DECIDING = 10
"""Frames of one kind that decide which kind the scan has: a stray one in front of it does not."""
Kind = tuple[tuple[int, ...], str]
"""Shape and number type of frames."""


@dataclass(frozen=True)
class FrameForm:
    """Common form of all frames of a scan."""

    kind: Kind
    """Shape and number type as the detector has them."""
    reading: LoadConfig
    """Reading options with the centre of the square that is cut out."""

    @property
    def window(self) -> Window | None:
        """The square that is cut out; None for whole frames."""
        return window_of("frames", self.kind[0], self.reading)

    def write(self, folder: Path) -> None:
        """Write the form to a spool: a later receiver cuts the same square."""
        (shape, dtype), centre = self.kind, self.reading.centre_px
        write_json(folder / FORM, {"shape": list(shape), "dtype": dtype, "centre_px": centre and list(centre)})

    @classmethod
    def read(cls, folder: Path, reading: LoadConfig) -> FrameForm | None:
        """Return the form of a spool; None where no frame has decided it."""
        with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError):
            record = json.loads((folder / FORM).read_text())
            centre = record["centre_px"] and tuple(record["centre_px"])
            return cls((tuple(record["shape"]), record["dtype"]), replace(reading, centre_px=centre))
        return None

    def join(self, parts: Sequence[Frames]) -> Frames:
        """Return blocks of this kind as one, cut to the square."""
        times = [np.full(len(part.numbers), np.nan) if part.times_s is None else part.times_s for part in parts]
        counts = np.concatenate([cut(part.counts, self.window) for part in parts])
        return Frames(np.concatenate([part.numbers for part in parts]), counts, np.concatenate(times))


def kind_of(frames: Frames) -> Kind:
    """Return shape and number type of frames."""
    return tuple(frames.counts.shape[1:]), frames.counts.dtype.str


def describe_kind(kind: Kind) -> str:
    """Return a kind for people.

    >>> describe_kind(((8, 9), "<u2"))
    '8 x 9 pixels of uint16'
    """
    return f"{' x '.join(map(str, kind[0]))} pixels of {np.dtype(kind[1])}"


def choose_kind(blocks: Sequence[Frames]) -> tuple[Kind, int]:
    """Return the kind that is the first with enough frames to decide, or has the most so far; and their number."""
    counts: dict[Kind, int] = {}
    for block in blocks:
        kind = kind_of(block)
        counts[kind] = counts.pop(kind, 0) + len(block.numbers)
        if counts[kind] >= DECIDING:
            return kind, counts[kind]
    best = max(reversed(counts), key=lambda kind: counts[kind])
    return best, counts[best]


def place_window(shape: tuple[int, ...], reading: LoadConfig, values: Mapping[str, Any]) -> tuple[LoadConfig, str]:
    """Return reading options with the centre that the scan states, where the options have none, and what is wrong.

    Args:
        shape: Shape of frames or mask.
        reading: Reading options.
        values: Facts about the scan.

    Raises:
        InputError: Where the square that the options ask for does not fit.
    """
    centre = values.get("beam_centre_px")
    if reading.centre_px is None and centre is not None and all(np.isfinite(centre)) and min(centre) > 0:
        located = replace(reading, centre_px=(round(float(centre[0])), round(float(centre[1]))))
        try:
            window_of("frames", shape, located)
        except InputError as error:
            window_of("frames", shape, reading)
            return reading, f"the beam centre of the source is left aside: {error}"
        return located, ""
    window_of("frames", shape, reading)
    return reading, ""
