"""Slow phases of a picture in progress, from the displacement of every pattern against its prediction.

Windows join phases only where they overlap, so that small errors of slope would add up along the scan. A slope of the
object's phase displaces the patterns there: the slope that all of them show is integrated by least squares over the
whole picture, on a coarse grid.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Float64
from scipy import sparse
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.sparse.linalg import spsolve

from ptypinn.solvers.live.canvas import GrowingCanvas

CELL_PX, MAX_CELLS = 8, 96
"""Edge of the cells of the coarse grid, pixels, and the largest number of them along an axis; along a long one, cells
are longer."""
EMPTY_FRACTION = 0.1
"""Density of patterns, over its maximum, below which their slope counts for little."""
SWEEPS = 3
"""Integrations in turn: the probe blurs the slopes that it shows, and each takes back some of that."""
MIN_WEIGHT = 1e-6

Plane = Float64[np.ndarray, "rows columns"]


def relax_phase(
    canvas: GrowingCanvas,
    positions_px: Float64[np.ndarray, "patterns 2"],
    shift_px: Float64[np.ndarray, "patterns 2"],
    size: int,
    width_px: float,
) -> Float64[np.ndarray, "patterns 2"]:
    """Turn the phase of an object by what displaced patterns show; return the displacements that are left.

    Args:
        canvas: Canvas, which is changed where it has illumination.
        positions_px: Positions of the patterns in the picture, object pixels.
        shift_px: Displacement (y, x) of each against its prediction, detector pixels.
        size: Edge of a pattern, pixels.
        width_px: Rms half-width of the probe's power, pixels.
    """
    edges = np.array(canvas.box.shape)
    cell = np.maximum(CELL_PX, -(-edges // MAX_CELLS))
    shape = (int(max(2, -(-edges[0] // cell[0]))), int(max(2, -(-edges[1] // cell[1]))))
    middle = (positions_px + size / 2 - np.array(canvas.box[:2])) / cell - 0.5
    slopes, width, phase = 2 * np.pi * cell / size * shift_px, np.maximum(1.0, width_px / cell), np.zeros(shape)
    for _ in range(SWEEPS):
        weight, mean = _spread(middle, slopes, shape, width)
        part = integrate_weighted(mean[0], mean[1], weight)
        phase += part
        gradient = [gaussian_filter(axis, width, mode="nearest") for axis in np.gradient(part)]
        slopes = slopes - np.stack([map_coordinates(axis, middle.T, order=1, mode="nearest") for axis in gradient], 1)
    down, across = (_interpolate(*axis) for axis in zip(canvas.box.shape, shape, cell.tolist(), strict=True))
    fine = down @ phase.astype(np.float32) @ across.T
    canvas.object *= np.where(canvas.illumination > 0, np.exp(1j * fine), np.complex64(1))
    return slopes * size / (2 * np.pi * cell)


def _interpolate(edge: int, cells: int, cell: int) -> Float32[np.ndarray, "pixels cells"]:
    """Return the matrix of linear interpolation along an axis, from cells to pixels; constant beyond the outer ones."""
    place = np.clip((np.arange(edge) + 0.5) / cell - 0.5, 0, cells - 1)
    low, pixels = np.minimum(place.astype(np.int64), cells - 2), np.arange(edge)
    matrix = np.zeros((edge, cells), np.float32)
    matrix[pixels, low], matrix[pixels, low + 1] = 1 - (place - low), place - low
    return matrix


def integrate_weighted(down: Plane, across: Plane, weight: Plane) -> Plane:
    """Return the surface whose slopes are nearest to given ones by weighted least squares; its weighted mean is 0.

    Args:
        down: Slope along the rows' axis, per cell.
        across: Slope along the columns' axis, per cell.
        weight: Weight of the slopes of a cell.

    >>> surface = np.add.outer(np.arange(4.0), 2 * np.arange(5.0))
    >>> result = integrate_weighted(np.ones((4, 5)), np.full((4, 5), 2.0), np.ones((4, 5)))
    >>> bool(np.allclose(result, surface - surface.mean(), atol=1e-4))
    True
    """
    cells = np.arange(weight.size).reshape(weight.shape)
    first = np.concatenate([cells[:-1].ravel(), cells[:, :-1].ravel()])
    second = np.concatenate([cells[1:].ravel(), cells[:, 1:].ravel()])
    steps = np.concatenate([((down[1:] + down[:-1]) / 2).ravel(), ((across[:, 1:] + across[:, :-1]) / 2).ravel()])
    trust = np.minimum(weight.ravel()[first], weight.ravel()[second]) + MIN_WEIGHT
    rows = np.arange(len(steps))
    entries = np.concatenate([np.full(len(rows), -1.0), np.ones(len(rows))])
    difference = sparse.csr_matrix((entries, (np.tile(rows, 2), np.concatenate([first, second]))))
    weighted = difference.T @ sparse.diags(trust)
    system = weighted @ difference + 1e-9 * sparse.identity(weight.size)
    surface = spsolve(system.tocsc(), weighted @ steps).reshape(weight.shape)
    return surface - np.average(surface, weights=weight + MIN_WEIGHT)


def _spread(
    middle: Float64[np.ndarray, "patterns 2"],
    slopes: Float64[np.ndarray, "patterns 2"],
    shape: tuple[int, int],
    width: Float64[np.ndarray, " 2"],
) -> tuple[Plane, Float64[np.ndarray, "2 rows columns"]]:
    """Return the weight of every cell, at most 1, and the mean slope of the patterns whose light reaches it."""
    index = tuple(np.clip(np.rint(middle), 0, np.array(shape) - 1).astype(np.int64).T)
    sums = np.zeros((3, *shape))
    for total, values in zip(sums, (1.0, *slopes.T), strict=True):
        np.add.at(total, index, values)
    density, *parts = (gaussian_filter(total, width, mode="constant") for total in sums)
    weight = density / (density + EMPTY_FRACTION * density.max())
    return weight, np.stack(parts) / np.maximum(density, 1e-9)
