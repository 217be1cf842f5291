"""Join the solutions of overlapping windows: align their phases, and blend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Complex64, Complex128, Float32, Float64
from scipy.linalg import eigh
from scipy.sparse.csgraph import connected_components

from ptypinn.solvers.unrolled.tiling import Box, Tile, TileLayout, blend_weight

SWEEPS = 100
"""Most power iterations of the joint alignment, after the leading eigenvector."""
FAINT = 1e-6
"""Photons that keep the weights of the faintest pixels within float32."""


@dataclass(frozen=True)
class TileResult:
    """The solution of a window, in files: what is mapped of them is let go of after every look."""

    window: Tile
    object_file: Path
    """Transmission on the window's canvas, (height, width) complex64 (.npy)."""
    light_file: Path
    """Photons on every pixel of it from the window's patterns, (height, width) float32 (.npy)."""

    @property
    def object(self) -> Complex64[np.ndarray, "height width"]:
        """Transmission, mapped from its file."""
        return np.load(self.object_file, mmap_mode="r", allow_pickle=False)

    @property
    def illumination(self) -> Float32[np.ndarray, "height width"]:
        """Photons, mapped from their file."""
        return np.load(self.light_file, mmap_mode="r", allow_pickle=False)


def stitch_tiles(pieces: Sequence[TileResult], layout: TileLayout) -> Complex64[np.ndarray, "height width"]:
    """The object on the whole canvas; 1 where no light falls.

    With a known probe a window leaves one global phase open and nothing else. These phases are taken out by joint
    weighted least squares over all overlaps; no amplitude is fitted. Windows are blended with weights that fall off
    smoothly over half the halo on both sides of their borders, times their illumination.

    Args:
        pieces: Solutions of all windows.
        layout: How the scan was cut.
    """
    factors = align_global_phases(overlap_products(pieces, layout), np.array([len(p.window.patterns) for p in pieces], float))
    total = np.zeros(layout.extent, np.complex64)
    weights = np.zeros(layout.extent, np.float32)
    whole = Box(0, 0, *layout.extent)
    for piece, factor in zip(pieces, factors, strict=True):
        place = piece.window.canvas.slices(whole)
        weight = _weight(piece, piece.window.canvas, layout)
        total[place] += weight * (np.complex64(factor) * piece.object)
        weights[place] += weight
    lit = weights > 1e-30
    np.divide(total, weights, out=total, where=lit)
    total[~lit] = 1
    return total


def overlap_products(pieces: Sequence[TileResult], layout: TileLayout) -> Complex128[np.ndarray, "window window"]:
    """Weighted inner products of all pairs of windows over the pixels that they share; Hermitian."""
    found = np.zeros(2 * (len(pieces),), complex)
    for i, a in enumerate(pieces):
        for j, b in enumerate(pieces[:i]):
            box = a.window.canvas.shared(b.window.canvas)
            if box.pixels:
                weight = _weight(a, box, layout) * blend_weight(b.window.core, box, layout.extent, layout.halo // 2)
                mine, theirs = a.object[box.slices(a.window.canvas)], b.object[box.slices(b.window.canvas)]
                found[i, j] = np.sum(weight * np.conj(mine) * theirs, dtype=complex)
                found[j, i] = np.conj(found[i, j])
    return found


def align_global_phases(
    products: Complex128[np.ndarray, "window window"], sizes: Float64[np.ndarray, " window"]
) -> Complex128[np.ndarray, " window"]:
    """Factors of modulus 1 that bring windows to one phase.

    They minimise the weighted squares of all differences in the overlaps, that is, they maximise
    `Re sum conj(z_i) c_ij z_j`: first the leading eigenvector, then power iterations on the moduli of 1. Windows that
    no overlap joins to others keep their phase.

    Args:
        products: `overlaps` of the windows.
        sizes: Weights of the windows in the overall phase of those that hang together, which stays on average.
    """
    factors = np.ones(len(products), complex)
    count, labels = connected_components(np.abs(products) > 0, directed=False)
    for label in range(count):
        among = np.flatnonzero(labels == label)
        if len(among) > 1:
            found = _aligned(products[np.ix_(among, among)])
            factors[among] = found * np.exp(-1j * np.angle(np.sum(sizes[among] * found)))
    return factors


def _aligned(products: Complex128[np.ndarray, "window window"]) -> Complex128[np.ndarray, " window"]:
    matrix = products + np.diag(np.abs(products).sum(1))  # not negative, so that every iteration gains
    found = _unit(eigh(matrix, subset_by_index=[len(matrix) - 1, len(matrix) - 1])[1][:, 0])
    for _ in range(SWEEPS):
        last, found = found, _unit(matrix @ found)
        if np.abs(found - last).max() < 1e-9:
            break
    return found


def _unit(values: Complex128[np.ndarray, " window"]) -> Complex128[np.ndarray, " window"]:
    return np.exp(1j * np.angle(values))


def _weight(piece: TileResult, box: Box, layout: TileLayout) -> Float32[np.ndarray, "height width"]:
    """Weight of a window on some of its pixels."""
    light = piece.illumination[box.slices(piece.window.canvas)]
    weight = blend_weight(piece.window.core, box, layout.extent, layout.halo // 2) * (light + FAINT)
    return np.where(light > 0, weight, 0).astype(np.float32)
