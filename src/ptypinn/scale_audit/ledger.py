"""The ledger of a reconstruction: every factor between the counts of a scan and the amplitude of its object.

With a truth, the discrepancies on the path multiply to `output_vs_truth_ratio`; without one, to the square root of the
flux closure. All amplitudes on the way are root mean squares weighted by the illumination, as photons are; the last
entry goes over to the plain mean on well-lit pixels, which the ratio is made of.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.metrics.data_fit import DataFit, data_fit
from ptypinn.scale import LedgerEntry, stats_of
from ptypinn.scale_audit.count_checks import probe_photons, sample_patterns
from ptypinn.scale_audit.network_entries import entries_by_stage
from ptypinn.scale_audit.photon_budget import Balance, balance_of, rms_transmission

BEFORE_NETWORK = ("grouping", "input normalisation", "intensity scaler", "transmitted amplitude")
AFTER_NETWORK = ("merge", "stitching", "stitching, edges", "closing factor", "output scaling")
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


def account(recon: Reconstruction, scan: ScanData, fit: DataFit | None = None, part: ScanData | None = None) -> Account:
    """Follow amplitude from the counts of a scan to a reconstructed object.

    Args:
        recon: The reconstruction; the entries that only its run could measure are taken from `recon.scale`.
        scan: The whole scan that it was made from.
        fit: Its agreement with the counts, where it is at hand.
        part: The patterns that took part, where they are at hand.

    Raises:
        InputError: Where the two do not belong together.
    """
    part = recon.scan_part(scan) if part is None else part
    _check_positions(recon, part)
    fit = fit or data_fit(part, recon.object, recon.probe, recon.positions_px)
    photons, own = balance_of(recon, scan, part, fit), entries_by_stage(recon.scale)
    known = photons.truth is not None
    after = [own[name] for name in AFTER_NETWORK if name in own]
    path = _before(recon, part, photons)
    path += [own[name] for name in BEFORE_NETWORK if name in own]
    path.append(_network(recon, photons, own, after))
    path += after if known else [as_photons_see(entry) for entry in after]
    path.append(_propagation(recon, fit, on_path=not known))
    total, name = math.sqrt(fit.flux_closure), "sqrt_flux_closure"
    if photons.truth is not None:
        total, name = _ratio(recon, photons.truth), "output_vs_truth_ratio"
        path += _against_truth(recon, photons.truth, photons, after)
    return Account(path, total, name)


def _check_positions(recon: Reconstruction, part: ScanData) -> None:
    if np.abs(recon.positions_px + recon.origin_px - part.positions_px).max() > part.size / 2:
        found = "positions more than half a pattern away from the scan's"
        raise InputError(part.source, "reconstruction", found, "a reconstruction of this scan")


def _before(recon: Reconstruction, part: ScanData, photons: Balance) -> list[LedgerEntry]:
    """What is settled before anything is solved; flux closure alone is blind to it."""
    light, known = photons.light, photons.truth is not None
    counted = math.sqrt(photons.measured / light.live_share)
    power = f"sqrt of photons through vacuum: {photons.probe_source}, and of the probe used"
    dark = "sqrt of the light on good pixels, and of that on good pixels which ever count"
    stated, used = math.sqrt(photons.probe_expected), math.sqrt(photons.probe_used)
    counts, pixels, modes = stats_of(sample_patterns(part)[:, part.good]), stats_of(part.good), stats_of(recon.probe)
    return [
        LedgerEntry(
            "loading",
            math.sqrt(photons.expected * light.good_share),
            counted,
            photons.source,
            on_path=known,
            chance=photons.chance,
            note=photons.evidence.cause if photons.evidence else "",
            stats=counts,
        ),
        LedgerEntry("mask", 1.0, math.sqrt(light.live_share), dark, on_path=known, stats=pixels),
        *_probe_as_given(stated, part, photons),
        LedgerEntry("probe", stated, used, power, inverse=True, on_path=known, note=photons.probe_changed, stats=modes),
    ]


def _probe_as_given(stated: float, part: ScanData, photons: Balance) -> list[LedgerEntry]:
    """The probe that came with the scan: it tells whether another one, such as a model's, was used."""
    if photons.probe_given is None or part.probe is None:
        return []
    power = f"sqrt of photons through vacuum: {photons.probe_source}, and of the scan's own probe"
    given, stats = math.sqrt(photons.probe_given), stats_of(part.probe)
    return [LedgerEntry("probe as given", stated, given, power, inverse=True, on_path=False, stats=stats)]


