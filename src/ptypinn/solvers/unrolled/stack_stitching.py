"""Stitch the stacks of overlapping tiles of a thick sample: align what counts leave open in each, and blend.

With a known probe the counts of a tile leave open, exactly: the global phase of every slice; the scale of a slice,
which the others take up; and the tilt of the wave between two slices, a phase ramp of the slices before the gap that
those behind it take back, displaced by as much as the tilted wave is. Slices of phase alone have the phases only: they
have no scale, and are expected to be alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Complex64, Complex128, Float64
from scipy.ndimage import fourier_shift
from scipy.sparse import coo_array, diags_array
from scipy.sparse.linalg import spsolve

from ptypinn.data.depth import Gaps
from ptypinn.solvers.unrolled.tile_stitching import (
    Image,
    TileResult,
    align_global_phases,
    blend_tiles,
    overlap_products,
    weigh_overlap,
)
from ptypinn.solvers.unrolled.tiling import Box, TileLayout

REPEATS = 2
"""Least-squares fits of the freedoms, each about the result of the one before."""
RIDGE, TILT_RIDGE = 1e-6, 0.1
"""Weight of small parameters over that of the overlaps, which keeps what all tiles share as it is on average; and that
of small tilts, as slow differences of slices, which counts hardly determine, look like tilts where tiles overlap."""
MODES = 6
"""Images that the change of a slice is made of: scale, phase, ramps and displacements along both axes."""

Parameters = Float64[np.ndarray, "tile parameter"]
Design = Float64[np.ndarray, "mode parameter"]


@dataclass(frozen=True)
class StackFreedoms:
    """Changes of a stack that leave the counts of a known probe as they are, as small numbers.

    Parameters are logarithms of the scale of every slice, about their mean; phases, radians; and tilts in every gap,
    along y and then x, radians over `length_px`.
    """

    gaps: Gaps
    """Fresnel numbers of an object pixel."""
    length_px: float
    """Unit of length of the tilts: half the edge of a tile."""

    @property
    def slices(self) -> int:
        """Number of slices."""
        return len(self.gaps) + 1

    @property
    def count(self) -> int:
        """Number of parameters."""
        return 2 * self.slices + 2 * len(self.gaps)

    @property
    def ridge(self) -> Float64[np.ndarray, " parameter"]:
        """Weights of small parameters."""
        return np.repeat([RIDGE, TILT_RIDGE], [2 * self.slices, 2 * len(self.gaps)])

    def design(self, number: int) -> Design:
        """Return the weights of the images that the change of a slice is made of, per parameter.

        Args:
            number: Of the slice.
        """
        count, behind = self.slices, 1 / (2 * np.pi * self.gaps * self.length_px)
        matrix = np.zeros((MODES, self.count))
        matrix[0, :count] = -1 / count
        matrix[0, number] += 1
        matrix[1, count + number] = 1
        for axis in range(2):
            tilt = 2 * count + axis * len(self.gaps)
            if number < len(self.gaps):
                matrix[2 + axis, tilt + number] = 1
            if number:
                matrix[2 + axis, tilt + number - 1] -= 1
            matrix[4 + axis, tilt : tilt + number] = behind[:number]
        return matrix

    def apply(self, image: Image, number: int, values: Float64[np.ndarray, " parameter"]) -> Image:
        """Return a changed slice of a tile.

        Args:
            image: Transmission on the tile's canvas.
            number: Of the slice.
            values: Parameters of the tile.
        """
        scale, phase, *rest = self.design(number) @ values
        slopes, shift = rest[:2], rest[2:]
        if any(shift):
            image = 1 + np.fft.ifft2(fourier_shift(np.fft.fft2(image - 1), shift))
        y, x = (np.exp(1j * slope * place) for slope, place in zip(slopes, self._places(image.shape), strict=True))
        return (np.exp(scale + 1j * phase) * image * y[:, None] * x).astype(np.complex64)

    def modes(self, image: Image, box: Box, canvas: Box) -> Complex128[np.ndarray, "mode height width"]:
        """Return the images that small changes of a slice are made of, on some of its pixels."""
        place = box.slices(canvas)
        part = image[place].astype(np.complex128)
        y, x = (axis[where] for axis, where in zip(self._places(image.shape), place, strict=True))
        slopes = [-np.gradient(part, axis=axis) for axis in range(2)]
        return np.stack([part, 1j * part, 1j * y[:, None] * part, 1j * x * part, *slopes])

    def _places(self, shape: tuple[int, ...]) -> list[Float64[np.ndarray, " edge"]]:
        """Return the coordinates of the pixels of a tile about its centre, in units of length."""
        return [(np.arange(edge) - (edge - 1) / 2) / self.length_px for edge in shape]


def stitch_stacks(
    results: Sequence[TileResult], layout: TileLayout, gaps: Gaps, *, is_phase: bool = False
) -> Complex64[np.ndarray, "slice height width"]:
    """Return the slices on the whole canvas; 1 where the illumination is 0.

    The freedoms are removed by joint weighted least squares over all overlaps; the product of the scales of a stack
    stays 1. Tiles are blended as those of a thin sample are.

    Args:
        results: Results of all tiles.
        layout: Layout of the tiles.
        gaps: Fresnel numbers of an object pixel over the gaps between slices.
        is_phase: True for slices of phase alone.
    """
    freedoms = StackFreedoms(gaps, max(max(result.tile.canvas.shape) for result in results) / 2)
    values = _align_phases(results, layout, freedoms)
    for _ in range(0 if is_phase else REPEATS):
        values = values + _fit_freedoms(results, layout, freedoms, values)
    slices = np.empty((freedoms.slices, *layout.extent), np.complex64)
    for number in range(freedoms.slices):
        images = [replace(result, slice=number) for result in results]
        slices[number] = _blend(images, layout, freedoms, values, number)
        if is_phase:
            _restore_modulus(slices[number], images, layout)
    return slices


def _blend(
    images: Sequence[TileResult], layout: TileLayout, freedoms: StackFreedoms, values: Parameters, number: int
) -> Image:
    return blend_tiles(images, layout, lambda tile, image: freedoms.apply(image, number, values[tile]))


def _restore_modulus(stitched: Image, images: Sequence[TileResult], layout: TileLayout) -> None:
    """Give slices of phase alone the modulus of their tiles, which the mean of different phases has less of."""
    modulus = blend_tiles(images, layout, lambda _, image: np.abs(image).astype(np.complex64)).real
    stitched *= modulus / np.maximum(np.abs(stitched), 1e-9)


def _align_phases(results: Sequence[TileResult], layout: TileLayout, freedoms: StackFreedoms) -> Parameters:
    """Return parameters that bring every slice of all tiles to one phase, which may be any number of turns off."""
    sizes = np.array([len(result.tile.patterns) for result in results], float)
    values = np.zeros((len(results), freedoms.count))
    for number in range(freedoms.slices):
        products = overlap_products([replace(result, slice=number) for result in results], layout)
        values[:, freedoms.slices + number] = np.angle(align_global_phases(products, sizes))
    return values


@dataclass(frozen=True)
class _Equations:
    """Normal equations of the changes of all parameters."""

    freedoms: StackFreedoms
    values: Parameters
    """Parameters to change."""
    slope: Parameters
    blocks: dict[tuple[int, int], Float64[np.ndarray, "parameter parameter"]] = field(default_factory=dict)
    """Curvature, by pairs of tiles."""

    def add(self, pair: tuple[int, int], block: Float64[np.ndarray, "parameter parameter"]) -> None:
        """Add to the curvature of a pair of tiles."""
        self.blocks[pair] = self.blocks.get(pair, 0.0) + block


def _fit_freedoms(
    results: Sequence[TileResult], layout: TileLayout, freedoms: StackFreedoms, values: Parameters
) -> Parameters:
    """Return changes of the parameters that minimise the weighted squares of all differences in the overlaps."""
    equations = _Equations(freedoms, values, np.zeros_like(values))
    for i, a in enumerate(results):
        for j, b in enumerate(results[:i]):
            box = a.tile.canvas.intersection(b.tile.canvas)
            if box.pixels:
                _add_pair(equations, (i, j), results, box, layout)
    return _solve_blocks(equations)


def _add_pair(
    equations: _Equations, pair: tuple[int, int], results: Sequence[TileResult], box: Box, layout: TileLayout
) -> None:
    """Add the squares of the differences of a pair of tiles, on their common pixels, slice by slice."""
    weight = weigh_overlap(results[pair[0]], results[pair[1]], box, layout)
    for number in range(equations.freedoms.slices):
        design, modes = equations.freedoms.design(number), []
        for tile in pair:
            result = replace(results[tile], slice=number)
            image = equations.freedoms.apply(result.object, number, equations.values[tile])
            modes.append(equations.freedoms.modes(image, box, result.tile.canvas))
        signs, rest = (1.0, -1.0), modes[0][0] - modes[1][0]
        for sign, own, tile in zip(signs, modes, pair, strict=True):
            own_weighted = own.conj() * weight
            equations.slope[tile] -= sign * design.T @ np.einsum("kyx,yx->k", own_weighted, rest).real
            for other_sign, other, other_tile in zip(signs, modes, pair, strict=True):
                curvature = np.einsum("kyx,lyx->kl", own_weighted, other).real
                equations.add((tile, other_tile), sign * other_sign * design.T @ curvature @ design)


def _solve_blocks(equations: _Equations) -> Parameters:
    """Solve the normal equations, sparse, with a ridge relative to their mean diagonal."""
    slope, blocks, count = equations.slope, equations.blocks, equations.slope.shape[1]
    if not blocks:
        return np.zeros_like(slope)
    rows, columns = np.indices((count, count))
    index = [(count * i + rows.ravel(), count * j + columns.ravel()) for i, j in blocks]
    places = tuple(np.concatenate([pair[axis] for pair in index]) for axis in range(2))
    entries = np.concatenate([block.ravel() for block in blocks.values()])
    matrix = coo_array((entries, places), shape=(slope.size, slope.size)).tocsc()
    ridge = np.tile(equations.freedoms.ridge, len(slope)) * float(matrix.diagonal().mean())
    matrix = (matrix + diags_array(ridge, format="csc")).tocsc()
    return np.asarray(spsolve(matrix, slope.ravel() - ridge * equations.values.ravel())).reshape(slope.shape)
