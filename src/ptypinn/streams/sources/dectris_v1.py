"""DECTRIS Stream, version 1: ZeroMQ messages of JSON and binary parts (SIMPLON API 1.8, stream interface).

A series begins with a header (`dheader-1.0`, with the configuration where its detail is `basic` or `all`), has a
message of four parts per image (`dimage-1.0`, `dimage_d-1.0`, data, `dconfig-1.0`), and ends with `dseries_end-1.0`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ptypinn.streams.messages import End, Frames, Metadata
from ptypinn.streams.sources.decode import (
    DTYPES,
    MalformedError,
    excerpt,
    parse_json,
    take_centre,
    take_dtype,
    take_real,
    take_shape,
    take_text,
    take_whole,
    unpack_array,
)
from ptypinn.streams.sources.series import InSeries

ENCODING = re.compile(r"(?:bs(?P<bits>8|16|32|64)-?)?(?P<lz4>lz4)?(?P<order>[<>])")
NS = 1e-9
ANGSTROM_EV = 12398.419843320026
"""Planck's constant times the speed of light, electron volts times angstroms."""


def parse_v1(parts: Sequence[bytes]) -> InSeries:
    """Return the message of the parts of one ZeroMQ message, and its series.

    Raises:
        MalformedError: Where the parts are none of the protocol.
    """
    head = parse_json(parts[0]) if parts else {}
    kind = take_text(head, "htype")
    series = f"series {take_whole(head, 'series')}"
    if kind.startswith("dimage-"):
        return InSeries(series, [_parse_image(head, parts)])
    if kind.startswith("dheader-"):
        return InSeries(series, [_parse_header(series, parts)], begins=True)
    if kind.startswith("dseries_end-"):
        return InSeries(series, [End()])
    raise MalformedError(f"htype {excerpt(kind)}")


def _parse_image(head: dict[str, Any], parts: Sequence[bytes]) -> Frames:
    number = take_whole(head, "frame")
    if len(parts) < 3:
        raise MalformedError(f"an image of {len(parts)} parts", number)
    form = parse_json(parts[1])
    width, height = take_shape(form.get("shape"), (2,), number)
    dtype, encoding = _read_encoding(form, number)
    counts = unpack_array(parts[2], dtype, (height, width), encoding, number)
    time_s = _read_time(parse_json(parts[3]), number) if len(parts) > 3 else None
    return Frames(np.array([number]), counts[np.newaxis], None if time_s is None else np.array([time_s]))


def _read_encoding(form: dict[str, Any], number: int | None) -> tuple[np.dtype[Any], str]:
    """Return the number type of the data, and how they are packed: data of Bitshuffle alone have a header."""
    dtype, text = take_dtype(form.get("type"), number), take_text(form, "encoding", number)
    match = ENCODING.fullmatch(text)
    if match is None or (match["bits"] and not match["lz4"]):
        raise MalformedError(f"unknown compression {excerpt(text)}", number)
    if match["bits"] and int(match["bits"]) != 8 * dtype.itemsize:
        raise MalformedError(f"encoding {excerpt(text)} of {dtype}", number)
    packing = "bslz4" if match["bits"] else "lz4-block" if match["lz4"] else "none"
    return dtype.newbyteorder("<" if match["order"] == "<" else ">"), packing


def _read_time(config: dict[str, Any], number: int) -> float | None:
    """Return the middle of an exposure, seconds from the start of the series."""
    start, stop = (take_real(config, name, number) for name in ("start_time", "stop_time"))
    return None if start is None else NS * (start if stop is None else (start + stop) / 2)


def _parse_header(series: str, parts: Sequence[bytes]) -> Metadata:
    config = parse_json(parts[1]) if len(parts) > 1 and parts[1][:1] == b"{" else {}
    values: dict[str, Any] = {
        "energy_eV": _read_energy(config),
        "detector_distance_m": take_real(config, "detector_distance"),
        "detector_pixel_m": take_real(config, "x_pixel_size") or take_real(config, "y_pixel_size"),
        "n_frames": _read_count(config),
        "mask": _read_mask(parts),
        "beam_centre_px": take_centre(config, "beam_center_y", "beam_center_x"),
    }
    return Metadata({name: value for name, value in values.items() if value is not None and is_set(value)}, series)


def is_set(value: Any) -> bool:
    """Return False for the 0 that stands for an unknown number."""
    return isinstance(value, np.ndarray | tuple) or value > 0


def _read_energy(config: dict[str, Any]) -> float | None:
    wavelength = take_real(config, "wavelength")
    return take_real(config, "photon_energy") or (ANGSTROM_EV / wavelength if wavelength else None)


def _read_count(config: dict[str, Any]) -> int | None:
    if "nimages" not in config:
        return None
    return take_whole(config, "nimages") * (take_whole(config, "ntrigger") if "ntrigger" in config else 1)


def _read_mask(parts: Sequence[bytes]) -> np.ndarray | None:
    """Return the good pixels of a header in full detail; None without. Its other tables are left aside."""
    for part, blob in itertools.pairwise(parts[2:]):
        if b"dpixelmask-" in part[:256] and part[:1] == b"{":
            form = parse_json(part)
            width, height = take_shape(form.get("shape"), (2,))
            return unpack_array(blob, take_dtype(form.get("type"), None, DTYPES), (height, width), "none") == 0
    return None
