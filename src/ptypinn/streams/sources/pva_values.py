"""Values of EPICS PV Access: images (NTNDArray) and positions (NTNDArray, NTScalarArray, NTTable).

Source: https://docs.epics-controls.org/en/latest/pv-access/Normative-Types-Specification.html, and for compressed
images ADCore, `ntndArrayConverter.cpp` and `NDPluginCodec.cpp`: their bytes have no header, and `codec.parameters` is
the number of the scalar type. Functions take anything with values by name, as a `p4p.Value` or a dictionary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Num

from ptypinn.streams.messages import Frames, Message, Positions
from ptypinn.streams.sources.decode import (
    MAX_NUMBER,
    MalformedError,
    excerpt,
    is_finite,
    take_dtype,
    take_list,
    take_shape,
    unpack_array,
)

SCALARS = dict(enumerate(["", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"])) | {
    9: "float32",
    10: "float64",
}
"""Names of the scalar types of pvData by their numbers."""
CODECS = {"": "none", "lz4": "lz4-block", "bslz4": "bslz4-block"}
NUMBERS = ("number", "uniqueId", "index")
"""Columns of a table of positions that name the frame of each row."""


@runtime_checkable
class Structure(Protocol):
    """Values by name."""

    def get(self, name: str, default: Any = None) -> Any:
        """Return a value, or the default."""


def parse_image(value: Structure, first: int = 0, axes: Sequence[str] = (), factor: float = 1.0) -> list[Message]:
    """Return the frame of an NTNDArray, and its position where attributes hold it.

    Args:
        value: The structure.
        first: `uniqueId` of the first frame of the scan, which has the number 0.
        axes: Names of the attributes with y and x; empty for none.
        factor: Metres of the unit of these.

    Raises:
        MalformedError: Where it is no image, or its codec is not one of lz4 and bslz4.
    """
    number = read_number(value, first)
    numbers = np.array([number])
    counts = _read_counts(value, number)
    time_s = read_time(value)
    messages: list[Message] = [Frames(numbers, counts[np.newaxis], None if time_s is None else np.array([time_s]))]
    if axes:
        attributes = {each.get("name"): each.get("value") for each in value.get("attribute", ()) or ()}
        for name in axes:
            if name not in attributes:
                raise MalformedError(f"no attribute {excerpt(name)}", number)
        place = take_list([_plain(attributes[name]) for name in axes], "position", np.float64, number=number)
        messages.append(Positions(place[np.newaxis] * factor, numbers))
    return messages


def read_number(value: Structure, first: int) -> int:
    """Return the number of an image by its `uniqueId`."""
    unique = _plain(value.get("uniqueId"))
    if type(unique) is not int or not 0 <= unique - first < MAX_NUMBER:
        raise MalformedError(f"uniqueId {excerpt(unique)}, no number of a frame from {first} on")
    return unique - first


def read_time(value: Structure) -> float | None:
    """Return the seconds of the exposure, or else of the message; None where neither is set."""
    for name in ("dataTimeStamp", "timeStamp"):
        stamp = value.get(name)
        seconds, rest = (_plain(stamp.get(part)) for part in ("secondsPastEpoch", "nanoseconds")) if stamp else (0, 0)
        if type(seconds) is int and type(rest) is int and seconds > 0 and is_finite(seconds):
            return seconds + rest * 1e-9
    return None


def _read_counts(value: Structure, number: int) -> Num[np.ndarray, "y x"]:
    data = value.get("value")
    if not isinstance(data, np.ndarray) or data.ndim != 1 or data.dtype.kind not in "uif":
        raise MalformedError("an image without numbers", number)
    edges = [_plain(each.get("size")) for each in value.get("dimension", ()) or ()]
    shape = take_shape(edges[::-1], (2,), number)
    codec = value.get("codec")
    name = (codec.get("name") or "") if codec else ""
    if name not in CODECS:
        raise MalformedError(f"unsupported codec {excerpt(name)}; of those lz4 and bslz4 are read", number)
    if not name:
        if len(data) != math.prod(shape):
            raise MalformedError(f"{len(data)} values for shape {excerpt(list(shape))}", number)
        return data.reshape(shape)
    dtype = take_dtype(SCALARS.get(_plain(codec.get("parameters"))), number)
    return unpack_array(data.tobytes(), dtype, shape, CODECS[name], number)


def parse_positions(value: Structure, first: int = 0, factor: float = 1.0) -> Positions:
    """Return the positions of a PV.

    A table has the columns y and x, and `number` or `uniqueId` where its rows are not those of the frames in order. An
    array holds y, x of every frame in order; one of two values is the position at its time, or, as an NTNDArray, that
    of the frame with its `uniqueId`.

    Args:
        value: The structure.
        first: `uniqueId` of the first frame of the scan.
        factor: Metres of the unit of the values.

    Raises:
        MalformedError: Where it is none of these.
    """
    content = value.get("value")
    if not isinstance(content, np.ndarray | list | tuple) and hasattr(content, "get"):
        return _parse_table(content, first, factor)
    places = take_list(content, "positions", np.float64)
    if not len(places) or len(places) % 2:
        raise MalformedError(f"{len(places)} values, no pairs y, x")
    places = places.reshape(-1, 2) * factor
    if len(places) > 1:
        return Positions(places, np.arange(len(places)))
    if value.get("uniqueId") is not None:
        return Positions(places, np.array([read_number(value, first)]))
    time_s = read_time(value)
    if time_s is None:
        raise MalformedError("a position without a time")
    return Positions(places, None, np.array([time_s]))


def _parse_table(columns: Structure, first: int, factor: float) -> Positions:
    y, x = (take_list(columns.get(name), f"column {name}", np.float64) for name in "yx")
    if len(y) != len(x):
        raise MalformedError(f"{len(y)} values of y and {len(x)} of x")
    places = np.stack([y, x], axis=1) * factor
    for name in NUMBERS:
        if (content := columns.get(name)) is not None and len(content):
            numbers = take_list(content, name, np.int64) - (first if name == "uniqueId" else 0)
            if len(numbers) != len(places) or numbers.min() < 0:
                raise MalformedError(f"column {name} of {len(numbers)} for {len(places)} positions, from {first} on")
            return Positions(places, numbers)
    return Positions(places, np.arange(len(places)))


def _plain(value: Any) -> Any:
    """Return a number of NumPy as one of Python, and an array of one number as that."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(())[()]
    return value.item() if isinstance(value, np.generic) else value
