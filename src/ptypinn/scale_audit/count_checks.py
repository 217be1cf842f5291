"""What the numbers of the patterns themselves say: photons, amplitudes, squares, or squares that overflowed.

Photon counts are whole numbers of no particular kind. Their square roots are not whole, but their squares are. Counts
that were squared once more are perfect squares all of them. A square that overflowed its integer type is still a
quadratic residue modulo a power of two: four to some power times a number that leaves 1 when divided by 8.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ptypinn.data.scan import ScanData

ENOUGH = 64
"""Pixels of value 2 or more that a judgement needs."""
WHOLE, ROUNDING = 1e-3, 3e-7
"""Distance from a whole number that rounding in single precision explains: absolute, and relative to the number."""
HALF_ULP, LARGEST_SQUARE = 2.0**-24, 1e12
"""Rounding of a square in single precision, relative, and the largest number below which so few whole numbers lie that
close to a square (6 %) that ENOUGH of them tell squares from others."""
SAMPLE = 16
LARGEST = 500.0
"""Amplitudes above are not judged: rounding would hide whether their squares are whole."""
AMPLITUDES = "amplitudes are read as counts"
SQUARES = "counts are read as amplitudes, and squared"
OVERFLOW = "integers overflow where amplitudes are squared"
CLIPPED = "pixels saturate: many hold the largest value that the detector counts"
PILE = 16
"""Pixels at the largest value, and counts in it, above which values are clipped."""
FULL = (2**8, 2**16, 2**32)


@dataclass(frozen=True)
class Evidence:
    """Something other than photon counts, and how to get those back."""

    cause: str
    """What happened, in words."""
    repair: Callable[[np.ndarray], np.ndarray] | None
    """From the numbers to photon counts; None where they are lost."""


def evidence_in(scan: ScanData) -> Evidence | None:
    """What the patterns hold in place of photon counts; None where they may well be counts."""
    values = sample_patterns(scan).astype(np.float64)[:, scan.good]
    if _are_roots(values):
        return Evidence(AMPLITUDES, np.square)
    seen = values[values >= 2]
    if len(seen) < ENOUGH or (np.abs(seen - np.round(seen)) > 0).any():
        return None
    if _are_squares(seen):
        return Evidence(SQUARES, np.sqrt)
    if _overflowed(seen):
        return Evidence(OVERFLOW, None)
    if seen.max() >= PILE and (seen == seen.max()).sum() >= PILE:
        return Evidence(CLIPPED, None)
    return None


def sample_patterns(scan: ScanData) -> np.ndarray:
    """A few patterns from all over a scan, as they are stored, (patterns, N, N)."""
    index = np.unique(np.linspace(0, scan.n_patterns - 1, SAMPLE).astype(np.int64))
    return np.asarray(scan.counts[index])


def _are_roots(values: np.ndarray) -> bool:
    seen = values[(values > 1) & (values < LARGEST)]
    fractional = np.abs(seen - np.round(seen)) > WHOLE
    squares = seen**2
    off = np.abs(squares - np.round(squares)) > WHOLE + ROUNDING * squares
    return len(seen) >= ENOUGH and bool(fractional.mean() > 0.5) and bool(off.mean() < 0.01)


def _are_squares(seen: np.ndarray) -> bool:
    judged = seen[seen < LARGEST_SQUARE]
    off = np.abs(np.round(np.sqrt(judged)) ** 2 - judged)
    return len(judged) >= ENOUGH and bool((off <= HALF_ULP * judged).all())


def _overflowed(seen: np.ndarray) -> bool:
    if not any(0.9 * full < seen.max() < full for full in FULL):
        return False
    odd = seen.astype(np.int64)
    while (quarters := (odd % 4 == 0) & (odd > 0)).any():
        odd[quarters] //= 4
    return bool((odd % 8 == 1).all())


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
