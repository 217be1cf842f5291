"""Errors of recorded positions: the misfit that calls for a look at them, and their causes, rotation, scales, shear."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float64

from ptypinn.data.orientation import rotation_matrix
from ptypinn.utils.plain_values import number

LAST_CHANGE = "last_stretch_change"
"""Key of the change of scales or shear in the last solve, beside the errors on record."""
MOVED = "moved_px"
"""Key of the root mean square move of positions that were solved for with the modes of the probe, on their record."""
SETTLED_STRETCH, MARGIN = 0.001, 6.0
"""Change of scales or shear in the last solve up to which they have settled, and what may be left over that change:
counts fix them only together with defocus and astigmatism of the probe, along a valley that is followed slowly."""
LARGE_STRETCH, LARGE_MISFIT, LEFT_FRACTION = 0.005, 1.005, 0.2
"""Scales or shear that were corrected, and misfit above which a fraction of their errors may be left: a drift, which is
no affine map, ends beside the bottom of the valley."""

Positions = Float64[np.ndarray, "patterns 2"]


@dataclass(frozen=True)
class PositionErrors:
    """Errors of recorded positions beside solved ones; both without their common shift."""

    rms_px: float
    """Root mean square distance, pixels."""
    rotation_deg: float
    """Rotation of the recorded positions from the y axis towards the x axis, degrees."""
    scale_y: float
    """Recorded over solved extent along y, less 1; beside the rotation."""
    scale_x: float
    """The same along x."""
    shear: float
    """Recorded change of x with y, or of y with x, where there is none; beside the rotation."""
    rest_px: float
    """Root mean square distance beside rotation, scales and shear, pixels."""

    @property
    def max_stretch(self) -> float:
        """Largest of the scales and the shear, without its sign."""
        return max(abs(self.scale_y), abs(self.scale_x), abs(self.shear))

    def to_record(self) -> dict[str, float]:
        """Return the errors as plain values for the provenance."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, object]) -> PositionErrors | None:
        """Read what `to_record` wrote; None where a value is missing."""
        values = {name: number(record.get(name)) for name in cls.__dataclass_fields__}
        numbers = {name: value for name, value in values.items() if value is not None}
        return cls(**numbers) if len(numbers) == len(values) else None

    def warnings(self, last_change: float, misfit: float) -> list[str]:
        """Return a sentence where a part of the errors of scales or shear may be left.

        Args:
            last_change: Change of scales or shear in the last solve.
            misfit: Amplitude residual over that of counting noise.
        """
        unexplained = misfit > LARGE_MISFIT and self.max_stretch > LARGE_STRETCH
        if last_change < SETTLED_STRETCH and not unexplained:
            return []
        off, left = (
            self.max_stretch,
            max(MARGIN * last_change, LEFT_FRACTION * self.max_stretch if unexplained else 0.0),
        )
        return [
            f"Scales or shear of the recorded positions were off by {100 * off:.2g} %: up to about {100 * left:.2g} % "
            "may be left, which warps the object. Counts fix them only together with the defocus of the probe. "
            "Calibrated positions, or a probe of known defocus, settle it."
        ]


def measure_position_errors(recorded_px: Positions, solved_px: Positions) -> PositionErrors:
    """Decompose the errors of recorded positions: the best affine map from the solved ones, and what it leaves.

    Args:
        recorded_px: Recorded positions (y, x), pixels.
        solved_px: Positions that were solved for, pixels.

    >>> square = np.array([[0.0, 0], [0, 10], [10, 0], [10, 10]])
    >>> errors = measure_position_errors(square * [1.04, 1.0], square)
    >>> round(errors.scale_y, 3), round(abs(errors.rotation_deg), 3)
    (0.04, 0.0)
    """
    recorded, solved = recorded_px - recorded_px.mean(0), solved_px - solved_px.mean(0)
    matrix = np.linalg.lstsq(solved, recorded, rcond=None)[0].T
    rest = recorded - solved @ matrix.T
    angle = float(np.arctan2(matrix[1, 0] - matrix[0, 1], matrix[0, 0] + matrix[1, 1]))
    stretch = rotation_matrix(angle).T @ matrix
    return PositionErrors(
        rms_px=_rms(recorded - solved),
        rotation_deg=float(np.rad2deg(angle)),
        scale_y=float(stretch[0, 0] - 1),
        scale_x=float(stretch[1, 1] - 1),
        shear=float(2 * stretch[0, 1]),
        rest_px=_rms(rest),
    )


def _rms(moves_px: Positions) -> float:
    return float(np.sqrt((moves_px**2).sum(1).mean()))
