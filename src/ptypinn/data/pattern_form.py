"""Form of stored patterns, by their values: square roots of counts, and a zero frequency in the corner.

Nothing is decided by it. Readers ask for an option, or warn, where patterns look unlike counts with the zero frequency
in the middle.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Num

MIN_ROOTS = 64
"""Pixels between 1 and `MAX_ROOT` that tell roots from other numbers."""
MAX_ROOT = 500.0
"""Largest root that is checked; above, rounding hides if the square is an integer."""
ROUNDING, RELATIVE_ROUNDING = 1e-3, 3e-7
"""Distance from an integer that single precision explains: absolute, and relative to the number."""
CORNER_SHARE = 0.75
"""Share of the photons in the corners, each a quarter of the edge wide, from which the direct beam is there; an even
pattern has a quarter of them there."""
EACH_CORNER_SHARE = 0.02
"""Share of the photons in every single corner, from which the direct beam is spread over all of them; the zero
frequency itself belongs to one of them, so that they are unequal where the beam is narrow."""


def are_square_roots(values: Num[np.ndarray, "*pixels"]) -> bool:
    """Return True if numbers are square roots of whole numbers, and few of them whole: amplitudes, no counts.

    >>> photons = np.random.default_rng(0).poisson(40.0, 200)
    >>> are_square_roots(np.sqrt(photons)), are_square_roots(photons.astype(float))
    (True, False)
    """
    roots = values[(values > 1) & (values < MAX_ROOT)].astype(np.float64)
    fractional = np.abs(roots - np.round(roots)) > ROUNDING
    squares = roots**2
    off = np.abs(squares - np.round(squares)) > ROUNDING + RELATIVE_ROUNDING * squares
    return len(roots) >= MIN_ROOTS and bool(fractional.mean() > 0.5) and bool(off.mean() < 0.01)


def is_corner_centred(pattern: Float64[np.ndarray, "y x"]) -> bool:
    """Return True if the direct beam of a mean pattern is spread over its four corners: its zero frequency is there.

    >>> y, x = np.mgrid[-8:8, -8:8]
    >>> beam = np.exp(-(y**2 + x**2) / 8)
    >>> is_corner_centred(beam), is_corner_centred(np.fft.ifftshift(beam)), is_corner_centred(np.ones((16, 16)))
    (False, True, False)
    """
    rows, columns = (edge // 4 for edge in pattern.shape)
    middle = np.fft.fftshift(pattern)
    y, x = (edge // 2 for edge in pattern.shape)
    corners = [
        middle[part_y, part_x].sum()
        for part_y in (slice(y - rows, y), slice(y, y + rows))
        for part_x in (slice(x - columns, x), slice(x, x + columns))
    ]
    total = float(pattern.sum())
    return total > 0 and bool(sum(corners) > CORNER_SHARE * total and min(corners) > EACH_CORNER_SHARE * total)
