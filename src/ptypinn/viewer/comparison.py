"""Two pictures beside each other: the second in the phase of the first, and the difference of both.

Diffraction leaves one phase factor open and, where the probe is solved for, one linear phase ramp. Both are taken out
by least squares over the well-lit pixels that the two share, in the coordinates of the scan. Amplitudes stay.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex64

from ptypinn.errors import InputError
from ptypinn.metrics.alignment import align
from ptypinn.report.text.metric_labels import metres
from ptypinn.viewer.picture import Picture, open_layers
from ptypinn.viewer.picture_file import ILLUMINATION, OBJECT, QUOTIENT, PictureFile

MAX_BLOCKS = 512
"""The ramp is found on products averaged over blocks, of which at most so many lie along an edge."""
MAX_OFFSET_PX = 0.5
"""Pixels of both lie on each other where they are nowhere further apart."""
MIN_COMMON_PX = 64
"""Fewest well-lit pixels that both must share."""


@dataclass(frozen=True)
class PhaseAlignment:
    """What brings the second picture into the phase of the first."""

    phase_rad: float
    """Added at the middle of what both show, radians."""
    ramp_rad_per_px: tuple[float, float]
    """Added per pixel (y, x), radians."""
    middle_px: tuple[float, float]
    """Middle (y, x) of what both show, in the coordinates of the scan."""

    def factor(self, origin_px: tuple[int, int], rows: np.ndarray, columns: np.ndarray) -> Complex64[np.ndarray, "y x"]:
        """The factor of modulus 1 on a rectangle of a picture that begins at an origin."""
        y, x = (
            slope * (place + origin - middle)
            for slope, place, origin, middle in zip(
                self.ramp_rad_per_px, (rows, columns), origin_px, self.middle_px, strict=True
            )
        )
        return (np.exp(1j * (self.phase_rad + y))[:, None] * np.exp(1j * x)[None]).astype(np.complex64)


@dataclass(frozen=True)
class AlignedFile(PictureFile):
    """A picture in the phase of another."""

    of: PictureFile
    turn: PhaseAlignment

    def read(self, name: str, rows: slice, columns: slice) -> np.ndarray:
        """A rectangle of an image; see `PictureFile.read`."""
        values = self.of.read(name, rows, columns)
        if name != OBJECT:
            return values
        places = (np.arange(length)[part] for length, part in zip(self.shape, (rows, columns), strict=True))
        return values * self.turn.factor(self.origin_px, *places)


@dataclass(frozen=True)
class DifferenceFile(PictureFile):
    """What two pictures share: `OBJECT` is their difference, and the phase of `QUOTIENT` is that between them."""

    first: PictureFile
    second: PictureFile

    def read(self, name: str, rows: slice, columns: slice) -> np.ndarray:
        """A rectangle of an image; see `PictureFile.read`."""
        files = [file for file in (self.first, self.second) if name != ILLUMINATION or ILLUMINATION in file.images]
        found = [file.read(OBJECT if name == QUOTIENT else name, *self.within(file, rows, columns)) for file in files]
        if name == ILLUMINATION:
            return np.minimum(found[0], found[-1])
        return found[1] - found[0] if name == OBJECT else found[1] * np.conj(found[0])

    def within(self, file: PictureFile, rows: slice, columns: slice) -> tuple[slice, slice]:
        """A rectangle of this one in the pixels of another."""
        (y, x), (height, width) = np.subtract(self.origin_px, file.origin_px).tolist(), self.shape
        down, across = range(height)[rows], range(width)[columns]
        return slice(down.start + y, down.stop + y, down.step), slice(across.start + x, across.stop + x, across.step)


@dataclass(frozen=True)
class Comparison:
    """Two pictures that lie on each other."""

    turned: Picture
    """The second, in the phase of the first."""
    difference: Picture
    """Second minus first, where there are both."""
    turn: PhaseAlignment


def compare_pictures(first: Picture, second: Picture) -> Comparison:
    """Bring the second picture into the phase of the first, and subtract.

    Raises:
        InputError: Where their pixels do not lie on each other, or they share too few that are well lit.
        OutdatedError: Where a file is replaced meanwhile.
    """
    one, other = first.file, second.file
    _require_same_pixels(one, other)
    origin, shape = _shared(one, other)
    version = hashlib.sha256(f"{one.path} {one.version} {other.path} {other.version}".encode()).hexdigest()[:12]
    images = (OBJECT, QUOTIENT, ILLUMINATION) if ILLUMINATION in one.images + other.images else (OBJECT, QUOTIENT)
    place = {"version": version, "shape": shape, "origin_px": origin, "images": images}
    known = vars(one) | place | {"group": one.group and other.group}
    turn = _turn(DifferenceFile(**known, first=one, second=other), first, second)
    turned = AlignedFile(**vars(other) | {"version": version}, of=other, turn=turn)
    difference = DifferenceFile(**known, first=one, second=turned)
    return Comparison(open_layers(turned, first.phase_rad), open_layers(difference), turn)


def _require_same_pixels(one: PictureFile, other: PictureFile) -> None:
    first, second = one.pixel_size_m, other.pixel_size_m
    if first is None or second is None:
        return  # where one is not known, pixels lie on pixels
    if abs(second / first - 1) * max(*one.shape, *other.shape) > MAX_OFFSET_PX:
        found = f"{metres(first, 4)} and {metres(second, 4)}"
        raise InputError("difference", "pixel size", found, "runs whose pixels are equal")


def _shared(one: PictureFile, other: PictureFile) -> tuple[tuple[int, int], tuple[int, int]]:
    """Origin and shape of the pixels of both."""
    start = np.maximum(one.origin_px, other.origin_px)
    stop = np.minimum(np.add(one.origin_px, one.shape), np.add(other.origin_px, other.shape))
    if (stop <= start).any():
        raise InputError("difference", "", "no pixel that both runs show", "runs of the same place")
    (y, x), (height, width) = start.tolist(), (stop - start).tolist()
    return (y, x), (height, width)


def _turn(raw: DifferenceFile, *pictures: Picture) -> PhaseAlignment:
    """Phase factor and ramp by least squares, from `QUOTIENT` summed over blocks."""
    height, width = raw.shape
    step = max(1, -(-max(height, width) // MAX_BLOCKS))
    sums, pixels = [], 0
    for top in range(0, height, step):
        place = slice(top, min(top + step, height)), slice(None)
        quotient = raw.read(QUOTIENT, *place)
        lit = np.isfinite(quotient)
        for picture in pictures:
            shown = picture.shown(0, *raw.within(picture.file, *place))
            lit &= True if shown is None else shown
        pixels += int(lit.sum())
        sums.append(np.add.reduceat(np.where(lit, quotient, 0).sum(0, dtype=complex), np.arange(0, width, step)))
    if pixels < MIN_COMMON_PX:
        raise InputError("difference", "", f"{pixels} well-lit pixels that both runs show", f"{MIN_COMMON_PX} or more")
    product = np.conj(np.stack(sums))
    found = align(np.abs(product).astype(complex), product, np.abs(product) > 0, ramp=True)
    ramp_y, ramp_x = (slope / step for slope in found.ramp_rad_per_px)
    y, x = (start + (n * step - 1) / 2 for start, n in zip(raw.origin_px, product.shape, strict=True))
    return PhaseAlignment(found.phase_rad, (ramp_y, ramp_x), (y, x))
