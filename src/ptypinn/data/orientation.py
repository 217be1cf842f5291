"""Orientation of patterns and positions, rotated, flipped and transposed on request, and the gain of the detector."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64, Num

from ptypinn.data.scan import Counts, ScanData
from ptypinn.errors import InputError


def rotation_matrix(angle_rad: float) -> Float64[np.ndarray, "2 2"]:
    """Return the matrix that rotates vectors (y, x) by an angle from the y axis towards the x axis.

    >>> (rotation_matrix(np.pi / 2) @ np.array([1.0, 0.0])).round(6).tolist()
    [0.0, 1.0]
    """
    cosine, sine = np.cos(angle_rad), np.sin(angle_rad)
    return np.array([[cosine, -sine], [sine, cosine]])


def undo_matrix(
    scan: ScanData, matrix: Float64[np.ndarray, "2 2"], about_px: Float64[np.ndarray, " 2"] | None = None
) -> ScanData:
    """Return a scan with the positions that a matrix has brought where they are; without a truth that they leave.

    Args:
        scan: The scan.
        matrix: From true to recorded positions (y, x).
        about_px: Place that stays, object pixels; the mean position by default.
    """
    from ptypinn.data.validation import patches_lie_inside

    about = scan.positions_px.mean(0) if about_px is None else about_px
    positions_px = (scan.positions_px - about) @ np.linalg.inv(matrix).T + about
    truth = scan.truth
    if truth is not None and not patches_lie_inside(positions_px, scan.size, truth.shape):
        truth = None
    return scan.replace(positions_px=positions_px, truth=truth)


@dataclass(frozen=True)
class Orientation:
    """One of the eight orientations of a square: transposed first, then flipped along axes.

    >>> Orientation(flip="y").images(np.arange(4)[:, None]).ravel().tolist()
    [0, 3, 2, 1]
    >>> Orientation(transpose=True).positions(np.array([[1.0, 2.0]])).tolist()
    [[2.0, 1.0]]
    """

    transpose: bool = False
    """Exchange rows and columns."""
    flip: str = "none"
    """Axes that are flipped afterwards: none, y, x or yx."""

    @property
    def is_identity(self) -> bool:
        """True if it is the identity."""
        return not self.transpose and self.flip == "none"

    @property
    def inverse(self) -> Orientation:
        """The inverse orientation."""
        return Orientation.of(self.matrix.T)

    @property
    def half_turn(self) -> Orientation:
        """This orientation followed by a rotation by 180 degrees."""
        return Orientation.of(-self.matrix)

    @property
    def matrix(self) -> Int64[np.ndarray, "2 2"]:
        """The orientation as a matrix on vectors (y, x)."""
        signs = np.diag([-1 if name in self.flip else 1 for name in "yx"])
        return np.asarray(signs @ (np.eye(2, dtype=np.int64)[::-1] if self.transpose else np.eye(2, dtype=np.int64)))

    @classmethod
    def of(cls, matrix: Int64[np.ndarray, "2 2"]) -> Orientation:
        """Return the orientation of a signed permutation matrix on vectors (y, x)."""
        flip = "".join(name for name, sign in zip("yx", matrix.sum(1), strict=True) if sign < 0)
        return cls(bool(matrix[0, 0] == 0), flip or "none")

    def after(self, first: Orientation) -> Orientation:
        """Return the composition of another orientation, applied first, with this one."""
        return Orientation.of(self.matrix @ first.matrix)

    def images(self, values: np.ndarray) -> np.ndarray:
        """Apply the orientation to the last two axes about pixel N//2, which leaves the zero frequency in place.

        Args:
            values: Images of even edge, (..., N, N). Row 0, whose mirror image lies outside, stays where it is.
        """
        values = values.swapaxes(-2, -1) if self.transpose else values
        for axis, name in ((-2, "y"), (-1, "x")):
            if name in self.flip:
                values = np.roll(np.flip(values, axis), 1, axis)
        return np.ascontiguousarray(values)

    def positions(self, values: np.ndarray) -> np.ndarray:
        """Apply the orientation to positions (y, x) about 0."""
        values = values[:, ::-1] if self.transpose else values
        signs = [-1.0 if name in self.flip else 1.0 for name in "yx"]
        return np.ascontiguousarray(values * signs)


ORIENTATIONS = tuple(itertools.starmap(Orientation, itertools.product((False, True), ("none", "y", "x", "yx"))))
"""All eight orientations, the identity first."""


class DerivedCounts:
    """Patterns that are oriented and divided by a gain when they are read.

    Args:
        counts: The patterns as they are stored.
        orientation: Orientation of the result.
        gain: Divisor; None leaves their number type unchanged.
    """

    def __init__(self, counts: Counts, orientation: Orientation, gain: float | None = None) -> None:
        self._counts, self._orientation, self._gain = counts, orientation, gain

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of patterns, rows, columns."""
        m, rows, columns = self._counts.shape
        return (m, columns, rows) if self._orientation.transpose else (m, rows, columns)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Number type: the stored one, or float32 after division."""
        return self._counts.dtype if self._gain is None else np.dtype(np.float32)

    def __getitem__(self, key: Any) -> Num[np.ndarray, "patterns y x"]:
        """Read patterns by slice or by index array."""
        patterns = self._orientation.images(self._counts[key])
        return patterns if self._gain is None else (patterns / self._gain).astype(np.float32)


def derive(scan: ScanData, patterns: Orientation, positions: Orientation, gain: float | None) -> ScanData:
    """Return a scan with oriented patterns, mask and probe, oriented positions, and counts divided by a gain.

    Raises:
        InputError: Where positions are to be turned that index a true object.
    """
    if not positions.is_identity and scan.truth is not None:
        expected = "a scan without a true object, whose pixels the positions count"
        raise InputError(scan.source, "--flip-positions", positions.flip, expected)
    changes: dict[str, Any] = {}
    if not patterns.is_identity or gain is not None:
        counts = DerivedCounts(scan.counts, patterns, gain)
        changes["counts"] = counts[:] if isinstance(scan.counts, np.ndarray) else counts
    if not patterns.is_identity:
        changes["mask"] = patterns.images(scan.good)
        changes["probe"] = None if scan.probe is None else patterns.images(scan.probe)
    if scan.background is not None:
        changes["background"] = patterns.images(scan.background / np.float32(gain or 1))
    if not positions.is_identity:
        changes["positions_px"] = positions.positions(scan.positions_px)
    return scan.replace(**changes) if changes else scan