def _network(
    recon: Reconstruction, photons: Balance, own: Mapping[str, LedgerEntry], after: Sequence[LedgerEntry]
) -> LedgerEntry:
    """Amplitude of the object, freed of what the stages around the network did to it, against that of the counts."""
    stage = SOLVED_BY.get(str(recon.provenance.get("stage")), "reconstruction")
    around = [own[name] for name in ("intensity scaler",) if name in own] + [entry for entry in after if entry.on_path]
    used = own["transmitted amplitude"].discrepancy if "transmitted amplitude" in own else 1.0
    factor = math.prod(as_photons_see(entry).discrepancy for entry in around)
    measured = rms_transmission(recon.object, recon.illumination) / factor
    source = "rms transmission: as counted, and of the object before merge errors and scaling"
    stats = own[stage].stats if stage in own else stats_of(recon.object)
    hidden = 1 - photons.light.good_share
    note = f"{hidden:.0%} of the light falls on masked pixels, where nothing holds the object" if hidden > 0.02 else ""
    return LedgerEntry(stage, photons.transmission * used, measured, source, note=note, stats=stats)


def _propagation(recon: Reconstruction, fit: DataFit, on_path: bool) -> LedgerEntry:
    """Exit waves to detector: photons are kept."""
    behind = rms_transmission(recon.object, recon.illumination) ** 2 * probe_photons(recon.probe)
    arrived = float(fit.predicted_map.sum()) / len(recon.positions_px)
    source = "sqrt of photons behind the sample, and on the detector as predicted"
    stats = stats_of(fit.predicted_map)
    return LedgerEntry("propagation", math.sqrt(behind), math.sqrt(arrived), source, on_path=on_path, stats=stats)


def as_photons_see(entry: LedgerEntry) -> LedgerEntry:
    """The entry as root mean square weighted by the illumination."""
    return entry if entry.by_light is None else replace(entry, measured=entry.by_light, by_light=None)


def _compared(recon: Reconstruction, truth: np.ndarray) -> np.ndarray:
    return recon.well_lit() & np.isfinite(truth) & np.isfinite(recon.object)


def _mean(image: np.ndarray, pixels: np.ndarray) -> float:
    return float(np.abs(image[pixels]).mean(dtype=np.float64))


def _ratio(recon: Reconstruction, truth: np.ndarray) -> float:
    """`output_vs_truth_ratio`: mean amplitude over that of the truth on well-lit pixels."""
    pixels = _compared(recon, truth)
    if not pixels.any():
        raise InputError("reconstruction", "frame", "no lit pixel in common with the truth", "an object of this scan")
    return _mean(recon.object, pixels) / _mean(truth, pixels)


def _against_truth(
    recon: Reconstruction, truth: np.ndarray, photons: Balance, after: Sequence[LedgerEntry]
) -> list[LedgerEntry]:
    pixels, known = _compared(recon, truth), np.isfinite(truth)
    theirs = rms_transmission(truth, np.where(known, recon.illumination, 0.0))
    ours = rms_transmission(recon.object, recon.illumination)
    uneven = math.prod(as_photons_see(entry).discrepancy / entry.discrepancy for entry in after if entry.on_path)
    stated = math.sqrt(photons.expected / photons.probe_expected)
    source = "rms transmission: by photons expected with and without sample, and of the truth"
    chance = photons.chance
    gauge = LedgerEntry("truth", stated, theirs, source, inverse=True, chance=chance, stats=stats_of(truth[known]))
    source = "mean amplitude on well-lit pixels over rms transmission: of the truth, and of the object"
    expected = _mean(truth, pixels) / theirs
    found = _mean(recon.object, pixels) / ours * uneven if ours > 0 else expected
    return [gauge, LedgerEntry("comparison", expected, found, source, stats=stats_of(recon.object[pixels]))]


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
    recon: Reconstruction,
    scan: ScanData,
    run: Sequence[LedgerEntry],
    fit: DataFit | None = None,
    part: ScanData | None = None,
) -> Reconstruction:
    """A reconstruction that carries its ledger.

    Args:
        recon: The reconstruction.
        scan: The whole scan that it was made from.
        run: Entries that only the run could measure.
        fit: Agreement with the counts, where it is at hand.
        part: The patterns that took part, where they are at hand.
    """
    factor = float(recon.prediction_scale.get("factor", 1.0))
    source = f"prediction scaling: {recon.prediction_scale.get('source', 'none')}"
    scaling = LedgerEntry("output scaling", 1.0, factor, source, stats=stats_of(recon.object))
    known = [*run, scaling] if recon.prediction_scale else [*run]
    measured = replace(recon, scale=[entry.as_json() for entry in known])
    return replace(recon, scale=[entry.as_json() for entry in account(measured, scan, fit, part).ledger])
