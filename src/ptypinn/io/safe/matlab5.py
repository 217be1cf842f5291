"""Check MATLAB 5 files before a reader unpacks them: structure, and size after decompression.

Such a file is a sequence of elements, each with a tag of type and size. Matrices hold elements in turn (cells and
fields of structures are matrices again), compressed elements a deflated one. A reader that trusts the tags can be
sent into a recursion deeper than its stack, to types that do not exist, or made to inflate a small file into a large
memory. MathWorks, MAT-File Format (R2024a), chapter 1.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Container
from io import BufferedIOBase
from pathlib import Path

from ptypinn.errors import InputError
from ptypinn.utils.number_format import human_size

HEADER_BYTES = 128
SIGNATURE = b"MATLAB 5.0 MAT-file"
INT8, INT32, UINT32, MATRIX, COMPRESSED = 1, 5, 6, 14, 15
NUMERIC = (1, 2, 3, 4, 5, 6, 7, 9, 12, 13, 16, 17, 18)
"""Types of elements that hold numbers or characters."""
CELL, STRUCTURE, OBJECT, CHARACTERS, SPARSE = 1, 2, 3, 4, 5
NUMBERS = range(6, 16)
FUNCTION, OPAQUE = 16, 17
COMPLEX_FLAG = 0x0800
MAX_DIMENSIONS = 32
MAX_DEPTH = 64
MAX_ELEMENTS = 1_000_000
CHUNK = 2**20
DAMAGE = (EOFError, ValueError, struct.error, zlib.error)


def is_mat5(path: Path) -> bool:
    """Return True if a file has the header of MATLAB's format 5."""
    with path.open("rb") as file:
        return file.read(len(SIGNATURE)) == SIGNATURE


