"""Arrays out of files, checked before they are used."""

from __future__ import annotations

import numpy as np
from jaxtyping import Complex64, Float64

from ptypinn.errors import InputError


def as_probe(source: str, name: str, values: np.ndarray) -> Complex64[np.ndarray, "mode y x"]:
    """Probe modes, (modes, N, N), from one or several of them.

    Args:
        source: Name of the file for messages.
        name: Where in it they lie.
        values: Modes, (N, N) or (modes, N, N).
    """
    if values.ndim not in (2, 3) or values.dtype.kind not in "uifc" or not values.size:
        found = f"{values.dtype} of shape {values.shape}"
        raise InputError(source, name, found, "numbers of shape (N, N) or (modes, N, N)")
    return values.reshape(-1, *values.shape[-2:]).astype(np.complex64)


def as_image(source: str, name: str, values: np.ndarray) -> Complex64[np.ndarray, "height width"]:
    """An object, (H, W).

    Args:
        source: Name of the file for messages.
        name: Where in it the object lies.
        values: The object, (H, W).
    """
    if values.ndim != 2 or values.dtype.kind not in "uifc":
        raise InputError(source, name, f"{values.dtype} of shape {values.shape}", "an image of numbers")
    return values.astype(np.complex64)


def as_positions(
    source: str, name: str, values: np.ndarray, axes: str = "y, x"
) -> Float64[np.ndarray, "patterns axes"]:
    """Coordinates, one line per pattern, in the unit of the file.

    Args:
        source: Name of the file for messages.
        name: Where in it they lie.
        values: Coordinates, (M, axes).
        axes: Which coordinates there have to be, between commas, and their unit where the format knows it.
    """
    wanted = len(axes.split(","))
    if values.ndim != 2 or values.shape[1] != wanted or values.dtype.kind not in "uif":
        found = f"{values.dtype} of shape {values.shape}"
        raise InputError(source, name, found, f"numbers of shape (patterns, {wanted}): {axes}")
    return np.ascontiguousarray(values, np.float64)
