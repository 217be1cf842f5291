"""Stitch the results of overlapping tiles: align their global phases, and blend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Complex64, Complex128, Float32, Float64
from scipy.linalg import eigh
from scipy.sparse.csgraph import connected_components

from ptypinn.solvers.unrolled.tiling import Box, Tile, TileLayout, blend_weight

Image = Complex64[np.ndarray, "height width"]

MAX_POWER_ITERATIONS = 100
"""Upper bound of the power iterations of the joint alignment, after the leading eigenvector."""
FAINT_PHOTONS = 1e-6
"""Photons added to every illuminated pixel, so that the weights of the faintest stay within float32."""


@dataclass(frozen=True)
class TileResult:
    """Result of a tile, in files; each access maps them anew, so that no memory is held between."""

    tile: Tile
    object_file: Path
    """Transmission on the tile's canvas, (height, width) complex64 (.npy), of every slice where the sample is thick."""
    illumination_file: Path
    """Photons on every pixel of it from the tile's patterns, (height, width) float32 (.npy)."""
    slice: int | None = None
    """Number of the slice that is meant; None for a thin sample."""

    @property
    def object(self) -> Complex64[np.ndarray, "height width"]:
        """Transmission, mapped from its file."""
        sample = np.load(self.object_file, mmap_mode="r", allow_pickle=False)
        return sample if self.slice is None else sample[self.slice]

    @property
    def illumination(self) -> Float32[np.ndarray, "height width"]:
        """Photons, mapped from their file."""
        return np.load(self.illumination_file, mmap_mode="r", allow_pickle=False)


def stitch_tiles(
    results: Sequence[TileResult], layout: TileLayout, flux_factors: Float64[np.ndarray, " tile"] | None = None
) -> Complex64[np.ndarray, "height width"]:
    """Return the object on the whole canvas; 1 where the illumination is 0.

    With a known probe the data of a tile leave one global phase open and nothing else. These phases are removed by
    joint weighted least squares over all overlaps; no amplitude is fitted. Tiles are blended with weights that fall off
    smoothly over half the halo on both sides of their borders, times their illumination.

    Args:
        results: Results of all tiles.
        layout: Layout of the tiles.
        flux_factors: Factors on the flux of their frames (`align_flux`), which the objects compensate; None where it is
            known.
    """
    sizes = np.array([len(result.tile.patterns) for result in results], float)
    factors = align_global_phases(overlap_products(results, layout), sizes)
    factors = factors if flux_factors is None else factors / np.sqrt(flux_factors)
    return blend_tiles(results, layout, lambda number, image: np.complex64(factors[number]) * image)


def align_flux(tiles: Sequence[Tile], fluxes: Sequence[Float64[np.ndarray, " frames"]]) -> Float64[np.ndarray, " tile"]:
    """Return factors on the flux of the frames of every tile, which each leaves open with the amplitude of its object.

    Frames that tiles share agree with them, in the median and by joint least squares of the logarithms.

    Args:
        tiles: The tiles.
        fluxes: Flux of the frames of each, in the order of its patterns.

    >>> tiles = [Tile(*(2 * (Box(0, 0, 1, 1),)), np.array(part), np.array(part)) for part in ([0, 1, 2], [1, 2, 3])]
    >>> align_flux(tiles, [np.array([1.0, 2.0, 3.0]), np.array([1.0, 1.5, 2.0])]).round(3)
    array([0.707, 1.414])
    """
    rows, values = [], []
    for i, one in enumerate(tiles):
        for j, other in enumerate(tiles[:i]):
            if not one.canvas.intersection(other.canvas).pixels:
                continue
            shared, ours, theirs = np.intersect1d(one.patterns, other.patterns, return_indices=True)
            if len(shared):
                row, weight = np.zeros(len(tiles)), np.sqrt(len(shared))
                row[[i, j]] = weight, -weight
                rows.append(row)
                values.append(weight * np.median(np.log(fluxes[j][theirs] / fluxes[i][ours])))
    return np.exp(np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)[0]) if rows else np.ones(len(tiles))


