"""Photons per pattern as counted, as expected, and as the probe has them: the start of a ledger."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Complex64, Float64

from ptypinn.data.calibration import compute_vacuum_pattern, pattern_sums
from ptypinn.data.reconstruction import DataFit, Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.metrics.data_fit import compute_data_fit
from ptypinn.physics.optics import probe_photons
from ptypinn.physics.patches import compute_illumination_at
from ptypinn.scale_audit.count_checks import CountFault, detect_count_fault, read_photon_record

MIN_GOOD_FRACTION = 0.98
"""Fraction of the photons on good pixels below which only a truth determines the rest."""
MAX_DEAD_FRACTION = 0.01
"""Fraction of the photons that may seem to fall on dead pixels before the truth is used to predict them."""
MIN_EXPECTED_PHOTONS = 25.0
"""Expected photons in a pixel over the scan above which it does not stay empty by chance: `exp(-25)`."""


@dataclass(frozen=True)
class DetectorCoverage:
    """Fractions of the photons behind the sample that good and responding detector pixels receive."""

    good_fraction: float
    """Fraction of the photons behind the sample that falls on good pixels."""
    responding_fraction: float
    """Fraction of the photons on good pixels that falls on pixels with at least one count."""


@dataclass(frozen=True)
class PhotonBudget:
    """Mean photons per pattern of the patterns that a reconstruction was made from."""

    measured: float
    """Photons counted on good pixels."""
    expected: float
    """Photons behind the sample, on all pixels, by the record or else by the counts themselves."""
    source: str
    """Origin of the expected photons."""
    probe_expected: float
    """Photons through vacuum, by the record or else by the scan's probe."""
    probe_used: float
    """Photons through vacuum of the reconstruction's probe."""
    probe_of_scan: float | None
    """Photons through vacuum of the scan's own probe; None if it has none."""
    probe_source: str
    """Origin of the expected photons of the probe."""
    probe_change: str
    """Reason why the probe has other photons than those on record; empty if none is recorded."""
    coverage: DetectorCoverage
    """Fractions of the photons on good and on responding pixels."""
    truth: Complex64[np.ndarray, "height width"] | None
    """The truth on the canvas of the reconstruction, NaN outside its frame."""
    fault: CountFault | None
    """Fault of the patterns, if they hold something else than photon counts."""
    counting_tolerance: float
    """Relative deviation of the mean amplitude that counting explains: four standard errors."""

    @property
    def transmission(self) -> float:
        """Rms transmission by the counts and the probe used."""
        return math.sqrt(self.measured / (self.coverage.good_fraction * self.probe_used))


def compute_photon_budget(recon: Reconstruction, scan: ScanData, part: ScanData, fit: DataFit) -> PhotonBudget:
    """Count photons per pattern, and compare them with the record.

    Args:
        recon: The reconstruction.
        scan: The whole scan that it was made from.
        part: The patterns of the scan that took part.
        fit: Agreement of the reconstruction with them.
    """
    truth, record, fault = truth_on_canvas(recon, scan), read_photon_record(scan), detect_count_fault(part)
    coverage, used = _coverage_of_part(recon, part, truth, fit), probe_photons(recon.probe)
    own = probe_photons(scan.probe) if scan.probe is not None and scan.probe_gauge == "calibrated" else None
    measured = float(fit.measured_map[scan.good].sum()) / part.n_patterns
    expected = measured / (coverage.responding_fraction * coverage.good_fraction)
    source = "no record of the photons: as counted"
    if record.pattern_photons is not None and truth is None and coverage.good_fraction < MIN_GOOD_FRACTION:
        source = f"{1 - coverage.good_fraction:.0%} of the photons fall on masked pixels: as counted"
    elif record.pattern_photons is not None:
        expected = record.pattern_photons * _part_over_whole(recon, scan, part, truth)
        source = f"photons per pattern: {record.source}, and as loaded"
    elif fault is not None and fault.repair is not None:
        expected *= _repaired_over_loaded(part, fault)
        source = f"photons per pattern, if {fault.cause}: repaired, and as loaded"
    return PhotonBudget(
        measured=measured,
        expected=expected,
        source=source,
        probe_expected=record.probe_photons or own or used,
        probe_used=used,
        probe_of_scan=own,
        probe_source=record.source,
        probe_change=record.probe_change or "",
        coverage=coverage,
        truth=truth,
        fault=fault,
        counting_tolerance=4 * 0.5 / math.sqrt(measured * part.n_patterns),
    )


