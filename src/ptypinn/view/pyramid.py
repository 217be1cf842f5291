"""Reduced copies of an object, so that a view of any size reads few pixels: every level halves the one before.

Copies lie in nameless temporary files that the system may write out: an object of 16,384 x 16,384 pixels takes little
memory, and nothing stays behind however the program ends.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ptypinn.view.picture_file import IMAGES, OBJECT, PictureFile

AMPLITUDE = "amplitude"
"""Mean amplitudes of the reduced copies: the amplitude of a mean would be lower where the phase varies."""
SMALLEST = 256
"""Levels end where both sides are at most this long, pixels."""
STRIP_PIXELS = 2**22
"""Most pixels in memory at once."""


@dataclass(frozen=True)
class Pyramid:
    """An object at all its levels."""

    file: PictureFile
    """Level 0, which stays where it is."""
    copies: tuple[dict[str, np.ndarray], ...]
    """Levels 1 and up: means over blocks of `2**level` pixels, by image."""

    @property
    def levels(self) -> int:
        """Number of levels."""
        return 1 + len(self.copies)

    @property
    def nbytes(self) -> int:
        """Disk space of the copies, bytes."""
        return sum(image.nbytes for level in self.copies for image in level.values())

    def shape(self, level: int) -> tuple[int, int]:
        """Height and width of a level, pixels."""
        height, width = self.file.shape
        return -(-height >> level), -(-width >> level)

    def read(self, name: str, level: int, rows: slice, columns: slice) -> np.ndarray:
        """A rectangle of one level of an image, or of its mean amplitude."""
        if level:
            return np.asarray(self.copies[level - 1][name][rows, columns])
        values = self.file.read(OBJECT if name == AMPLITUDE else name, rows, columns)
        return np.abs(values) if name == AMPLITUDE else values

    def fitting(self, pixels: int) -> int:
        """The finest level that has at most so many pixels, or the coarsest."""
        fitting = (k for k in range(self.levels) if np.prod(self.shape(k)) <= pixels)
        return next(fitting, self.levels - 1)


def build_pyramid(file: PictureFile) -> Pyramid:
    """Reduce all images of a file, strip by strip."""
    pyramid = Pyramid(file, ())
    names = [name for name in (AMPLITUDE, *IMAGES) if name in (AMPLITUDE, *file.images)]
    while max(pyramid.shape(pyramid.levels - 1)) > SMALLEST:
        pyramid = Pyramid(file, (*pyramid.copies, {name: _halved(pyramid, name) for name in names}))
    return pyramid


def halve(image: np.ndarray) -> np.ndarray:
    """Means over blocks of 2 x 2 pixels; a block cut by an edge is the mean of what is there."""
    rows = _pairs(image)
    return np.ascontiguousarray(_pairs(rows.T).T)


def _pairs(image: np.ndarray) -> np.ndarray:
    """Means of rows 0 and 1, 2 and 3, and so on; an odd last row stays alone."""
    even = len(image) // 2 * 2
    means = (image[0:even:2] + image[1:even:2]) * image.real.dtype.type(0.5)
    return np.concatenate([means, image[even:]])


def _halved(pyramid: Pyramid, name: str) -> np.ndarray:
    """The next level of an image, in a temporary file."""
    level = pyramid.levels - 1
    kind = np.complex64 if name == OBJECT else np.float32
    with tempfile.TemporaryFile() as nameless:
        copy = np.memmap(nameless, kind, "w+", shape=pyramid.shape(level + 1))
    for rows in _strips(*pyramid.shape(level)):
        copy[rows.start // 2 : (rows.stop + 1) // 2] = halve(pyramid.read(name, level, rows, slice(None)))
    return copy


def _strips(height: int, width: int) -> Iterator[slice]:
    """Even strips of rows that fit the memory."""
    step = max(2, STRIP_PIXELS // width // 2 * 2)
    return (slice(start, min(start + step, height)) for start in range(0, height, step))
