"""The ledger of a reconstruction: every factor between the counts of a scan and the amplitude of its object.

With a truth, the discrepancies on the path multiply to `output_vs_truth_ratio`; without one, to the square root of the
flux closure. All amplitudes on the way are root mean squares weighted by the illumination, as photons are; the last
entry goes over to the plain mean on well-lit pixels, which the ratio is made of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Complex64

from ptypinn.data.calibrate import pattern_sums
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.diagnosis.evidence import Evidence, evidence_in
from ptypinn.diagnosis.flow import entries_by_stage
from ptypinn.diagnosis.light import DetectorLight, detector_light, illumination_at, rms_transmission
from ptypinn.diagnosis.records import Record, probe_photons, record_of
from ptypinn.metrics.data_fit import DataFit, data_fit
from ptypinn.scale import LedgerEntry

BEFORE_NETWORK = ("grouping", "input normalisation", "intensity scaler", "transmitted amplitude")
AFTER_NETWORK = ("merge", "stitching", "stitching, edges", "output scaling")
SOLVED_BY = {"refine": "solver", "reconstruct": "network"}


@dataclass(frozen=True)
class Account:
    """A ledger and what it adds up to."""

    ledger: list[LedgerEntry]
    """Entries from counts to object."""
    total: float
    """`output_vs_truth_ratio`, or the square root of the flux closure."""
    total_name: str
    """Which of the two: `output_vs_truth_ratio` or `sqrt_flux_closure`."""
    evidence: Evidence | None = None
    """What the patterns hold in place of photon counts."""
    counting_error: float = 0.0
    """Relative standard error that counting leaves in the mean amplitude of the patterns."""


def account(recon: Reconstruction, scan: ScanData, fit: DataFit | None = None) -> Account:
    """Follow amplitude from the counts of a scan to a reconstructed object.

    Args:
        recon: The reconstruction; the entries that only its run could measure are taken from `recon.scale`.
        scan: The whole scan that it was made from.
        fit: Its agreement with the counts, where it is at hand.

    Raises:
        InputError: Where the two do not belong together.
    """
    part = recon.scan_part(scan)
    fit = fit or data_fit(part, recon.object, recon.probe, recon.positions_px)
    truth = truth_on_canvas(recon, scan)
    evidence, record = evidence_in(part), record_of(scan)
    light = _light(recon, part, truth, fit)
    photons = _Photons.of(recon, scan, part, truth, fit, light, record, evidence)
    own, error = entries_by_stage(recon.scale), 0.5 / math.sqrt(photons.measured * part.n_patterns)
    path = [*_before(photons, light, record, truth is not None), *(own[name] for name in BEFORE_NETWORK if name in own)]
    after = [own[name] for name in AFTER_NETWORK if name in own]
    path.append(_network(recon, photons, light, own, after))
    path += [_as_photons_see(entry) if truth is None else entry for entry in after]
    path.append(_propagation(recon, fit, truth is None))
    if truth is None:
        return Account(path, math.sqrt(fit.flux_closure), "sqrt_flux_closure", evidence, error)
    lit = recon.well_lit() & np.isfinite(truth) & np.isfinite(recon.object)
    total = float(np.abs(recon.object[lit]).mean(dtype=np.float64) / np.abs(truth[lit]).mean(dtype=np.float64))
    path += _against_truth(recon, truth, lit, photons, after)
    return Account(path, total, "output_vs_truth_ratio", evidence, error)


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


@dataclass(frozen=True)
class _Photons:
    """Mean photons per pattern."""

    measured: float
    """On good pixels."""
    expected: float
    """Behind the sample, on all pixels, by the record or else by the counts themselves."""
    probe_expected: float
    """Through vacuum, by the record or else by the scan's probe."""
    probe_used: float
    """Through vacuum, of the probe that the object was found with."""
    source: str
    """Where the expected counts come from."""

    @classmethod
    def of(
        cls,
        recon: Reconstruction,
        scan: ScanData,
        part: ScanData,
        truth: np.ndarray | None,
        fit: DataFit,
        light: DetectorLight,
        record: Record,
        evidence: Evidence | None,
    ) -> _Photons:
        used = probe_photons(recon.probe)
        own = probe_photons(scan.probe) if scan.probe is not None and scan.probe_gauge == "calibrated" else used
        measured = float(fit.measured_map[scan.good].sum()) / part.n_patterns
        counted = measured / (light.live_share * light.good_share)
        expected, source = counted, "no record of the photons: as counted"
        if record.pattern_photons is not None:
            expected = record.pattern_photons * _share_of_part(recon, scan, part, truth)
            source = f"photons per pattern: {record.source}, and as loaded"
        elif evidence is not None and evidence.repair is not None:
            expected = counted * _repaired(part, evidence)
            source = f"photons per pattern, if {evidence.cause}: put right, and as loaded"
        return cls(measured, expected, record.probe_photons or own, used, source)


def _share_of_part(recon: Reconstruction, scan: ScanData, part: ScanData, truth: np.ndarray | None) -> float:
    """Mean photons behind the sample over the patterns reconstructed, relative to the whole scan."""
    if recon.patterns is None or len(recon.patterns) == scan.n_patterns:
        return 1.0
    if truth is None:
        return float(pattern_sums(part).mean() / pattern_sums(scan).mean())
    assert scan.truth is not None
    everywhere = illumination_at(scan.positions_px, recon.probe, (scan.truth.shape[0], scan.truth.shape[1]))
    return (rms_transmission(truth, recon.illumination) / rms_transmission(scan.truth, everywhere)) ** 2


