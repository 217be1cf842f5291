"""Geometry of scan positions: distance from the middle, rotation, and affine maps of their moves."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int64

from ptypinn.data.orientation import rotation_matrix

MIN_SMOOTH_FRACTION = 0.5
"""Smallest fraction of the moves of a core that an affine map has to explain to be extrapolated."""

Positions = Float64[np.ndarray, "patterns 2"]
Places = Float64[np.ndarray, "places 2"]
Groups = Float64[np.ndarray, "places patterns 2"]


def distance_from_middle(positions_px: Positions) -> Float64[np.ndarray, " patterns"]:
    """Return the distance of positions from the middle of the scan, along the axis where it is larger, pixels."""
    return np.abs(positions_px - np.median(positions_px, 0)).max(1)


def select_middle(positions_px: Positions, count: int) -> Int64[np.ndarray, " middle"]:
    """Return the sorted indices of the patterns nearest to the middle of the scan, at most `count`.

    >>> select_middle(np.array([[9.0, 0.0], [0.0, 0.0], [1.0, 0.0]]), 2).tolist()
    [1, 2]
    """
    return np.sort(np.argsort(distance_from_middle(positions_px), kind="stable")[:count])


def rotate(positions_px: Positions, angle_rad: float, centre_px: Float64[np.ndarray, " 2"]) -> Positions:
    """Rotate positions (y, x) around a centre, from the y axis towards the x axis.

    >>> rotate(np.array([[1.0, 0.0]]), np.pi / 2, np.zeros(2)).round(6).tolist()
    [[0.0, 1.0]]
    """
    return (positions_px - centre_px) @ rotation_matrix(angle_rad).T + centre_px


def fit_affine(positions_px: Groups, moves_px: Groups, places_px: Places, iterations: int = 5) -> Places:
    """Return what the affine part of moves is at other places, by fits that single large moves hardly disturb.

    Where an affine map explains less than `MIN_SMOOTH_FRACTION` of the moves, it is their mean.

    Args:
        positions_px: Where the moves are given, around each of the places, (places, patterns, 2).
        moves_px: Moves, (places, patterns, 2).
        places_px: Where they are asked for, (places, 2).
        iterations: Fits, each with weights from the residuals of the one before (Cauchy).

    >>> corners = np.array([[[0.0, 0], [0, 1], [1, 0], [1, 1]]])
    >>> fit_affine(corners, 2 * corners, np.array([[3.0, 0.5]])).round(6).tolist()
    [[6.0, 1.0]]
    """
    centre = positions_px.mean(1, keepdims=True)
    terms = np.concatenate([positions_px - centre, np.ones((*positions_px.shape[:2], 1))], 2)
    asked = np.concatenate([places_px[:, None] - centre, np.ones((len(places_px), 1, 1))], 2)
    weights = np.ones((*positions_px.shape[:2], 1))
    for _ in range(iterations):
        adjoint = (terms * weights).swapaxes(1, 2)
        fit = np.linalg.pinv(adjoint @ terms, hermitian=True) @ (adjoint @ moves_px)
        distance = np.linalg.norm(moves_px - terms @ fit, axis=2, keepdims=True)
        weights = 1 / (1 + (distance / np.median(distance, axis=1, keepdims=True).clip(min=1e-6)) ** 2)
    mean = (moves_px * weights).sum(1, keepdims=True) / weights.sum(1, keepdims=True)
    spread = (np.square(moves_px - mean) * weights).sum((1, 2)).clip(min=1e-12)
    smooth = (np.square(distance) * weights).sum((1, 2)) < (1 - MIN_SMOOTH_FRACTION) * spread
    return np.where(smooth[:, None], (asked @ fit)[:, 0], moves_px.mean(1))
