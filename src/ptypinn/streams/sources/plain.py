"""Plain ZeroMQ messages: a JSON header and, of some kinds, one binary part. Anything that speaks ZeroMQ can send them.

The header is an object with the name of its kind in `htype`:

- `start`: what is stated about the scan, all optional: `name`, `n_frames`, `energy_eV`, `detector_distance_m`,
  `detector_pixel_m`, `particle` (`photon` or `electron`), `beam_centre_px` (`[row, column]` of the direct beam). A
  second part may hold a mask, one byte per pixel, not 0 for good ones; the header has its `shape` then, `[rows,
  columns]`.
- `frame`: `number` (from 0), `dtype` (`uint8` to `uint64`, `int8` to `int64`, `float32`, `float64`; little-endian),
  `shape` (`[rows, columns]`), `compression` (`none` by default; `lz4` or `bslz4` with the header of the HDF5 filters),
  optionally `time_s` (the exposure by the clock of the detector) and `positions_m` (`[y, x]` of the beam on the
  sample). The second part holds the values. A block of frames has the `shape` `[frames, rows, columns]`, `numbers` or
  else consecutive ones from `number` on, and lists `times_s` and `positions_m`.
- `positions`: `positions_m`, a list of `[y, x]`, with `numbers` of the frames, or `times_s` by the clock of an encoder.
  Many positions may come as a second part instead, float64 `(positions, 2)`, with their count as `shape`
  (`[positions, 2]`). Instead of `positions_m`, `positions` has them in the unit that `unit` names, or else in that of
  the options of the source.
- `end`: the scan is over; `n_frames` optionally.

A header may name its scan in `series`, a text or a number; another one than before begins the next scan.

>>> import json, numpy as np
>>> header = {"htype": "frame", "number": 7, "dtype": "uint16", "shape": [2, 2]}
>>> parse_plain([json.dumps(header).encode(), np.arange(4, dtype="<u2").tobytes()]).messages[0].counts.tolist()
[[[0, 1], [2, 3]]]
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ptypinn.io.units import length_in_m
from ptypinn.streams.messages import End, Frames, Message, Metadata, Positions
from ptypinn.streams.sources.decode import (
    DTYPES,
    MalformedError,
    excerpt,
    parse_json,
    take_dtype,
    take_list,
    take_real,
    take_shape,
    take_text,
    take_whole,
    unpack_array,
)
from ptypinn.streams.sources.series import InSeries

NUMBERS = ("energy_eV", "detector_distance_m", "detector_pixel_m")
LITTLE_ENDIAN = {name: dtype.newbyteorder("<") for name, dtype in DTYPES.items()}
MAX_FRAMES = 1 << 16
"""Maximum number of frames of a block."""


def parse_plain(parts: Sequence[bytes], unit: str = "m") -> InSeries:
    """Return the messages of the parts of one ZeroMQ message.

    Args:
        parts: The header, and the binary part of some kinds.
        unit: Unit of `positions` whose message states none.

    Raises:
        MalformedError: Where they are none of the protocol.
    """
    head = parse_json(parts[0]) if parts else {}
    kind, series = take_text(head, "htype"), _read_series(head)
    if kind == "frame":
        return InSeries(series, _parse_frames(head, parts, unit))
    if kind == "positions":
        return InSeries(series, [_parse_positions(head, parts, unit)])
    if kind == "start":
        return InSeries(series, [_parse_start(head, parts, series)], begins=True)
    if kind == "end":
        return InSeries(series, [End(take_whole(head, "n_frames") if "n_frames" in head else None)])
    raise MalformedError(f"htype {excerpt(kind)}")


def _read_series(head: Mapping[str, Any]) -> str:
    value = head.get("series", "")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise MalformedError(f"series {excerpt(value)}")
    return value[:80] if isinstance(value, str) else f"series {take_whole(head, 'series')}"


def _parse_frames(head: dict[str, Any], parts: Sequence[bytes], unit: str) -> list[Message]:
    first = take_whole(head, "number") if "number" in head else None
    shape = take_shape(head.get("shape"), (2, 3), first)
    frames = shape[0] if len(shape) == 3 else 1
    if frames > MAX_FRAMES or len(parts) < 2:
        raise MalformedError(f"{frames} frames in {len(parts)} parts", first)
    numbers = _read_numbers(head, first, frames)
    encoding = take_text(head, "compression", first) if "compression" in head else "none"
    if encoding == "lz4-block":
        raise MalformedError(f"unknown compression {encoding}", first)
    dtype = take_dtype(head.get("dtype"), first, LITTLE_ENDIAN)
    counts = unpack_array(parts[1], dtype, shape, encoding, first).reshape(-1, *shape[-2:])
    messages: list[Message] = [Frames(numbers, counts, _read_times(head, frames, first))]
    if "positions_m" in head or "positions" in head:
        messages.append(Positions(_read_coordinates(head, parts[:1], unit, frames, first), numbers))
    return messages


def _read_numbers(head: Mapping[str, Any], first: int | None, count: int) -> np.ndarray:
    if "numbers" in head:
        numbers = take_list(head["numbers"], "numbers", np.int64, number=first)
        if len(numbers) != count:
            raise MalformedError(f"{len(numbers)} numbers of {count} entries", first)
        return numbers
    if first is None:
        raise MalformedError("neither number nor numbers")
    return np.arange(first, first + count)


def _read_times(head: Mapping[str, Any], count: int, number: int | None) -> np.ndarray | None:
    if (one := take_real(head, "time_s", number)) is not None and count == 1:
        return np.array([one])
    if "times_s" not in head:
        return None
    times = take_list(head["times_s"], "times_s", np.float64, number=number)
    if len(times) != count:
        raise MalformedError(f"{len(times)} times of {count} entries", number)
    return times


def _parse_positions(head: dict[str, Any], parts: Sequence[bytes], unit: str) -> Positions:
    places = _read_coordinates(head, parts, unit)
    if "number" in head or "numbers" in head:
        first = take_whole(head, "number") if "number" in head else None
        return Positions(places, _read_numbers(head, first, len(places)))
    times = _read_times(head, len(places), None)
    if times is None:
        raise MalformedError("positions without numbers or times")
    return Positions(places, None, times)


def _read_coordinates(
    head: Mapping[str, Any], parts: Sequence[bytes], unit: str, count: int | None = None, number: int | None = None
) -> np.ndarray:
    """Return positions (y, x) in metres, one line each."""
    name = "positions_m" if "positions_m" in head else "positions"
    unit = "m" if name == "positions_m" else head.get("unit", unit)
    factor = length_in_m(unit) if isinstance(unit, str) else None
    if factor is None:
        raise MalformedError(f"unit {excerpt(unit)}", number)
    if len(parts) > 1 and name not in head:
        shape = take_shape(head.get("shape"), (2,), number)
        places = unpack_array(parts[1], np.dtype("<f8"), shape, "none", number)
    else:
        values = head.get(name)
        is_one = isinstance(values, list) and len(values) == 2 and not isinstance(values[0], list)
        places = take_list([values] if is_one else values, name, np.float64, 2, number)
    if places.shape[1:] != (2,) or not np.isfinite(places).all() or (count is not None and len(places) != count):
        raise MalformedError(f"{name} of the shape {excerpt(list(places.shape))}, or not finite", number)
    return places * factor


def _parse_start(head: dict[str, Any], parts: Sequence[bytes], series: str) -> Metadata:
    values: dict[str, Any] = {name: take_real(head, name) for name in NUMBERS}
    if any(value is not None and value <= 0 for value in values.values()):
        raise MalformedError("energy, distance or detector pixel that is not positive")
    if "n_frames" in head:
        values["n_frames"] = take_whole(head, "n_frames")
    if "particle" in head:
        values["particle"] = take_text(head, "particle")
        if values["particle"] not in ("photon", "electron"):
            raise MalformedError(f"particle {excerpt(values['particle'])}")
    if "beam_centre_px" in head:
        centre = take_list(head["beam_centre_px"], "beam_centre_px", np.float64)
        if len(centre) != 2:
            raise MalformedError(f"beam_centre_px of {len(centre)} numbers")
        values["beam_centre_px"] = tuple(centre.tolist())
    if len(parts) > 1:
        shape = take_shape(head.get("shape"), (2,))
        values["mask"] = unpack_array(parts[1], np.dtype("u1"), (math.prod(shape),), "none").reshape(shape) != 0
    name = take_text(head, "name")[:200] if "name" in head else series
    return Metadata({name: value for name, value in values.items() if value is not None}, name)
