"""DECTRIS Stream, version 2: one CBOR map per ZeroMQ message.

Source: https://github.com/dectris/documentation, `stream_v2` and `cbor/dectris-compression-tag.md`. A series has a
message of the type `start`, one of the type `image` per exposure, and one of the type `end`. Arrays are tagged: 40 for
a shape with its values, 64 to 87 for values of a number type (RFC 8746), 56500 for compressed ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cbor2
import numpy as np
from jaxtyping import Num

from ptypinn.streams.messages import End, Frames, Metadata
from ptypinn.streams.sources.cbor_items import require_few_items
from ptypinn.streams.sources.decode import (
    MalformedError,
    excerpt,
    is_finite,
    take_centre,
    take_real,
    take_shape,
    take_text,
    take_whole,
    unpack_array,
)
from ptypinn.streams.sources.dectris_v1 import ANGSTROM_EV, is_set
from ptypinn.streams.sources.series import InSeries

MAX_DEPTH = 24
"""Maximum depth of a message."""
SHAPED, PACKED = 40, 56500
TYPED = {
    tag: np.dtype(name)
    for tag, name in {
        **{64: "u1", 65: ">u2", 66: ">u4", 67: ">u8", 68: "u1", 69: "<u2", 70: "<u4", 71: "<u8"},
        **{72: "i1", 73: ">i2", 74: ">i4", 75: ">i8", 77: "<i2", 78: "<i4", 79: "<i8"},
        **{81: ">f4", 82: ">f8", 85: "<f4", 86: "<f8"},
    }.items()
}
"""Number types of typed arrays by their tags; those of half and quadruple precision are left out."""


def parse_v2(part: bytes, channel: str = "") -> InSeries:
    """Return the message of one ZeroMQ message, and its series.

    Args:
        part: The CBOR map.
        channel: Channel (threshold) of the frames; empty for the first.

    Raises:
        MalformedError: Where it is none of the protocol.
    """
    require_few_items(part)
    try:
        content = cbor2.loads(part, max_depth=MAX_DEPTH)
    except (cbor2.CBORDecodeError, RecursionError) as error:
        raise MalformedError("no CBOR") from error
    if not isinstance(content, dict):
        raise MalformedError("CBOR that is no map")
    kind, series = take_text(content, "type"), f"series {take_whole(content, 'series_id')}"
    if kind == "image":
        return InSeries(series, [_parse_image(content, channel)])
    if kind == "start":
        return InSeries(series, [Metadata(_parse_start(content, channel), series)], begins=True)
    if kind == "end":
        return InSeries(series, [End()])
    raise MalformedError(f"type {excerpt(kind)}")


def _parse_image(content: Mapping[str, Any], channel: str) -> Frames:
    number = take_whole(content, "image_id")
    counts = _unpack(_pick(content.get("data"), channel, number), number)
    start, stop = (_read_time(content.get(name), number) for name in ("start_time", "stop_time"))
    time_s = start if start is None or stop is None else (start + stop) / 2
    return Frames(np.array([number]), counts[np.newaxis], None if time_s is None else np.array([time_s]))


def _pick(data: Any, channel: str, number: int | None) -> Any:
    """Return the array of a channel, or of the first."""
    if not isinstance(data, dict) or not data:
        raise MalformedError(f"data {excerpt(data)}, no map of channels", number)
    name = channel or next(iter(data))
    if name not in data:
        raise MalformedError(f"no channel {excerpt(name)}", number)
    return data[name]


def _unpack(value: Any, number: int | None) -> Num[np.ndarray, "y x"]:
    """Return the values of a tagged array of two axes."""
    shape, values = _untag(value, SHAPED, 2, number)
    edges = take_shape(shape, (2,), number)
    dtype = TYPED.get(values.tag) if isinstance(values, cbor2.CBORTag) else None
    if dtype is None:
        raise MalformedError(f"values of the tag {excerpt(getattr(values, 'tag', None))}", number)
    blob, encoding = values.value, "none"
    if isinstance(blob, cbor2.CBORTag):
        encoding, itemsize, blob = _untag(blob, PACKED, 3, number)
        if encoding == "bslz4" and itemsize != dtype.itemsize:
            raise MalformedError(f"elements of {excerpt(itemsize)} bytes for {dtype}", number)
    if not isinstance(blob, bytes) or not isinstance(encoding, str) or encoding == "lz4-block":
        raise MalformedError("an array without bytes", number)
    return unpack_array(blob, dtype, edges, encoding, number)


def _untag(value: Any, tag: int, parts: int, number: int | None) -> list[Any]:
    if not isinstance(value, cbor2.CBORTag) or value.tag != tag:
        raise MalformedError(f"no value of the tag {tag}", number)
    content = value.value
    if not isinstance(content, list | tuple) or len(content) != parts:
        raise MalformedError(f"a value of the tag {tag} without its {parts} parts", number)
    return list(content)


def _read_time(value: Any, number: int) -> float | None:
    """Return the seconds of a rational number; None without one."""
    if value is None:
        return None
    if not isinstance(value, list | tuple) or len(value) != 2 or any(type(each) is not int for each in value):
        raise MalformedError(f"time {excerpt(value)}, no rational number", number)
    if not value[1] or not all(is_finite(each) for each in value):
        raise MalformedError(f"time {excerpt(value)}, no rational number", number)
    return float(value[0] / value[1])


def _parse_start(content: Mapping[str, Any], channel: str) -> dict[str, Any]:
    wavelength = take_real(content, "incident_wavelength")
    translation = content.get("detector_translation")
    values: dict[str, Any] = {
        "energy_eV": take_real(content, "incident_energy") or (ANGSTROM_EV / wavelength if wavelength else None),
        "detector_distance_m": _read_distance(translation),
        "detector_pixel_m": take_real(content, "pixel_size_x") or take_real(content, "pixel_size_y"),
        "n_frames": take_whole(content, "number_of_images") if "number_of_images" in content else None,
        "beam_centre_px": take_centre(content, "beam_center_y", "beam_center_x"),
        "mask": _unpack(_pick(masks, channel, None), None) == 0 if (masks := content.get("pixel_mask")) else None,
    }
    return {name: value for name, value in values.items() if value is not None and is_set(value)}


def _read_distance(translation: Any) -> float | None:
    """Return the distance of the detector along the beam, metres, from its translation (x, y, z)."""
    if not isinstance(translation, list | tuple) or len(translation) != 3:
        return None
    distance = take_real({"detector_translation": translation[2]}, "detector_translation")
    return None if distance is None else abs(distance)
