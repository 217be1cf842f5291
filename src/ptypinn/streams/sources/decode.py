"""Parts of messages from outside, checked before they are believed: numbers, texts, JSON, and arrays of a stated shape.

Nothing is allocated by what a message declares before it agrees with what the message holds.
"""

from __future__ import annotations

import functools
import json
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Num

from ptypinn.streams.messages import Message, Rejected

MAX_ARRAY_BYTES = 1 << 28
"""Maximum size of a frame or another array of a message."""
MAX_HEADER_BYTES = 1 << 22
"""Maximum size of a JSON part, which may list positions."""
MAX_EDGE = 1e6
"""Detectors have fewer rows and columns."""
MAX_NUMBER = 2**53
"""Frame numbers lie below."""
MAX_EXPANSION = 256
"""LZ4 expands by at most 255 (https://github.com/lz4/lz4, block format)."""
MAX_REASON = 160
"""Characters of a reason."""
BITSHUFFLE_BLOCK = 8192
"""Bytes of a block of Bitshuffle by default (https://github.com/kiyo-masui/bitshuffle, `bshuf_default_block_size`)."""
SIZES = struct.Struct(">QII")
"""Uncompressed bytes, bytes of a block, and bytes of the first block, as the HDF5 filter of LZ4 has them."""
TYPE_NAMES = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float32", "float64")
DTYPES: dict[str, np.dtype[Any]] = {name: np.dtype(name) for name in TYPE_NAMES}
"""Number types of frames."""
Scalar = int | float


class MalformedError(Exception):
    """A message that cannot be understood.

    Args:
        reason: Cause in a few words, without the content of the message beyond a short excerpt.
        number: Frame that it is about, where that could be read.
    """

    def __init__(self, reason: str, number: int | None = None) -> None:
        super().__init__(reason)
        self.number = number


def understand(parse: Callable[[Any], Sequence[Message]], content: Any) -> Sequence[Message]:
    """Return the messages of a content from outside, `Rejected` for one that cannot be parsed, whatever is wrong.

    Args:
        parse: Parser, which raises `MalformedError` for what it expects to go wrong.
        content: What it takes.
    """
    try:
        return parse(content)
    except MalformedError as error:
        return [Rejected(shorten(str(error)), error.number)]
    except Exception as error:  # whatever a library says to bytes from outside; one message is not worth the stream
        return [Rejected(shorten(f"{type(error).__name__}: {error}"))]


def shorten(text: str) -> str:
    """Return the beginning of a text, in one line of printable characters."""
    line = " ".join(text[: 2 * MAX_REASON].split())
    return "".join(letter if letter.isprintable() else "?" for letter in line)[:MAX_REASON]


def parse_json(part: bytes) -> dict[str, Any]:
    """Return the object of a JSON part.

    Raises:
        MalformedError: Where it is none, too large or too deep.
    """
    if len(part) > MAX_HEADER_BYTES:
        raise MalformedError(f"a header of {len(part)} bytes")
    try:
        content = json.loads(part)
    except RecursionError as error:
        raise MalformedError("a header that is nested too deeply") from error
    except ValueError as error:
        raise MalformedError("a header that is no JSON") from error
    if not isinstance(content, dict):
        raise MalformedError("a header that is no JSON object")
    return content


def take_whole(record: Mapping[str, Any], name: str, number: int | None = None) -> int:
    """Return a whole number of at least 0.

    Args:
        record: Values by name.
        name: Name of the value.
        number: Frame that the record is about, for the log.
    """
    value = record.get(name)
    if type(value) is not int or not 0 <= value < MAX_NUMBER:
        raise MalformedError(f"{name} {excerpt(value)}, no whole number", number)
    return value


def take_real(record: Mapping[str, Any], name: str, number: int | None = None) -> float | None:
    """Return a finite number; None where it is absent or null."""
    value = record.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not is_finite(value):
        raise MalformedError(f"{name} {excerpt(value)}, no finite number", number)
    return float(value)


def take_centre(record: Mapping[str, Any], y: str, x: str) -> tuple[float, float] | None:
    """Return the row and the column of the direct beam; None where they are absent or 0, as of an unknown one."""
    row, column = take_real(record, y), take_real(record, x)
    return (row, column) if row and column and max(abs(row), abs(column)) < MAX_EDGE else None


def take_text(record: Mapping[str, Any], name: str, number: int | None = None) -> str:
    """Return a text."""
    value = record.get(name)
    if not isinstance(value, str):
        raise MalformedError(f"{name} {excerpt(value)}, no text", number)
    return value


def take_shape(value: Any, ndims: tuple[int, ...], number: int | None = None) -> tuple[int, ...]:
    """Return a shape of positive whole numbers, of one of the given numbers of axes."""
    if not isinstance(value, list | tuple) or len(value) not in ndims:
        raise MalformedError(f"shape {excerpt(value)}", number)
    if any(type(edge) is not int or edge < 1 for edge in value):
        raise MalformedError(f"shape {excerpt(value)}", number)
    return tuple(value)


