"""Which part of the detector is kept of every pattern."""

from __future__ import annotations

import numpy as np

from ptypinn.config.load import LoadConfig
from ptypinn.errors import InputError

Window = tuple[slice, slice]
"""Rows and columns that are kept."""


def window_of(source: str, shape: tuple[int, ...], config: LoadConfig) -> Window | None:
    """The square that `centre_px` and `crop_px` ask for, its zero frequency at N//2; None for the whole pattern.

    Args:
        source: Name of the data for messages.
        shape: Shape of the patterns; the last two axes count.
        config: Reading options. Without `crop_px` the largest square around the centre is kept.

    Raises:
        InputError: Where the square does not fit into the patterns.
    """
    if config.centre_px is None and config.crop_px is None:
        return None
    centre = config.centre_px or (shape[-2] // 2, shape[-1] // 2)
    largest = 2 * min(min(c, n - c) for c, n in zip(centre, shape[-2:], strict=True))
    if largest <= 0:
        found = f"{tuple(centre)} in patterns of {shape[-2]} x {shape[-1]}"
        raise InputError(source, "--centre_px", found, "a pixel inside them")
    edge = config.crop_px or largest
    if edge > largest:
        found = f"{edge} pixels around {tuple(centre)} in patterns of {shape[-2]} x {shape[-1]}"
        raise InputError(source, "--crop_px", found, "a square inside them")
    rows, columns = (slice(c - edge // 2, c + edge // 2) for c in centre)
    return rows, columns


def cut(values: np.ndarray, window: Window | None) -> np.ndarray:
    """The window of patterns or of a mask, whose last two axes are rows and columns."""
    return values if window is None else values[(..., *window)]