def require_sane_mat5(path: Path, names: Container[str], limit_bytes: float) -> list[str]:
    """Raise `InputError` where a MATLAB 5 file cannot be unpacked safely.

    Args:
        path: The file.
        names: Variables that are going to be unpacked; the others are passed over.
        limit_bytes: Most that they may inflate to.

    Returns:
        Names of all its variables.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        order = "<" if file.read(HEADER_BYTES)[-2:] == b"IM" else ">"
        walk = _Walk(order, names, limit_bytes)
        try:
            while file.tell() < size:
                kind, length = struct.unpack(f"{order}II", file.read(8))
                end = file.tell() + length
                if end > size:
                    raise EOFError(f"an element of {length} bytes goes beyond the end")
                part = _Part(file, length, kind == COMPRESSED)
                walk.variable(part, *(walk.tag(part) if kind == COMPRESSED else (kind, length)))
                file.seek(end)
        except DAMAGE as error:
            raise InputError(str(path), "file", f"a damaged MATLAB file ({error})", "a complete one") from error
    return walk.found


class _Part:
    """An element of a file, inflated where it is compressed, that is read forwards in bounded memory."""

    def __init__(self, file: BufferedIOBase, size: int, compressed: bool) -> None:
        self._file, self._left = file, size
        self._stream = zlib.decompressobj() if compressed else None
        self._ready = b""
        self.position = 0

    def skip(self, count: int) -> None:
        while count > 0:
            count -= len(self.read(min(count, CHUNK)))

    def read(self, count: int) -> bytes:
        """Read exactly so many bytes, or raise `EOFError`."""
        while len(self._ready) < count:
            more = self._more()
            if not more:
                raise EOFError("the file ends inside an element")
            self._ready += more
        taken, self._ready = self._ready[:count], self._ready[count:]
        self.position += count
        return taken

    def _more(self) -> bytes:
        if self._stream is None:
            return self._take()
        waiting = self._stream.unconsumed_tail or self._take()
        return self._stream.decompress(waiting, CHUNK) if waiting else b""

    def _take(self) -> bytes:
        taken = self._file.read(min(self._left, CHUNK))
        self._left -= len(taken)
        return taken


class _Walk:
    """Checker of variables and their contents; raises `ValueError` at the first inconsistency."""

    def __init__(self, order: str, names: Container[str], limit: float) -> None:
        self._order, self._names, self._limit = order, names, limit
        self._elements, self._total = 0, 0.0
        self.found: list[str] = []

    def variable(self, part: _Part, kind: int, length: int) -> None:
        """Check one variable; skip it unless it is requested."""
        if kind != MATRIX:
            raise ValueError(f"type {kind} where a matrix belongs")
        end = part.position + length
        group, flags, count, name = self._head(part)
        self.found.append(name)
        if name in self._names:
            self._total += length
            if self._total > self._limit:
                limit = human_size(self._limit)
                raise ValueError(f"more than {limit}; raise --memory-budget-gib, or save it as version 7.3")
            self._body(part, end, group, flags, count, 0)
            part.skip(end - part.position)

    def tag(self, part: _Part) -> tuple[int, int]:
        """Return type and size of the next element; the content of a small one is inside its tag."""
        self._elements += 1
        if self._elements > MAX_ELEMENTS:
            raise ValueError(f"more than {MAX_ELEMENTS} elements")
        (first,) = struct.unpack(f"{self._order}I", part.read(4))
        if first >> 16:
            return first & 0xFFFF, -(first >> 16)
        return first, struct.unpack(f"{self._order}I", part.read(4))[0]

    def _content(self, part: _Part, *kinds: int, most: int) -> bytes:
        """Read the content of a short element of certain types."""
        kind, length = self.tag(part)
        size, room = abs(length), 4 if length < 0 else -(-length // 8) * 8
        if kind not in kinds or size > min(most, room):
            raise ValueError(f"an element of type {kind} and {size} bytes where another belongs")
        return part.read(room)[:size]

    def _head(self, part: _Part) -> tuple[int, int, int, str]:
        """Read class, flags, number of values and name of a matrix."""
        flags = self._content(part, UINT32, most=8)
        dimensions = self._content(part, INT32, most=4 * MAX_DIMENSIONS)
        name = self._content(part, INT8, *NUMERIC, most=CHUNK)
        (word,) = struct.unpack(f"{self._order}I", flags[:4])
        shape = struct.unpack(f"{self._order}{len(dimensions) // 4}i", dimensions[: len(dimensions) // 4 * 4])
        if len(shape) < 2 or min(shape) < 0:
            raise ValueError(f"dimensions {shape}")
        return word & 0xFF, word, math.prod(shape), name.decode("latin-1")

    def _body(self, part: _Part, end: int, group: int, flags: int, count: int, depth: int) -> None:
        if group in NUMBERS or group == CHARACTERS:
            for _ in range(2 if flags & COMPLEX_FLAG else 1):
                self._data(part, end)
        elif group == SPARSE:
            for _ in range(4 if flags & COMPLEX_FLAG else 3):
                self._data(part, end)
        elif group in (CELL, STRUCTURE, OBJECT):
            self._children(part, end, count * self._fields(part, group), depth)
        elif group == FUNCTION:
            self._children(part, end, 1, depth)
        else:
            raise ValueError(f"class {group} of values")

    def _fields(self, part: _Part, group: int) -> int:
        """Return the number of matrices per value."""
        if group == CELL:
            return 1
        if group == OBJECT:
            self._content(part, INT8, *NUMERIC, most=CHUNK)
        (length,) = struct.unpack(f"{self._order}i", self._content(part, INT32, most=4))
        names = self._content(part, INT8, most=CHUNK)
        if not 0 < length <= CHUNK:
            raise ValueError(f"names of {length} characters")
        return len(names) // length

    def _data(self, part: _Part, end: int) -> None:
        kind, length = self.tag(part)
        room = 4 if length < 0 else -(-length // 8) * 8
        if kind not in NUMERIC or part.position + abs(length) > end:
            raise ValueError(f"an element of type {kind} and {abs(length)} bytes where numbers belong")
        part.skip(min(room, end - part.position))

    def _children(self, part: _Part, end: int, count: int, depth: int) -> None:
        if depth >= MAX_DEPTH:
            raise ValueError(f"structures within structures, more than {MAX_DEPTH} deep")
        if 8 * count > end - part.position:
            raise ValueError(f"{count} parts in {end - part.position} bytes")
        for _ in range(count):
            kind, length = self.tag(part)
            stop = part.position + length
            if kind != MATRIX or length < 0 or stop > end:
                raise ValueError(f"an element of type {kind} and {length} bytes where a part belongs")
            if length:
                group, flags, values, _ = self._head(part)
                self._body(part, stop, group, flags, values, depth + 1)
            if part.position != stop:
                raise ValueError(f"{stop - part.position} bytes more than a part needs")
