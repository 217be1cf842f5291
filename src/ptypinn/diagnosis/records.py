"""What the provenance of a scan states about photons: the expectation that loaded numbers are held against."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ptypinn.data.scan import ScanData

SAME = 1e-6
"""Relative difference up to which two records state the same photons."""


@dataclass(frozen=True)
class Record:
    """Photons on record; None where nobody wrote them down."""

    probe_photons: float | None
    """Photons per pattern through vacuum."""
    pattern_photons: float | None
    """Mean photons per pattern behind the sample, on all pixels, without noise."""
    source: str
    """Who says so."""
    changed: str | None = None
    """How the probe came by other photons than those on record, in words; None where nobody changed them."""


def record_of(scan: ScanData) -> Record:
    """The photons that a simulation, or else the calibration of a probe, has on record.

    What is no positive finite number counts as no record.
    """
    said = scan.provenance
    calibration = said.get("probe_calibration")
    calibration = calibration if isinstance(calibration, Mapping) else {}
    simulated, calibrated = _photons(said.get("photons_probe")), _photons(calibration.get("photons"))
    rule = calibration.get("rule", "unknown")
    if simulated is not None:
        changed = None
        if calibrated is not None and not math.isclose(calibrated, simulated, rel_tol=SAME):
            how = "given" if rule == "given" else "calibrated"
            changed = f"the probe's photons were {how}: {calibrated:.4g} (rule: {rule})"
            changed += f"; the simulation says {simulated:.4g}"
        return Record(simulated, _photons(said.get("photons_expected")), "the simulation's record", changed)
    if calibrated is not None:
        return Record(calibrated, None, f"the probe's calibration (rule: {rule})")
    return Record(None, None, "no record")


def probe_photons(probe: np.ndarray) -> float:
    """Photons per pattern through vacuum, `sum(abs(probe)**2)`, float64."""
    return float(np.sum(np.abs(probe.astype(np.complex128)) ** 2))


def _photons(value: object) -> float | None:
    """A positive finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        photons = float(value)
    except OverflowError:
        return None
    return photons if 0 < photons < math.inf else None
