"""Search for the places on a reconstruction that explain the patterns best, far beyond the reach of a gradient."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor

from ptypinn.data.pattern_batches import PatternBatches
from ptypinn.data.reconstruction import SolverResult
from ptypinn.data.scan import ScanData
from ptypinn.physics.forward import FAR_FIELD
from ptypinn.physics.patches import extract_patches
from ptypinn.types import Object

FINE_RADIUS = 4
"""Up to this radius every pixel is tried; beyond, every second one, and then its neighbours."""
NEIGHBOUR_RADIUS = 2
"""Moves around the best of a coarse grid, so that its neighbours on both sides are among them."""

Positions = Float64[np.ndarray, "patterns 2"]
Moves = Int64[np.ndarray, "moves 2"]
Misfits = Float32[np.ndarray, "patterns moves"]


class PositionMatch(NamedTuple):
    """Best places of the patterns of a scan on a reconstruction."""

    positions_px: Float64[np.ndarray, "patterns 2"]
    """Canvas coordinates (y, x) of the probe array's pixel (0, 0), with their sub-pixel part."""
    misfit: Float32[np.ndarray, " patterns"]
    """`1 - (sum m t)^2 / (sum m^2 sum t^2)` of modelled and measured amplitudes there."""
    misfit_before: Float32[np.ndarray, " patterns"]
    """The same at the whole pixel next to the present position."""


def search_positions(
    scan: ScanData, result: SolverResult, positions_px: Positions, radius: int, device: torch.device
) -> PositionMatch:
    """Compare every pattern with the model at all whole pixels around its position; a parabola gives the rest.

    The flux of a pattern is free. A search costs one FFT per pattern, mode and place.

    Args:
        scan: Patterns, all of the reconstruction or others.
        result: Object and probe.
        positions_px: Canvas coordinates (y, x) to search around, (patterns, 2), pixels.
        radius: Largest move, pixels.
        device: Device to compute on.
    """
    canvas, corners = _pad_canvas(result, positions_px, radius, device)
    search = _Search(PatternBatches(scan, device, len(result.probe)), canvas, result.probe, scan.size)
    if radius <= FINE_RADIUS:
        moves = _disk(radius, 1)
        misfits = search.misfits(corners, moves)
        return _best_match(positions_px, np.zeros_like(corners), moves, misfits, misfits[:, _middle(moves)])
    moves = _disk(radius, 2)
    misfits = search.misfits(corners, moves)
    coarse = moves[misfits.argmin(1)]
    neighbours = _disk(NEIGHBOUR_RADIUS, 1)
    fine = search.misfits(corners + coarse, neighbours)
    return _best_match(positions_px, coarse, neighbours, fine, misfits[:, _middle(moves)])


class _Search:
    """Misfits of the patterns of one scan on one canvas."""

    def __init__(self, stack: PatternBatches, canvas: Object, probe: np.ndarray, size: int) -> None:
        self.stack, self.canvas, self.size = stack, canvas, size
        self.probe = torch.from_numpy(probe).to(stack.device)[None]

    def misfits(self, corners: Int64[np.ndarray, "patterns 2"], moves: Moves) -> Misfits:
        """Return the misfit of every pattern at every move from its corner on the canvas."""
        misfits = np.empty((len(corners), len(moves)), np.float32)
        for part, counts in self.stack:
            target = counts.sqrt() * self.stack.good
            norm = target.square().sum((1, 2)).clamp(min=1e-9)
            for number, move in enumerate(moves):
                places = torch.from_numpy(corners[part] + move)
                misfits[part, number] = self._misfit(places, target, norm).cpu().numpy()
        return misfits

    def _misfit(self, places: Tensor, target: Tensor, norm: Tensor) -> Float[Tensor, " batch"]:
        patches = extract_patches(self.canvas[None], places[None].to(self.canvas.device), self.size)[0]
        model = FAR_FIELD.predict_counts(patches, self.probe).sqrt_().mul_(self.stack.good)
        overlap, power = (model * target).sum((1, 2)), model.square().sum((1, 2)).clamp(min=1e-9)
        return 1 - overlap.square() / (power * norm)


def _pad_canvas(
    result: SolverResult, positions_px: Positions, radius: int, device: torch.device
) -> tuple[Object, Int64[np.ndarray, "patterns 2"]]:
    """Return the object with vacuum around it, as far as patterns may move, and the corners of the patterns on it."""
    corners, size = np.rint(positions_px).astype(np.int64), result.probe.shape[-1]
    reach = radius + NEIGHBOUR_RADIUS
    before = np.maximum(reach - corners.min(0), 0)
    after = np.maximum(corners.max(0) + reach + size - np.asarray(result.object.shape), 0)
    canvas = np.pad(result.object, tuple(zip(before, after, strict=True)), constant_values=1)
    return torch.from_numpy(canvas).to(device), corners + before


def _best_match(
    positions_px: Positions,
    coarse: Int64[np.ndarray, "patterns 2"],
    moves: Moves,
    misfits: Misfits,
    before: Float32[np.ndarray, " patterns"],
) -> PositionMatch:
    """Return the places of least misfit, with a parabola through their neighbours."""
    best = misfits.argmin(1)
    rest = np.stack([_parabola(misfits, moves, best, axis) for axis in (0, 1)], 1)
    places = np.rint(positions_px) + coarse + moves[best] + rest
    return PositionMatch(places, misfits[np.arange(len(best)), best], before)


def _parabola(
    misfits: Misfits, moves: Moves, best: Int64[np.ndarray, " patterns"], axis: int
) -> Float64[np.ndarray, " patterns"]:
    """Return the minimum of the parabola through the best move and its two neighbours; 0 where one is missing."""
    number = {tuple(move): place for place, move in enumerate(moves.tolist())}
    step = np.eye(2, dtype=int)[axis]
    low, high = (
        np.array([number.get(tuple((move + sign * step).tolist()), -1) for move in moves])[best] for sign in (-1, 1)
    )
    rows = np.arange(len(best))
    below, here, above = (misfits[rows, column].astype(np.float64) for column in (low, best, high))
    bend = below - 2 * here + above
    inside = (low >= 0) & (high >= 0) & (bend > 0)
    return np.where(inside, np.clip((below - above) / (2 * np.where(inside, bend, 1.0)), -0.5, 0.5), 0.0)


def _disk(radius: int, step: int) -> Moves:
    """Return all moves (y, x) within a radius, in steps, the middle among them."""
    axis = np.arange(-(radius // step) * step, radius + 1, step)
    moves = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    return moves[(moves**2).sum(1) <= radius**2]


def _middle(moves: Moves) -> int:
    return int(np.flatnonzero((moves == 0).all(1))[0])
