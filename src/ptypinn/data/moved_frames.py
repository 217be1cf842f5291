"""Frames whose beam moves over the detector, brought back by whole pixels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64, Int64, Shaped

Points = Float64[np.ndarray, "patterns 2"]


def group_shifts(path_px: Points | None, part: slice) -> Iterator[tuple[Int64[np.ndarray, " 2"], np.ndarray]]:
    """Yield displacements of patterns in whole pixels (y, x), and which patterns of a batch have each.

    Args:
        path_px: Displacement of every pattern, detector pixels; their mean is left out. None for none.
        part: The batch.
    """
    if path_px is None:
        yield np.zeros(2, np.int64), np.ones(part.stop - part.start, bool)
        return
    shifts = np.rint(path_px - path_px.mean(0)).astype(np.int64)[part]
    for shift in np.unique(shifts, axis=0):
        yield shift, (shifts == shift).all(1)


def roll_frames(
    frames: Shaped[np.ndarray, "frame y x"], shift: Int64[np.ndarray, " 2"]
) -> Shaped[np.ndarray, "frame y x"]:
    """Return frames moved by whole pixels (y, x); what comes in from outside is 0.

    >>> roll_frames(np.array([[[1, 2], [3, 4]]]), np.array([0, 1])).tolist()
    [[[0, 1], [0, 3]]]
    """
    moved = np.zeros_like(frames)
    (to_y, from_y), (to_x, from_x) = (
        (slice(max(s, 0), n + min(s, 0)), slice(max(-s, 0), n + min(-s, 0)))
        for s, n in zip((int(value) for value in shift), frames.shape[-2:], strict=True)
    )
    moved[..., to_y, to_x] = frames[..., from_y, from_x]
    return moved


def weigh_shifts(
    path_px: Points | None, part: slice
) -> Iterator[tuple[Int64[np.ndarray, " 2"], np.ndarray, Float64[np.ndarray, " chosen"]]]:
    """Yield displacements in whole pixels whose weighted sum is a bilinear interpolation at those of the patterns.

    Args:
        path_px: Displacement (y, x) of every pattern, detector pixels; their mean is left out. None for none.
        part: The batch.

    Yields:
        The displacement, which patterns of the batch have a share of it, and their shares.
    """
    if path_px is None:
        yield np.zeros(2, np.int64), np.ones(part.stop - part.start, bool), np.ones(part.stop - part.start)
        return
    path = (path_px - path_px.mean(0))[part]
    floor = np.floor(path).astype(np.int64)
    for corner in ((0, 0), (0, 1), (1, 0), (1, 1)):
        shifts = floor + np.array(corner)
        shares = (1 - np.abs(path - shifts)).prod(1)
        for shift in np.unique(shifts, axis=0):
            chosen = (shifts == shift).all(1) & (shares > 0)
            yield shift, chosen, shares[chosen]
