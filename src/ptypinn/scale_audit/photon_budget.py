"""Photons per pattern as counted, as expected, and as the probe brings them: what a ledger starts from."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Complex64, Float64

from ptypinn.data.calibration import pattern_sums
from ptypinn.data.reconstruction import DataFit, Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.metrics.data_fit import compute_data_fit
from ptypinn.physics.forward import detect, far_field, to_centred
from ptypinn.physics.illumination import illumination_at
from ptypinn.scale_audit.count_checks import CountFault, detect_count_fault, probe_photons, read_photon_record

MOSTLY_MEASURED = 0.98
"""Share of the light on good pixels, below which only a truth can tell how much falls on the others."""
NEGLIGIBLE = 0.01
"""Share of the light that may seem to fall on dead pixels before a truth is asked."""


@dataclass(frozen=True)
class PhotonBudget:
    """Mean photons per pattern of the patterns that a reconstruction was made from."""

    measured: float
    """Counted on good pixels."""
    expected: float
    """Behind the sample, on all pixels, by the record or else by the counts themselves."""
    source: str
    """Where the expected photons come from."""
    probe_expected: float
    """Through vacuum, by the record or else by the scan's probe."""
    probe_used: float
    """Through vacuum, of the probe that the object was found with."""
    probe_given: float | None
    """Through vacuum, of the probe that came with the scan; None where it has none."""
    probe_source: str
    """Where the expected photons of the probe come from."""
    probe_changed: str
    """How the probe came by other photons than those on record; empty where nobody says."""
    coverage: DetectorCoverage
    """Which detector pixels have a share in them."""
    truth: Complex64[np.ndarray, "height width"] | None
    """The truth on the canvas of the reconstruction, NaN outside its frame."""
    fault: CountFault | None
    """What the patterns hold in place of photon counts."""
    counting_tolerance: float
    """Relative deviation of the mean amplitude that counting explains: four standard errors."""

    @property
    def transmission(self) -> float:
        """Rms transmission that the counts give with the probe used."""
        return math.sqrt(self.measured / (self.coverage.good_fraction * self.probe_used))


def compute_photon_budget(recon: Reconstruction, scan: ScanData, part: ScanData, fit: DataFit) -> PhotonBudget:
    """Count photons.

    Args:
        recon: The reconstruction.
        scan: The whole scan that it was made from.
        part: Its patterns that took part.
        fit: How the reconstruction fits them.
    """
    truth, record, evidence = truth_on_canvas(recon, scan), read_photon_record(scan), detect_count_fault(part)
    light, used = _light(recon, part, truth, fit), probe_photons(recon.probe)
    own = probe_photons(scan.probe) if scan.probe is not None and scan.probe_gauge == "calibrated" else None
    measured = float(fit.measured_map[scan.good].sum()) / part.n_patterns
    expected = measured / (light.responding_fraction * light.good_fraction)
    source = "no record of the photons: as counted"
    if record.pattern_photons is not None and truth is None and light.good_fraction < MOSTLY_MEASURED:
        source = f"{1 - light.good_fraction:.0%} of the light falls on masked pixels: as counted"
    elif record.pattern_photons is not None:
        expected = record.pattern_photons * _share_of_part(recon, scan, part, truth)
        source = f"photons per pattern: {record.source}, and as loaded"
    elif evidence is not None and evidence.repair is not None:
        expected *= _repaired(part, evidence)
        source = f"photons per pattern, if {evidence.cause}: put right, and as loaded"
    chance = 4 * 0.5 / math.sqrt(measured * part.n_patterns)
    probe = record.probe_photons or own or used
    changed = record.changed or ""
    return PhotonBudget(measured, expected, source, probe, used, own, record.source, changed, light, truth, evidence, chance)


def truth_on_canvas(recon: Reconstruction, scan: ScanData) -> Complex64[np.ndarray, "height width"] | None:
    """The truth on the canvas of a reconstruction, NaN outside its frame; None where the scan has none."""
    if scan.truth is None:
        return None
    canvas = np.full(recon.object.shape, np.nan, np.complex64)
    start = np.maximum(recon.origin_px, 0)
    stop = np.maximum(np.minimum(np.add(recon.origin_px, canvas.shape), scan.truth.shape), start)
    ours, theirs = (tuple(slice(*s) for s in zip(start - o, stop - o, strict=True)) for o in (recon.origin_px, (0, 0)))
    canvas[ours] = scan.truth[theirs]
    return canvas


