"""Checks of the patterns themselves: are they photons, amplitudes, squared counts, or squares that overflowed?

Photon counts are integers without further structure. Their square roots are no integers, but the squares of those are.
Counts that were squared once more are all perfect squares. A square that overflowed its integer type is still a
quadratic residue modulo a power of two: a power of four times a number that leaves 1 when divided by 8.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ptypinn.data.pattern_form import are_square_roots
from ptypinn.data.scan import ScanData

MIN_PIXELS = 64
"""Pixels of value 2 or more that a check needs."""
HALF_ULP, MAX_SQUARE = 2.0**-24, 1e12
"""Relative rounding of a square in single precision, and the largest number at which the check for squares has power:
below it, at most 6 % of all integers are that close to a square, so that MIN_PIXELS of them tell the two apart."""
N_SAMPLE = 16
"""Patterns that are checked."""
AMPLITUDES = "amplitudes are read as counts"
SQUARES = "counts are read as amplitudes, and squared"
OVERFLOW = "integers overflow where amplitudes are squared"
CLIPPED = "pixels saturate: many hold the largest value that the detector counts"
MIN_CLIPPED = 16
"""Pixels at the largest value, and counts in it, from which values are clipped."""
INTEGER_RANGES = (2**8, 2**16, 2**32)
"""Numbers of values of the unsigned integer types."""
SAME_PHOTONS = 1e-6
"""Relative difference up to which two records state the same photons."""


@dataclass(frozen=True)
class CountFault:
    """Values other than photon counts, and the way back to counts."""

    cause: str
    """Cause, in words."""
    repair: Callable[[np.ndarray], np.ndarray] | None
    """Function from the values to photon counts; None if those are lost."""


@dataclass(frozen=True)
class PhotonRecord:
    """Photons on record; None if they were not recorded."""

    probe_photons: float | None
    """Photons per pattern through vacuum."""
    pattern_photons: float | None
    """Mean photons per pattern behind the sample, on all pixels, without noise."""
    source: str
    """Origin of the record."""
    probe_change: str | None = None
    """Reason why the probe has other photons than those on record; None if none is recorded."""


def detect_count_fault(scan: ScanData) -> CountFault | None:
    """Return the fault of the patterns of a scan, or None if they may be photon counts.

    >>> counts = np.random.default_rng(0).poisson(40.0, (4, 16, 16))
    >>> positions = np.zeros((4, 2))
    >>> detect_count_fault(ScanData(counts=counts, positions_px=positions)) is None
    True
    >>> detect_count_fault(ScanData(counts=np.sqrt(counts), positions_px=positions)).cause
    'amplitudes are read as counts'
    """
    values = sample_patterns(scan).astype(np.float64)[:, scan.good]
    if are_square_roots(values):
        return CountFault(AMPLITUDES, np.square)
    large = values[values >= 2]
    if len(large) < MIN_PIXELS or (np.abs(large - np.round(large)) > 0).any():
        return None
    if _are_squares(large):
        return CountFault(SQUARES, np.sqrt)
    if _have_overflowed(large):
        return CountFault(OVERFLOW, None)
    if large.max() >= MIN_CLIPPED and (large == large.max()).sum() >= MIN_CLIPPED:
        return CountFault(CLIPPED, None)
    return None


def sample_patterns(scan: ScanData) -> np.ndarray:
    """Return a few patterns from all over a scan, as they are stored, (patterns, N, N)."""
    index = np.unique(np.linspace(0, scan.n_patterns - 1, N_SAMPLE).astype(np.int64))
    return np.asarray(scan.counts[index])


def _are_squares(values: np.ndarray) -> bool:
    squares = values[values < MAX_SQUARE]
    off = np.abs(np.round(np.sqrt(squares)) ** 2 - squares)
    return len(squares) >= MIN_PIXELS and bool((off <= HALF_ULP * squares).all())


def _have_overflowed(values: np.ndarray) -> bool:
    if not any(0.9 * limit < values.max() < limit for limit in INTEGER_RANGES):
        return False
    odd = values.astype(np.int64)
    while (quarters := (odd % 4 == 0) & (odd > 0)).any():
        odd[quarters] //= 4
    return bool((odd % 8 == 1).all())


def read_photon_record(scan: ScanData) -> PhotonRecord:
    """Return the photons recorded by a simulation, or else by the calibration of the probe.

    A value that is no positive finite number counts as no record.
    """
    provenance = scan.provenance
    calibration = provenance.get("probe_calibration")
    calibration = calibration if isinstance(calibration, Mapping) else {}
    simulated, calibrated = _as_photons(provenance.get("photons_probe")), _as_photons(calibration.get("photons"))
    rule = calibration.get("rule", "unknown")
    if simulated is not None:
        change = None
        if calibrated is not None and not math.isclose(calibrated, simulated, rel_tol=SAME_PHOTONS):
            verb = "given" if rule == "given" else "calibrated"
            change = f"the probe's photons were {verb}: {calibrated:.4g} (rule: {rule})"
            change += f"; the simulation recorded {simulated:.4g}"
        expected = _as_photons(provenance.get("photons_expected"))
        return PhotonRecord(simulated, expected, "the simulation's record", change)
    if calibrated is not None:
        return PhotonRecord(calibrated, None, f"the probe's calibration (rule: {rule})")
    return PhotonRecord(None, None, "no record")


def _as_photons(value: object) -> float | None:
    """Return a positive finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        photons = float(value)
    except OverflowError:
        return None
    return photons if 0 < photons < math.inf else None
