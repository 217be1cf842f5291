"""A beam monitor, such as an ion chamber or the current of a mirror: the known flux of the frames of a scan.

Its readings are compared with the photons of the frames before they are used. The sample transmits much the same at
neighbouring positions, so where a frame differs from those around it, its flux does: the photons follow the monitor in
proportion, with a slope of 1 between the logarithms.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from ptypinn.data.calibration import background_photons, pattern_sums
from ptypinn.data.positions import find_nearest
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.utils.plain_values import number

MONITOR = "monitor"
"""Key of the record of a beam monitor in the provenance of a scan."""
NEIGHBOURS = 8
"""Neighbouring frames that a frame is compared with."""
MIN_SLOPE = 0.5
"""Slope above which the flux by the monitor leaves less of its variation in the frames than a constant one does."""
DARKEST = 0.01
"""Photons of a frame over the mean below which they are taken as that many: logarithms need some."""
SURE = 4.0
"""Standard errors from which a slope is surely above or below: errors of 0.7 times the stated one on simulated scans,
at most 2.6 times."""


@dataclass(frozen=True)
class MonitorCheck:
    """Agreement of a monitor with the photons of the frames."""

    variation: float
    """Standard deviation of the monitor over its mean."""
    slope: float
    """Change of the logarithm of the photons with that of the monitor, from frames to their neighbours: 1 where the
    monitor has the flux."""
    slope_error: float
    """Standard error of the slope; infinite where the monitor is constant or there are no neighbours."""

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> MonitorCheck | None:
        """Read the record of a monitor; None where it holds no check, as that of a constant one."""
        values = [number(record.get(name)) for name in ("variation", "slope", "slope_error")]
        numbers = [value for value in values if value is not None]
        return cls(*numbers) if len(numbers) == len(values) else None

    @property
    def is_contradicted(self) -> bool:
        """True if the photons surely do not follow the monitor."""
        return self.slope + SURE * self.slope_error < MIN_SLOPE

    @property
    def is_confirmed(self) -> bool:
        """True if the photons surely follow the monitor."""
        return self.slope - SURE * self.slope_error > MIN_SLOPE

    @property
    def is_followed(self) -> bool:
        """True if the photons surely change in the direction of the monitor, however much."""
        return self.slope - SURE * self.slope_error > 0

    @property
    def is_off(self) -> bool:
        """True if the photons follow the monitor, but surely not in proportion."""
        return self.is_confirmed and abs(self.slope - 1) > max(SURE * self.slope_error, 0.05)


def check_monitor(
    readings: Float64[np.ndarray, " patterns"],
    photons: Float64[np.ndarray, " patterns"],
    positions_px: Float64[np.ndarray, "patterns 2"],
) -> MonitorCheck:
    """Compare the readings of a monitor with the photons of the frames, from every frame to its neighbours.

    Args:
        readings: More than 0, in any unit.
        photons: Photons of every frame without background, in any unit.
        positions_px: Positions (y, x), object pixels.

    >>> places, flux = np.argwhere(np.ones((10, 10))) * 4.0, np.exp(np.sin(np.arange(100.0) ** 2) / 5)
    >>> check_monitor(flux, 1e4 * flux, places).is_confirmed
    True
    """
    variation = float(readings.std() / readings.mean())
    mean = float(photons.mean())
    if len(readings) <= NEIGHBOURS or mean <= 0:
        return MonitorCheck(variation, 0.0, float("inf"))
    near, weights = _weigh_neighbours(positions_px)
    scale = 1 / np.sqrt(1 + np.sum(weights**2, 1))
    steps, photon_steps = (
        scale * (values - (values[near] * weights).sum(1))
        for values in (np.log(readings), np.log(np.maximum(photons, DARKEST * mean)))
    )
    total = float(np.sum(steps**2))
    if total <= 1e-12 * len(readings):
        return MonitorCheck(variation, 0.0, float("inf"))
    slope = float(np.sum(steps * photon_steps)) / total
    error = float(np.sqrt(np.sum((steps * (photon_steps - slope * steps)) ** 2))) / total
    return MonitorCheck(variation, slope, error)


def _weigh_neighbours(
    positions_px: Float64[np.ndarray, "patterns 2"],
) -> tuple[Int64[np.ndarray, "patterns near"], Float64[np.ndarray, "patterns near"]]:
    """Return the neighbours of every frame, and the weights by which the plane through their values has its place."""
    near = find_nearest(positions_px, positions_px, NEIGHBOURS + 1)[1]
    others = (near != np.arange(len(near))[:, None]).astype(np.float64)
    places = positions_px[near] - positions_px[:, None]
    places /= max(float(np.abs(places).max()), 1e-30)
    design = np.concatenate([others[..., None], others[..., None] * places], 2)
    return near, np.linalg.pinv(design, rcond=1e-3)[:, 0] * others


def with_monitor(scan: ScanData, readings: Float64[np.ndarray, " patterns"], name: str) -> ScanData:
    """Return a scan whose frames have the flux that a monitor shows; as it is where the counts contradict that.

    Frames that are empty, as where the shutter was closed, are no test.

    Args:
        scan: The scan, with the frames that are used.
        readings: One per frame, more than 0, in any unit.
        name: Where they come from, for the record.
    """
    photons = pattern_sums(scan) - background_photons(scan, scan.background)
    filled = photons > DARKEST * photons.mean()
    filled |= not filled.any()
    check = check_monitor(readings[filled], photons[filled], scan.positions_px[filled])
    record = {"from": name, **asdict(check), "applied": not check.is_contradicted}
    record["slope_error"] = check.slope_error if np.isfinite(check.slope_error) else None
    if check.is_contradicted:
        warnings.warn(f"{scan.source}: {describe_monitor(record)}", stacklevel=2)
    flux = scan.flux if check.is_contradicted else readings / readings.mean()
    return scan.replace(flux=flux, provenance={**scan.provenance, MONITOR: record})


def settles_flux(provenance: Mapping[str, Any]) -> bool:
    """Return True if the counts of a scan follow its beam monitor in proportion: slow changes are known as well."""
    record = monitor_record(provenance)
    check = MonitorCheck.from_record(record)
    return bool(record.get("applied")) and check is not None and check.is_confirmed and not check.is_off


def monitor_record(provenance: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the record of the beam monitor of a scan, empty where it has none."""
    record = provenance.get(MONITOR)
    return record if isinstance(record, Mapping) else {}