def _repaired(part: ScanData, evidence: Evidence) -> float:
    """Photons over what the patterns hold in their place."""
    assert evidence.repair is not None
    held = repaired = 0.0
    for _, counts in part.batches(128):
        values = np.asarray(counts, np.float64)[:, part.good]
        held, repaired = held + float(values.sum()), repaired + float(evidence.repair(values).sum())
    return repaired / held


def _light(recon: Reconstruction, part: ScanData, truth: np.ndarray | None, fit: DataFit) -> DetectorLight:
    expected = None
    if truth is not None and (fit.measured_map[part.good] == 0).any():
        known = np.where(np.isfinite(truth), truth, 1.0).astype(np.complex64)
        sure = data_fit(part, known, recon.probe, recon.positions_px)
        expected = sure.predicted_map / sure.flux_closure
    return detector_light(part, recon.probe, fit.measured_map, fit.predicted_map, expected)


def _before(photons: _Photons, light: DetectorLight, record: Record, on_path: bool) -> list[LedgerEntry]:
    """What is settled before anything is solved; flux closure alone is blind to it."""
    measured = photons.measured / light.live_share
    power = f"sqrt of photons through vacuum: {record.source}, and of the probe used"
    dark = "sqrt of the light on good pixels, of which some never count"
    return [
        LedgerEntry(
            "loading",
            math.sqrt(photons.expected * light.good_share),
            math.sqrt(measured),
            photons.source,
            on_path=on_path,
        ),
        LedgerEntry("mask", 1.0, math.sqrt(light.live_share), dark, on_path=on_path),
        LedgerEntry(
            "probe",
            math.sqrt(photons.probe_expected),
            math.sqrt(photons.probe_used),
            power,
            inverse=True,
            on_path=on_path,
        ),
    ]


def _network(
    recon: Reconstruction,
    photons: _Photons,
    light: DetectorLight,
    own: dict[str, LedgerEntry],
    after: list[LedgerEntry],
) -> LedgerEntry:
    """Amplitude of the object, freed of what the stages around the network did to it, against that of the counts."""
    stage = SOLVED_BY.get(str(recon.provenance.get("stage")), "reconstruction")
    around = [own[name] for name in ("intensity scaler",) if name in own] + [entry for entry in after if entry.on_path]
    used = own["transmitted amplitude"].discrepancy if "transmitted amplitude" in own else 1.0
    counted = math.sqrt(photons.measured / (light.good_share * photons.probe_used))
    factor = math.prod(_as_photons_see(entry).discrepancy for entry in around)
    measured = rms_transmission(recon.object, recon.illumination) / factor
    source = "rms transmission: as counted, and of the object before merge errors and scaling"
    stats = own[stage].stats if stage in own else None
    return LedgerEntry(stage, counted * used, measured, source, stats=stats)


def _propagation(recon: Reconstruction, fit: DataFit, on_path: bool) -> LedgerEntry:
    """Exit waves to detector: photons are kept."""
    behind = rms_transmission(recon.object, recon.illumination) ** 2 * probe_photons(recon.probe)
    arrived = float(fit.predicted_map.sum()) / len(recon.positions_px)
    source = "sqrt of photons behind the sample, and on the detector as predicted"
    return LedgerEntry("propagation", math.sqrt(behind), math.sqrt(arrived), source, on_path=on_path)


def _as_photons_see(entry: LedgerEntry) -> LedgerEntry:
    """The entry as root mean square weighted by the illumination."""
    return entry if entry.by_light is None else replace(entry, measured=entry.by_light, by_light=None)


def _against_truth(
    recon: Reconstruction, truth: np.ndarray, lit: np.ndarray, photons: _Photons, after: list[LedgerEntry]
) -> list[LedgerEntry]:
    theirs = rms_transmission(truth, np.where(np.isfinite(truth), recon.illumination, 0.0))
    ours = rms_transmission(recon.object, recon.illumination)
    stated = math.sqrt(photons.expected / photons.probe_expected)
    source = "rms transmission: by photons expected with and without sample, and of the truth"
    gauge = LedgerEntry("truth", stated, theirs, source, inverse=True)
    uneven = math.prod(_as_photons_see(entry).discrepancy / entry.discrepancy for entry in after if entry.on_path)

    def evenness(image: np.ndarray, rms: float) -> float:
        return float(np.abs(image[lit]).mean(dtype=np.float64)) / rms

    source = "mean amplitude on well-lit pixels over rms transmission: of the truth, and of the object"
    return [gauge, LedgerEntry("comparison", evenness(truth, theirs), evenness(recon.object, ours) * uneven, source)]


def with_cause(ledger: list[LedgerEntry], cause: LedgerEntry, stage: str) -> list[LedgerEntry]:
    """The ledger with an entry put on the path before a stage, which is then expected to hand its factor on."""
    explained = []
    for entry in ledger:
        if entry.stage == stage:
            explained += [cause, replace(entry, expected=entry.expected * cause.discrepancy)]
        else:
            explained.append(entry)
    return explained


def with_account(
    recon: Reconstruction, scan: ScanData, run: Sequence[LedgerEntry], fit: DataFit | None = None
) -> Reconstruction:
    """A reconstruction that carries its ledger.

    Args:
        recon: The reconstruction.
        scan: The whole scan that it was made from.
        run: Entries that only the run could measure.
        fit: Agreement with the counts, where it is at hand.
    """
    factor = float(recon.prediction_scale.get("factor", 1.0))
    source = f"prediction scaling: {recon.prediction_scale.get('source', 'none')}"
    known = [*run, LedgerEntry("output scaling", 1.0, factor, source)] if recon.prediction_scale else [*run]
    measured = replace(recon, scale=[entry.as_json() for entry in known])
    return replace(recon, scale=[entry.as_json() for entry in account(measured, scan, fit).ledger])
