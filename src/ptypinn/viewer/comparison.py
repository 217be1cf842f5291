"""Comparison of two pictures: the second in the phase of the first, and the difference of both.

Diffraction does not determine one phase factor and, where the probe is refined, one linear phase ramp. Both are
removed by least squares over the common well-illuminated pixels, in the coordinates of the scan. Amplitudes do not
change.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex64

from ptypinn.errors import InputError
from ptypinn.metrics.alignment import align
from ptypinn.utils.number_format import format_length
from ptypinn.viewer.picture import Picture, open_layers
from ptypinn.viewer.picture_file import ILLUMINATION, OBJECT, QUOTIENT, PictureFile

MAX_BLOCKS = 512
"""The ramp is estimated on products averaged over blocks: at most so many along an edge."""
MAX_OFFSET_PX = 0.5
"""Two pixel grids count as equal if no pixel is further than this from its counterpart."""
MIN_COMMON_PX = 64
"""Minimum number of common well-illuminated pixels."""


@dataclass(frozen=True)
class PhaseAlignment:
    """Phase factor and phase ramp that align the second picture to the first."""

    phase_rad: float
    """Phase added at the centre of the common area, radians."""
    ramp_rad_per_px: tuple[float, float]
    """Phase added per pixel (y, x), radians."""
    centre_px: tuple[float, float]
    """Centre (y, x) of the common area, in the coordinates of the scan."""

    def factor(self, origin_px: tuple[int, int], rows: np.ndarray, columns: np.ndarray) -> Complex64[np.ndarray, "y x"]:
        """Return the factor of modulus 1 on a rectangle of a picture with an origin."""
        y, x = (
            slope * (index + origin - centre)
            for slope, index, origin, centre in zip(
                self.ramp_rad_per_px, (rows, columns), origin_px, self.centre_px, strict=True
            )
        )
        return (np.exp(1j * (self.phase_rad + y))[:, None] * np.exp(1j * x)[None]).astype(np.complex64)


@dataclass(frozen=True)
class AlignedFile(PictureFile):
    """A picture in the phase of another."""

    source: PictureFile
    alignment: PhaseAlignment

    def read(self, name: str, rows: slice, columns: slice) -> np.ndarray:
        """Return a rectangle of an image; see `PictureFile.read`."""
        values = self.source.read(name, rows, columns)
        if name != OBJECT:
            return values
        indices = (np.arange(length)[part] for length, part in zip(self.shape, (rows, columns), strict=True))
        return values * self.alignment.factor(self.origin_px, *indices)


@dataclass(frozen=True)
class DifferenceFile(PictureFile):
    """Common area of two pictures: `OBJECT` is their difference, the phase of `QUOTIENT` their phase difference."""

    first: PictureFile
    second: PictureFile

    def read(self, name: str, rows: slice, columns: slice) -> np.ndarray:
        """Return a rectangle of an image; see `PictureFile.read`."""
        files = [file for file in (self.first, self.second) if name != ILLUMINATION or ILLUMINATION in file.images]
        images = [
            file.read(OBJECT if name == QUOTIENT else name, *self.to_pixels(file, rows, columns)) for file in files
        ]
        if name == ILLUMINATION:
            return np.minimum(images[0], images[-1])
        return images[1] - images[0] if name == OBJECT else images[1] * np.conj(images[0])

    def to_pixels(self, file: PictureFile, rows: slice, columns: slice) -> tuple[slice, slice]:
        """Return a rectangle of this picture in the pixels of another."""
        (y, x), (height, width) = np.subtract(self.origin_px, file.origin_px).tolist(), self.shape
        down, across = range(height)[rows], range(width)[columns]
        return slice(down.start + y, down.stop + y, down.step), slice(across.start + x, across.stop + x, across.step)


@dataclass(frozen=True)
class Comparison:
    """Two pictures on the same pixel grid."""

    aligned: Picture
    """The second picture in the phase of the first."""
    difference: Picture
    """Second minus first, over the common area."""
    alignment: PhaseAlignment


def compare_pictures(first: Picture, second: Picture) -> Comparison:
    """Align the phase of the second picture to the first, and subtract.

    Raises:
        InputError: Where their pixel grids differ, or too few pixels are well illuminated in both.
        FileChangedError: Where a file is replaced meanwhile.
    """
    one, other = first.file, second.file
    _require_same_pixels(one, other)
    origin, shape = _intersect(one, other)
    version = hashlib.sha256(f"{one.path} {one.key} {other.path} {other.key}".encode()).hexdigest()[:12]
    images = (OBJECT, QUOTIENT, ILLUMINATION) if ILLUMINATION in one.images + other.images else (OBJECT, QUOTIENT)
    area = {"version": version, "shape": shape, "origin_px": origin, "images": images}
    header = vars(one) | area | {"group": one.group and other.group}
    alignment = _estimate_alignment(DifferenceFile(**header, first=one, second=other), first, second)
    aligned = AlignedFile(**vars(other) | {"version": version}, source=other, alignment=alignment)
    difference = DifferenceFile(**header, first=one, second=aligned)
    return Comparison(open_layers(aligned, first.phase_rad), open_layers(difference), alignment)


def _require_same_pixels(one: PictureFile, other: PictureFile) -> None:
    first, second = one.pixel_size_m, other.pixel_size_m
    if first is None or second is None:
        return  # where a pixel size is unknown, the grids count as equal
    if abs(second / first - 1) * max(*one.shape, *other.shape) > MAX_OFFSET_PX:
        sizes = f"{format_length(first, 4)} and {format_length(second, 4)}"
        raise InputError("difference", "pixel size", sizes, "runs whose pixels are equal")


def _intersect(one: PictureFile, other: PictureFile) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return origin and shape of the common area."""
    start = np.maximum(one.origin_px, other.origin_px)
    stop = np.minimum(np.add(one.origin_px, one.shape), np.add(other.origin_px, other.shape))
    if (stop <= start).any():
        raise InputError("difference", "", "no pixel that both runs contain", "runs of the same area")
    (y, x), (height, width) = start.tolist(), (stop - start).tolist()
    return (y, x), (height, width)


def _estimate_alignment(raw: DifferenceFile, *pictures: Picture) -> PhaseAlignment:
    """Estimate phase factor and ramp by least squares, from `QUOTIENT` summed over blocks."""
    height, width = raw.shape
    step = max(1, -(-max(height, width) // MAX_BLOCKS))
    sums, pixels = [], 0
    for top in range(0, height, step):
        rectangle = slice(top, min(top + step, height)), slice(None)
        quotient = raw.read(QUOTIENT, *rectangle)
        illuminated = np.isfinite(quotient)
        for picture in pictures:
            mask = picture.illumination_mask(0, *raw.to_pixels(picture.file, *rectangle))
            illuminated &= True if mask is None else mask
        pixels += int(illuminated.sum())
        sums.append(
            np.add.reduceat(np.where(illuminated, quotient, 0).sum(0, dtype=complex), np.arange(0, width, step))
        )
    if pixels < MIN_COMMON_PX:
        raise InputError(
            "difference", "", f"{pixels} pixels that are well illuminated in both runs", f"{MIN_COMMON_PX} or more"
        )
    product = np.conj(np.stack(sums))
    alignment = align(np.abs(product).astype(complex), product, np.abs(product) > 0, ramp=True)
    ramp_y, ramp_x = (slope / step for slope in alignment.ramp_rad_per_px)
    y, x = (start + (n * step - 1) / 2 for start, n in zip(raw.origin_px, product.shape, strict=True))
    return PhaseAlignment(alignment.phase_rad, (ramp_y, ramp_x), (y, x))
