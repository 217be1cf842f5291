"""The beam of an electron scan from its bright-field disk: semi-angle, defocus, astigmatism, scan rotation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64

from ptypinn.data.bright_field import BrightField, TiltedImages, fit_bright_field, form_images, pixel_angle_rad
from ptypinn.data.deflection import Deflection, fit_deflection
from ptypinn.data.descan import Descan, measure_descan
from ptypinn.data.scan import ScanData
from ptypinn.data.tilt_shifts import MIN_POINTS, TiltShifts, fit_tilt_shifts
from ptypinn.utils.number_format import format_length, format_measured_length

MIN_ASPECT = 0.1
"""Smallest extent of the positions across the direction of the largest, over that."""
MIN_ROTATION_DEG = 1.0
"""Smallest rotation of the scan that is named."""


@dataclass(frozen=True)
class BeamSurvey:
    """The beam of an electron scan, as its patterns show it."""

    disk: BrightField
    """The bright-field disk."""
    shifts: TiltShifts | None
    """Shifts of tilted images; None where they show none."""
    pixel_size_m: float | None
    """Object pixel, metres, where known."""
    pixel_angle_rad: float | None
    """Angle of a detector pixel, radians, where known."""
    tilted: TiltedImages | None = None
    """Images by parts of the disk; None of too few positions."""
    deflection: Deflection | None = None
    """Orientation by the deflection of the beam; None where it shows none."""
    hand_is_open: bool = False
    """True if shifts are those of a scan of the other hand, or of an astigmatism that exceeds the defocus."""
    descan: Descan | None = None
    """Motion of the disk with the scan position; None of too few positions, or where the scan has a moving beam."""

    @property
    def orientation(self) -> TiltShifts | Deflection | None:
        """The one that shows the orientation of the scan best; None where neither does."""
        shown = [one for one in (self.shifts, self.deflection) if one is not None]
        return min(shown, key=lambda one: one.rotation_error_deg, default=None)

    @property
    def semi_angle_mrad(self) -> float | None:
        """Semi-convergence angle, milliradians; None where the angle of a detector pixel is unknown."""
        return None if self.pixel_angle_rad is None else 1e3 * self.disk.radius_px * self.pixel_angle_rad

    @property
    def defocus_m(self) -> float | None:
        """Distance of the sample from the focus, metres, positive where it is downstream; None where unknown."""
        return None if self.shifts is None else self._length(-self.shifts.defocus)

    @property
    def defocus_error_m(self) -> float | None:
        """Standard error of the defocus, metres."""
        return None if self.shifts is None else self._length(self.shifts.defocus_error)

    @property
    def astigmatism_m(self) -> float | None:
        """Half the distance of both focal lines, metres."""
        return None if self.shifts is None else self._length(self.shifts.astigmatism)

    @property
    def turn_deg(self) -> float:
        """Rotation of the scan against the detector that a flip or an exchange of axes leaves, -45 to 45 degrees."""
        return 0.0 if self.orientation is None else (self.orientation.rotation_deg + 45) % 90 - 45

    @property
    def is_turned(self) -> bool:
        """True if the scan is turned against the detector by more than its error, flips and exchanges of axes aside."""
        shown = None if self.hand_is_open else self.orientation
        return shown is not None and abs(self.turn_deg) > max(MIN_ROTATION_DEG, 3 * shown.rotation_error_deg)

    def _length(self, shift: float) -> float | None:
        """Return a shift per tilt, object pixels per detector pixel, as a distance, metres."""
        if self.pixel_size_m is None or self.pixel_angle_rad is None:
            return None
        return shift * self.pixel_size_m / self.pixel_angle_rad

    def to_record(self) -> dict[str, Any]:
        """Return all numbers for JSON; None for those that are unknown."""
        shown = self.orientation
        return {
            "bright_field_radius_px": self.disk.radius_px,
            "bright_field_centre_px": list(self.disk.centre_px),
            "bright_field_fraction": self.disk.fraction,
            "semi_angle_mrad": self.semi_angle_mrad,
            "defocus_m": self.defocus_m,
            "defocus_error_m": self.defocus_error_m,
            "astigmatism_m": self.astigmatism_m,
            "descan": None if self.descan is None else self.descan.to_record(),
            "scan_rotation_deg": None if shown is None else shown.rotation_deg,
            "scan_rotation_error_deg": None if shown is None else shown.rotation_error_deg,
            "scan_is_mirrored": None if shown is None or self.hand_is_open else shown.is_mirrored,
        }

    def describe(self) -> list[tuple[str, str]]:
        """Return labels and values in words."""
        angle = "" if self.semi_angle_mrad is None else f", {self.semi_angle_mrad:.4g} mrad"
        rows = [
            ("bright-field disk", f"{self.disk.radius_px:.2f} px radius{angle}"),
            ("counts within", f"{100 * self.disk.fraction:.3g} %"),
            *([] if self.descan is None else [("descan", self.descan.describe())]),
        ]
        missing = "not shown by tilted images: near the focus, a crystal, or too few positions"
        rows += [("defocus", missing)] if self.shifts is None else self._describe_lengths()
        if (shown := self.orientation) is None:
            return rows
        hand = ", mirrored" if shown.is_mirrored else ""
        hand = ", mirrored, unless astigmatism exceeds the defocus" if self.hand_is_open else hand
        rotation = f"{shown.rotation_deg:.2f} +- {shown.rotation_error_deg:.2g} degrees{hand}"
        return [*rows, ("scan rotation", rotation)]

    def _describe_lengths(self) -> list[tuple[str, str]]:
        if self.defocus_m is None or self.defocus_error_m is None or self.astigmatism_m is None:
            return []
        side = "downstream" if self.defocus_m > 0 else "upstream"
        length = format_measured_length(abs(self.defocus_m), self.defocus_error_m)
        return [
            ("defocus", f"sample {length} {side} of the focus"),
            ("astigmatism", format_length(self.astigmatism_m, 2)),
        ]

    def warnings(self) -> list[str]:
        """Return a sentence for axes of the scan that are flipped or exchanged, and for a scan that is turned."""
        moved = []
        if self.descan is not None and self.descan.is_large:
            moved = [
                f"the bright-field disk moves by {self.descan.size_px:.3g} px with the scan position (descan); "
                "`reconstruct` takes it into account, unless told otherwise by `--beam still` or `--assume ideal`"
            ]
        if not self.is_turned:
            return [*self.orientation_faults(), *moved]
        turned = (
            f"the scan is turned by {self.turn_deg:.3g} degrees against the detector; `reconstruct` and `refine` turn "
            "positions back, unless told otherwise by `--positions recorded`"
        )
        return [*self.orientation_faults(), *moved, turned]

    def orientation_faults(self) -> list[str]:
        """Return a sentence for axes of the scan that are flipped or exchanged, with the options that undo it."""
        if (shown := self.orientation) is None:
            return []
        is_across = abs(shown.rotation_deg) > 45
        if shown.is_mirrored:
            options = "--transpose-positions" if is_across else "--flip-positions y"
            fault = "its axes are exchanged" if is_across else "one of its axes is flipped"
            doubt = ", unless the lens has more astigmatism than defocus, which shifts tilted images alike"
            doubt = doubt if self.hand_is_open else ""
            return [f"the scan has the other hand than the detector: {fault} ({options}){doubt}"]
        options = "--transpose-positions --flip-positions y"
        return [f"the scan is turned by about a quarter against the detector ({options})"] if is_across else []


def survey_beam(
    scan: ScanData,
    mean: Float64[np.ndarray, "y x"],
    batch: int = 256,
    *,
    motion: tuple[Descan, BrightField] | None = None,
) -> BeamSurvey | None:
    """Return what an electron scan shows of its beam; None for other scans, and without a bright-field disk.

    Args:
        scan: The scan, its patterns read `batch` at a time.
        mean: Its mean pattern, zero frequency at N//2; of a beam that is known to move, at its mean place.
        batch: Patterns in memory at once.
        motion: `measure_descan` of the scan, where that is at hand.
    """
    if scan.particle != "electron" or scan.fresnel_number is not None:
        return None
    disk = fit_bright_field(mean, scan.good)
    if disk is None:
        return None
    if scan.n_patterns < MIN_POINTS**2 or not _cover_an_area(scan.positions_px):
        return BeamSurvey(disk, None, scan.pixel_size_m, pixel_angle_rad(scan))
    measured = None if scan.beam_px is not None else motion or measure_descan(scan, disk, batch)
    descan, disk = (None, disk) if measured is None else measured
    if descan is not None and descan.is_large:
        scan = scan.replace(beam_px=descan.path_px(scan.positions_px))
    tilted = form_images(scan, disk, batch)
    shifts, deflection = fit_tilt_shifts(tilted, disk.radius_px, scan.size), fit_deflection(tilted)
    is_open = shifts is not None and (
        shifts.is_mirrored if deflection is None else shifts.is_mirrored != deflection.is_mirrored
    )
    return BeamSurvey(disk, shifts, scan.pixel_size_m, pixel_angle_rad(scan), tilted, deflection, is_open, descan)


def _cover_an_area(positions_px: Float64[np.ndarray, "patterns 2"]) -> bool:
    """Return True if positions do not lie along a line."""
    along, across = np.linalg.svd(positions_px - positions_px.mean(0), compute_uv=False)
    return bool(across > MIN_ASPECT * along)