def truth_on_canvas(recon: Reconstruction, scan: ScanData) -> Complex64[np.ndarray, "height width"] | None:
    """Return the truth on the canvas of a reconstruction, NaN outside its frame; None if the scan has none."""
    if scan.truth is None:
        return None
    canvas = np.full(recon.object.shape, np.nan, np.complex64)
    start = np.maximum(recon.origin_px, 0)
    stop = np.maximum(np.minimum(np.add(recon.origin_px, canvas.shape), scan.truth.shape), start)
    on_canvas, in_truth = (
        tuple(slice(*side) for side in zip(start - origin, stop - origin, strict=True))
        for origin in (recon.origin_px, (0, 0))
    )
    canvas[on_canvas] = scan.truth[in_truth]
    return canvas


def rms_transmission(image: np.ndarray, illumination: np.ndarray) -> float:
    """Root mean square amplitude weighted by the photons on each pixel; NaN without illumination.

    >>> rms_transmission(np.array([[3j, 4.0]]), np.array([[1.0, 0.0]]))
    3.0
    """
    weight = np.where(np.isfinite(image), illumination, 0.0).astype(np.float64)
    power = np.where(weight > 0, np.abs(image), 0.0).astype(np.float64) ** 2
    total = float(weight.sum())
    return float(np.sqrt((weight * power).sum() / total)) if total > 0 else float("nan")


def _part_over_whole(recon: Reconstruction, scan: ScanData, part: ScanData, truth: np.ndarray | None) -> float:
    """Return the mean photons behind the sample of the reconstructed patterns, relative to the whole scan."""
    if recon.patterns is None or len(recon.patterns) == scan.n_patterns:
        return 1.0
    if truth is None:
        return float(pattern_sums(part).mean() / pattern_sums(scan).mean())
    assert scan.truth is not None
    positions = scan.positions_px.round()  # fractions of a pixel make no difference to a mean
    everywhere = compute_illumination_at(positions, recon.probe, (scan.truth.shape[0], scan.truth.shape[1]))
    return (rms_transmission(truth, recon.illumination) / rms_transmission(scan.truth, everywhere)) ** 2


def _repaired_over_loaded(part: ScanData, fault: CountFault) -> float:
    """Return the photons after repair over the sum of the values as loaded."""
    assert fault.repair is not None
    loaded = repaired = 0.0
    for _, counts in part.batches(128):
        values = np.asarray(counts, np.float64)[:, part.good]
        loaded, repaired = loaded + float(values.sum()), repaired + float(fault.repair(values).sum())
    return repaired / loaded


def _coverage_of_part(
    recon: Reconstruction, part: ScanData, truth: np.ndarray | None, fit: DataFit
) -> DetectorCoverage:
    """Compute the coverage from the truth if it is needed and there, else from the prediction and the scan's probe.

    A solver or a network learns to predict zero on dead pixels, and may refine the probe to that end.
    """
    probe = part.probe if part.probe is not None else recon.probe
    good, measured, vacuum = part.good, fit.measured_map, compute_vacuum_pattern(probe, part.fresnel_number)
    predicted = fit.predicted_map if fit.predicted_map[good].any() else vacuum
    dead = max(
        pattern[find_dead_pixels(good, measured, pattern)].sum() / pattern.sum() for pattern in (vacuum, predicted)
    )
    if truth is not None and (dead > MAX_DEAD_FRACTION or not good.all()):
        filled = np.where(np.isfinite(truth), truth, 1.0).astype(np.complex64)
        positions = part.positions_px - np.asarray(recon.origin_px, np.float64)
        thin = part.replace(gap_fresnel_numbers=None)  # the truth is that of all slices together
        return compute_coverage(good, measured, compute_data_fit(thin, filled, probe, positions).predicted_map)
    responding = compute_coverage(good, measured, vacuum).responding_fraction
    return DetectorCoverage(compute_coverage(good, measured, predicted).good_fraction, responding)


def find_dead_pixels(
    good: Bool[np.ndarray, "y x"], measured: Float64[np.ndarray, "y x"], expected: Float64[np.ndarray, "y x"]
) -> Bool[np.ndarray, "y x"]:
    """Find good pixels that never counted although photons must have fallen on them.

    Args:
        good: The mask, True = good pixel.
        measured: Counts by pixel, summed over the scan.
        expected: Expected counts by pixel, likewise, in any scale.
    """
    scaled = expected * (measured[good].sum() / expected[good].sum())
    return good & (measured == 0) & (scaled > MIN_EXPECTED_PHOTONS)


def compute_coverage(
    good: Bool[np.ndarray, "y x"], measured: Float64[np.ndarray, "y x"], expected: Float64[np.ndarray, "y x"]
) -> DetectorCoverage:
    """Compute the fractions of the expected photons; the arguments are those of `find_dead_pixels`."""
    dead, on_good = find_dead_pixels(good, measured, expected), expected[good].sum()
    return DetectorCoverage(float(on_good / expected.sum()), float(1 - expected[dead].sum() / on_good))