def take_dtype(name: Any, number: int | None = None, types: Mapping[str, np.dtype[Any]] = DTYPES) -> np.dtype[Any]:
    """Return a number type by its name."""
    dtype = types.get(name) if isinstance(name, str) else None
    if dtype is None:
        raise MalformedError(f"dtype {excerpt(name)}", number)
    return dtype


def take_list(values: Any, name: str, dtype: type, axes: int = 1, number: int | None = None) -> np.ndarray:
    """Return an array of finite numbers from nested lists.

    Args:
        values: The lists.
        name: Their name, for messages.
        dtype: `np.int64` for whole numbers of at least 0, `np.float64` for others.
        axes: Number of axes.
        number: Frame that they are about, for the log.
    """
    try:
        array = np.asarray(values)
    except (ValueError, OverflowError, RecursionError) as error:
        raise MalformedError(f"{name} {excerpt(values)}, no list of numbers", number) from error
    numeric = array.dtype.kind in ("iu" if dtype is np.int64 else "iuf") or not array.size
    if array.ndim != axes or not numeric or not np.isfinite(array).all():
        raise MalformedError(f"{name} {excerpt(values)}, no list of finite numbers", number)
    if dtype is np.int64 and array.size and not 0 <= int(array.min()) <= int(array.max()) < MAX_NUMBER:
        raise MalformedError(f"{name} {excerpt(values)}, no whole numbers from 0", number)
    return array.astype(dtype)


def unpack_array(
    blob: bytes, dtype: np.dtype[Any], shape: tuple[int, ...], encoding: str, number: int | None = None
) -> Num[np.ndarray, "*axes"]:
    """Return an array from its bytes, in the byte order of this machine.

    Args:
        blob: The bytes.
        dtype: Number type.
        shape: Axes.
        encoding: `none`; `lz4` or `bslz4` with the header of the HDF5 filters; `lz4-block` or `bslz4-block` without.
        number: Frame, for the log.

    Raises:
        MalformedError: Where the size of the bytes, before or after decompression, is not that of the shape.
    """
    size = math.prod(shape) * dtype.itemsize
    if size > MAX_ARRAY_BYTES:
        raise MalformedError(f"shape {excerpt(list(shape))} of {dtype}, more than {MAX_ARRAY_BYTES >> 20} MiB", number)
    if encoding != "none":
        blob = _decompress(blob, dtype.itemsize, size, encoding, number)
    if len(blob) != size:
        raise MalformedError(f"{len(blob)} bytes for shape {excerpt(list(shape))} of {dtype}", number)
    array = np.frombuffer(blob, dtype).reshape(shape)
    return array if dtype.isnative else array.astype(dtype.newbyteorder("="))


def _decompress(blob: bytes, itemsize: int, size: int, encoding: str, number: int | None) -> bytes:
    if encoding not in ("lz4", "bslz4", "lz4-block", "bslz4-block"):
        raise MalformedError(f"unknown compression {excerpt(encoding)}", number)
    if encoding == "lz4-block":
        if len(blob) == size:  # the header of the filter has no other way to say that a block is not compressed
            raise MalformedError(f"lz4 of {size} bytes for as many", number)
        blob, encoding = SIZES.pack(size, size, len(blob)) + blob, "lz4"
    elif encoding == "bslz4-block":
        block = max(BITSHUFFLE_BLOCK // itemsize // 8 * 8, 128) * itemsize
        blob, encoding = SIZES.pack(size, block, 0)[:12] + blob, "bslz4"
    if len(blob) < SIZES.size or size > MAX_EXPANSION * len(blob):
        raise MalformedError(f"{len(blob)} bytes of {encoding} for {size}", number)
    declared = SIZES.unpack_from(blob)[0]
    if declared != size:
        raise MalformedError(f"{encoding} of {declared} bytes for {size}", number)
    try:
        return _load_decompressor()(blob, encoding, elem_size=itemsize)
    except ImportError as error:
        raise MalformedError(f"{encoding}, which needs pip install 'ptypinn[live]'", number) from error
    except (RuntimeError, ValueError, MemoryError) as error:
        raise MalformedError(f"damaged {encoding}", number) from error


@functools.cache
def _load_decompressor() -> Callable[..., bytes]:
    from dectris.compression import decompress

    return decompress


def is_finite(value: Scalar) -> bool:
    """Return True for a number that a float can hold; huge integers are none."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def excerpt(value: Any) -> str:
    """Return the beginning of a value, for a reason; nothing that may be large is written out whole."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(excerpt(each) for each in value[:4] if not isinstance(each, list | tuple | dict))}]"
    if isinstance(value, dict):
        return "{...}"
    if isinstance(value, int) and value.bit_length() > 64:
        return "a huge number"
    return repr(value[:32] if isinstance(value, str | bytes) else value)[:40]