def _share_of_part(recon: Reconstruction, scan: ScanData, part: ScanData, truth: np.ndarray | None) -> float:
    """Mean photons behind the sample over the patterns reconstructed, relative to the whole scan."""
    if recon.patterns is None or len(recon.patterns) == scan.n_patterns:
        return 1.0
    if truth is None:
        return float(pattern_sums(part).mean() / pattern_sums(scan).mean())
    assert scan.truth is not None
    whole = scan.positions_px.round()  # fractions of a pixel make no difference to a mean
    everywhere = illumination_at(whole, recon.probe, (scan.truth.shape[0], scan.truth.shape[1]))
    return (rms_transmission(truth, recon.illumination) / rms_transmission(scan.truth, everywhere)) ** 2


def _repaired(part: ScanData, evidence: CountFault) -> float:
    """Photons over what the patterns hold in their place."""
    assert evidence.repair is not None
    held = repaired = 0.0
    for _, counts in part.batches(128):
        values = np.asarray(counts, np.float64)[:, part.good]
        held, repaired = held + float(values.sum()), repaired + float(evidence.repair(values).sum())
    return repaired / held


def _light(recon: Reconstruction, part: ScanData, truth: np.ndarray | None, fit: DataFit) -> DetectorCoverage:
    """Shares of the light by the truth where it is needed and known, else by the prediction and the probe as given.

    A solver or a network learns to predict darkness where pixels are dead, and may refine the probe to that end.
    """
    given = part.probe if part.probe is not None else recon.probe
    good, measured, alone = part.good, fit.measured_map, compute_vacuum_pattern(given)
    predicted = fit.predicted_map if fit.predicted_map[good].any() else alone
    doubtful = max(light[find_dead_pixels(good, measured, light)].sum() / light.sum() for light in (alone, predicted))
    if truth is not None and (doubtful > NEGLIGIBLE or not good.all()):
        known = np.where(np.isfinite(truth), truth, 1.0).astype(np.complex64)
        positions = part.positions_px - np.asarray(recon.origin_px, np.float64)
        return compute_coverage(good, measured, compute_data_fit(part, known, given, positions).predicted_map)
    live = compute_coverage(good, measured, alone).responding_fraction
    return DetectorCoverage(compute_coverage(good, measured, predicted).good_fraction, live)


BATCH = 256
CERTAINLY_LIT = 25.0
"""Expected photons in a pixel over the scan, above which not one is no chance: `exp(-25)`."""


def rms_transmission(image: np.ndarray, illumination: np.ndarray) -> float:
    """Root mean square amplitude weighted by the photons that fall on each pixel; NaN in the dark."""
    light = np.where(np.isfinite(image), illumination, 0.0).astype(np.float64)
    power = np.where(light > 0, np.abs(image), 0.0).astype(np.float64) ** 2
    total = float(light.sum())
    return float(np.sqrt((light * power).sum() / total)) if total > 0 else float("nan")


@dataclass(frozen=True)
class DetectorCoverage:
    """Which detector pixels have a share in the light."""

    good_fraction: float
    """Share of the photons behind the sample that falls on good pixels."""
    responding_fraction: float
    """Share of the light on good pixels that falls on pixels which ever counted one photon."""


def compute_vacuum_pattern(probe: np.ndarray) -> Float64[np.ndarray, "y x"]:
    """Photons per pixel that a probe makes without a sample, zero frequency at N//2."""
    modes = torch.from_numpy(probe.astype(np.complex128))
    return to_centred(detect(far_field(modes[None])))[0].numpy()


def find_dead_pixels(
    good: Bool[np.ndarray, "y x"], measured: Float64[np.ndarray, "y x"], expected: Float64[np.ndarray, "y x"]
) -> Bool[np.ndarray, "y x"]:
    """Good pixels that never counted although they must have been lit.

    Args:
        good: The mask, True = good pixel.
        measured: Counts by pixel, summed over the scan.
        expected: Counts by pixel that are to be expected, likewise, in any scale.
    """
    sure = expected * (measured[good].sum() / expected[good].sum())
    return good & (measured == 0) & (sure > CERTAINLY_LIT)


def compute_coverage(
    good: Bool[np.ndarray, "y x"], measured: Float64[np.ndarray, "y x"], expected: Float64[np.ndarray, "y x"]
) -> DetectorCoverage:
    """Share out the light that is to be expected; the arguments are those of `dead_pixels`."""
    dead, lit = find_dead_pixels(good, measured, expected), expected[good].sum()
    return DetectorCoverage(float(lit / expected.sum()), float(1 - expected[dead].sum() / lit))