def blend_tiles(
    results: Sequence[TileResult], layout: TileLayout, align: Callable[[int, Image], Image]
) -> Complex64[np.ndarray, "height width"]:
    """Return the weighted mean of aligned tiles on the whole canvas; 1 where the illumination is 0.

    Args:
        results: Results of all tiles.
        layout: Layout of the tiles.
        align: Returns the aligned transmission of a tile, from its number and what was solved.
    """
    total = np.zeros(layout.extent, np.complex64)
    weights = np.zeros(layout.extent, np.float32)
    whole = Box(0, 0, *layout.extent)
    for number, result in enumerate(results):
        place = result.tile.canvas.slices(whole)
        weight = weigh_tile(result, result.tile.canvas, layout)
        total[place] += weight * align(number, result.object)
        weights[place] += weight
    illuminated = weights > 1e-30
    np.divide(total, weights, out=total, where=illuminated)
    total[~illuminated] = 1
    return total


def overlap_products(results: Sequence[TileResult], layout: TileLayout) -> Complex128[np.ndarray, "tile tile"]:
    """Return the weighted inner products of all pairs of tiles over their common pixels; Hermitian."""
    products = np.zeros(2 * (len(results),), complex)
    for i, a in enumerate(results):
        for j, b in enumerate(results[:i]):
            box = a.tile.canvas.intersection(b.tile.canvas)
            if box.pixels:
                weight = weigh_overlap(a, b, box, layout)
                image, other = a.object[box.slices(a.tile.canvas)], b.object[box.slices(b.tile.canvas)]
                products[i, j] = np.sum(weight * np.conj(image) * other, dtype=complex)
                products[j, i] = np.conj(products[i, j])
    return products


def align_global_phases(
    products: Complex128[np.ndarray, "tile tile"], sizes: Float64[np.ndarray, " tile"]
) -> Complex128[np.ndarray, " tile"]:
    """Return factors of modulus 1 that bring tiles to one phase.

    They minimise the weighted squares of all differences in the overlaps, that is, they maximise
    `Re sum conj(z_i) c_ij z_j`: first the leading eigenvector, then power iterations on the moduli of 1. Tiles that
    overlap with no other keep their phase.

    Args:
        products: `overlap_products` of the tiles.
        sizes: Weights of the tiles in the overall phase of connected ones, which stays on average.

    >>> phases = np.exp(1j * np.array([0.3, -0.4]))
    >>> factors = align_global_phases(np.outer(phases.conj(), phases), np.ones(2))
    >>> np.ptp(np.angle(phases * factors)) < 1e-9
    np.True_
    """
    factors = np.ones(len(products), complex)
    count, labels = connected_components(np.abs(products) > 0, directed=False)
    for label in range(count):
        connected = np.flatnonzero(labels == label)
        if len(connected) > 1:
            aligned = _align_connected(products[np.ix_(connected, connected)])
            factors[connected] = aligned * np.exp(-1j * np.angle(np.sum(sizes[connected] * aligned)))
    return factors


def _align_connected(products: Complex128[np.ndarray, "tile tile"]) -> Complex128[np.ndarray, " tile"]:
    matrix = products + np.diag(np.abs(products).sum(1))  # not negative, so that every iteration gains
    factors = _unit(eigh(matrix, subset_by_index=[len(matrix) - 1, len(matrix) - 1])[1][:, 0])
    for _ in range(MAX_POWER_ITERATIONS):
        last, factors = factors, _unit(matrix @ factors)
        if np.abs(factors - last).max() < 1e-9:
            break
    return factors


def _unit(values: Complex128[np.ndarray, " tile"]) -> Complex128[np.ndarray, " tile"]:
    return np.exp(1j * np.angle(values))


def weigh_overlap(a: TileResult, b: TileResult, box: Box, layout: TileLayout) -> Float64[np.ndarray, "height width"]:
    """Return the weight of the difference of two tiles on common pixels."""
    return weigh_tile(a, box, layout) * blend_weight(b.tile.core, box, layout.extent, layout.halo // 2)


def weigh_tile(result: TileResult, box: Box, layout: TileLayout) -> Float32[np.ndarray, "height width"]:
    """Return the weight of a tile on some of its pixels."""
    photons = result.illumination[box.slices(result.tile.canvas)]
    weight = blend_weight(result.tile.core, box, layout.extent, layout.halo // 2) * (photons + FAINT_PHOTONS)
    return np.where(photons > 0, weight, 0).astype(np.float32)
