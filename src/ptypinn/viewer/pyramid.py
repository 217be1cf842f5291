"""Reduced copies of an object, so that a view of any size reads few pixels: every level halves the one before.

Copies lie in nameless temporary files that the system may write out: an object of 16,384 x 16,384 pixels takes little
memory, and nothing stays behind however the program ends.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ptypinn.viewer.picture_file import COMPLEX_IMAGES, OBJECT, PictureFile

AMPLITUDE = "amplitude"
"""Mean amplitudes of the reduced copies: the amplitude of a mean would be lower where the phase varies."""
MIN_LEVEL_PX = 256
"""Levels end where both sides are at most this long, pixels."""
MAX_STRIP_PX = 2**22
"""Most pixels in memory at once."""
_HALF = np.float32(0.5)


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
    while max(pyramid.shape(pyramid.levels - 1)) > MIN_LEVEL_PX:
        pyramid = Pyramid(file, (*pyramid.copies, _next_level(pyramid)))
    return pyramid


def halve_image(image: np.ndarray) -> np.ndarray:
    """Means over blocks of 2 x 2 pixels; a block cut by an edge is the mean of what is there."""
    rows, even = _pairs(image), image.shape[1] // 2 * 2
    means = (rows[:, 0:even:2] + rows[:, 1:even:2]) * _HALF
    return np.concatenate([means, rows[:, even:]], axis=1) if even < image.shape[1] else means


def _pairs(image: np.ndarray) -> np.ndarray:
    """Means of rows 0 and 1, 2 and 3, and so on; an odd last row stays alone."""
    even = len(image) // 2 * 2
    means = (image[0:even:2] + image[1:even:2]) * _HALF
    return np.concatenate([means, image[even:]]) if even < len(image) else means


def _next_level(pyramid: Pyramid) -> dict[str, np.ndarray]:
    """The level after the last one, in temporary files."""
    level, names = pyramid.levels - 1, (AMPLITUDE, *pyramid.file.images)
    copies = {name: _nameless(name, pyramid.shape(level + 1)) for name in names}
    for rows in _strips(*pyramid.shape(level)):
        place = slice(rows.start // 2, (rows.stop + 1) // 2)
        for name, image in _images(pyramid, level, rows):
            copies[name][place] = halve_image(image)
    return copies


def _images(pyramid: Pyramid, level: int, rows: slice) -> Iterator[tuple[str, np.ndarray]]:
    """A strip of every image of a level; the object is read from its file once."""
    for name in pyramid.file.images:
        image = pyramid.read(name, level, rows, slice(None))
        yield name, image
        if name == OBJECT:
            yield AMPLITUDE, pyramid.read(AMPLITUDE, level, rows, slice(None)) if level else np.abs(image)


def _nameless(name: str, shape: tuple[int, int]) -> np.ndarray:
    """An array in a file that is gone when the array is."""
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, np.complex64 if name in COMPLEX_IMAGES else np.float32, "w+", shape=shape)


def _strips(height: int, width: int) -> Iterator[slice]:
    """Even strips of rows that fit the memory."""
    step = max(2, MAX_STRIP_PX // width // 2 * 2)
    return (slice(start, min(start + step, height)) for start in range(0, height, step))
