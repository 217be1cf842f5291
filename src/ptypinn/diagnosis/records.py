"""What the provenance of a scan states about photons: the expectation that loaded numbers are held against."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ptypinn.data.scan import ScanData


@dataclass(frozen=True)
class Record:
    """Photons on record; None where nobody wrote them down."""

    probe_photons: float | None
    """Photons per pattern through vacuum."""
    pattern_photons: float | None
    """Mean photons per pattern behind the sample, on all pixels, without noise."""
    source: str
    """Who says so."""


def record_of(scan: ScanData) -> Record:
    """The photons that a simulation, or else the calibration of a probe, has on record."""
    said = scan.provenance
    if "photons_probe" in said:
        return Record(float(said["photons_probe"]), _number(said.get("photons_expected")), "the simulation's record")
    calibration = said.get("probe_calibration") or {}
    if "photons" in calibration:
        rule = calibration.get("rule", "unknown")
        return Record(float(calibration["photons"]), None, f"the probe's calibration (rule: {rule})")
    return Record(None, None, "no record")


def probe_photons(probe: np.ndarray) -> float:
    """Photons per pattern through vacuum, `sum(abs(probe)**2)`, float64."""
    return float(np.sum(np.abs(probe.astype(np.complex128)) ** 2))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
