"""Image pyramid of an object: every level has half the resolution of the one before, so any view reads few pixels.

The copies are in anonymous temporary files: an object of 16,384 x 16,384 pixels takes little memory, and no file
remains after the program ends, even after a crash.
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
"""Both sides of the coarsest level are at most this long, pixels."""
MAX_STRIP_PX = 2**22
"""Maximum number of pixels in memory at once."""
_HALF = np.float32(0.5)


@dataclass(frozen=True)
class Pyramid:
    """An object at all its levels."""

    file: PictureFile
    """Level 0, which is read from its file."""
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
        """Return height and width of a level, pixels."""
        height, width = self.file.shape
        return -(-height >> level), -(-width >> level)

    def read(self, name: str, level: int, rows: slice, columns: slice) -> np.ndarray:
        """Return a rectangle of one level of an image, or of its mean amplitude."""
        if level:
            return np.asarray(self.copies[level - 1][name][rows, columns])
        values = self.file.read(OBJECT if name == AMPLITUDE else name, rows, columns)
        return np.abs(values) if name == AMPLITUDE else values

    def finest_level(self, max_pixels: int) -> int:
        """Return the finest level with at most so many pixels, or the coarsest one."""
        levels = (k for k in range(self.levels) if np.prod(self.shape(k)) <= max_pixels)
        return next(levels, self.levels - 1)


def build_pyramid(file: PictureFile) -> Pyramid:
    """Reduce all images of a file, strip by strip."""
    pyramid = Pyramid(file, ())
    while max(pyramid.shape(pyramid.levels - 1)) > MIN_LEVEL_PX:
        pyramid = Pyramid(file, (*pyramid.copies, _build_next_level(pyramid)))
    return pyramid


def halve_image(image: np.ndarray) -> np.ndarray:
    """Return means over blocks of 2 x 2 pixels; a block at an odd edge averages the pixels that exist.

    Examples:
        >>> halve_image(np.array([[1, 3, 5], [1, 3, 7]], np.float32)).tolist()
        [[2.0, 6.0]]
    """
    rows, even = _average_row_pairs(image), image.shape[1] // 2 * 2
    means = (rows[:, 0:even:2] + rows[:, 1:even:2]) * _HALF
    return np.concatenate([means, rows[:, even:]], axis=1) if even < image.shape[1] else means


def _average_row_pairs(image: np.ndarray) -> np.ndarray:
    """Average rows 0 and 1, 2 and 3, and so on; an odd last row stays as it is."""
    even = len(image) // 2 * 2
    means = (image[0:even:2] + image[1:even:2]) * _HALF
    return np.concatenate([means, image[even:]]) if even < len(image) else means


def _build_next_level(pyramid: Pyramid) -> dict[str, np.ndarray]:
    """Reduce the coarsest level once more, into temporary files."""
    level, names = pyramid.levels - 1, (AMPLITUDE, *pyramid.file.images)
    copies = {name: _allocate(name, pyramid.shape(level + 1)) for name in names}
    for rows in _split_rows(*pyramid.shape(level)):
        place = slice(rows.start // 2, (rows.stop + 1) // 2)
        for name, image in _read_images(pyramid, level, rows):
            copies[name][place] = halve_image(image)
    return copies


def _read_images(pyramid: Pyramid, level: int, rows: slice) -> Iterator[tuple[str, np.ndarray]]:
    """Yield a strip of every image of a level; the object is read from its file once."""
    for name in pyramid.file.images:
        image = pyramid.read(name, level, rows, slice(None))
        yield name, image
        if name == OBJECT:
            yield AMPLITUDE, pyramid.read(AMPLITUDE, level, rows, slice(None)) if level else np.abs(image)


def _allocate(name: str, shape: tuple[int, int]) -> np.ndarray:
    """Return an array in an anonymous temporary file."""
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, np.complex64 if name in COMPLEX_IMAGES else np.float32, "w+", shape=shape)


def _split_rows(height: int, width: int) -> Iterator[slice]:
    """Yield strips of an even number of rows, within `MAX_STRIP_PX`."""
    step = max(2, MAX_STRIP_PX // width // 2 * 2)
    return (slice(start, min(start + step, height)) for start in range(0, height, step))