def describe_monitor(record: Mapping[str, Any]) -> str:
    """Return a sentence on a monitor: its variation, and whether it has the flux; empty for an unreadable record."""
    variation, check = number(record.get("variation")), MonitorCheck.from_record(record)
    if variation is None:
        return ""
    start = f"The beam monitor ({record.get('from')}) varies by {100 * variation:.2g} % (standard deviation)"
    if check is None:
        return f"{start}: the flux of the frames is taken from it, which their counts cannot test."
    power = f"{check.slope:.2f} +- {check.slope_error:.1g}"
    if check.is_contradicted and check.is_followed:
        return (
            f"{start}, but the counts of the frames follow it too little: they change with its power {power} from "
            "frames to their neighbours, 1 expected. It is left aside; its zero is probably off, too much subtracted."
        )
    if check.is_contradicted:
        return (
            f"{start}, but the counts of the frames do not follow it: they change with its power {power} "
            "from frames to their neighbours, 1 expected. It is left aside; is it that of this scan, frame by frame?"
        )
    if not check.is_confirmed:
        return (
            f"{start}: the flux of the frames is taken from it. Their counts neither confirm nor contradict it "
            f"(power {power}, 1 expected)."
        )
    off = " Its zero may be off, or it saturates." if check.is_off else ""
    return f"{start}: the flux of the frames is taken from it. Their counts follow it (power {power}, 1 expected).{off}"


def require_no_monitor(scan: ScanData, user: str) -> None:
    """Raise `InputError` for a scan whose frames have a known flux, which some solvers do not have in their model.

    Args:
        scan: The scan.
        user: Name of the solver that has none, and of the one that has.
    """
    if scan.flux is not None:
        raise InputError(scan.source, "--monitor", "a known flux of the frames", f"--monitor none for {user}")
