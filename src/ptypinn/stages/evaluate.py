"""The `evaluate` stage: metrics of a reconstruction from a truth, another reconstruction, or the counts alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ptypinn.config.evaluate import EvaluateConfig
from ptypinn.data.depth import SLICES, warn_of_thin_slices
from ptypinn.data.descan import follows_disk
from ptypinn.data.detector_mtf import mtf_warnings
from ptypinn.data.grouping import checkerboard_split
from ptypinn.data.monitor import settles_flux
from ptypinn.data.reconstruction import DataFit, Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.metrics import RingCorrelation, compute_data_fit, object_contrast
from ptypinn.metrics.comparison import Comparison, compare, compare_halves, illuminated_pixels
from ptypinn.metrics.flux import slow_flux_warnings
from ptypinn.metrics.misfit_causes import unsought_warnings
from ptypinn.metrics.position_errors import LAST_CHANGE, PositionErrors
from ptypinn.metrics.summary import (
    correlate_rings,
    fit_metrics,
    metric_warnings,
    reference_metrics,
    resolution_metrics,
    uncertainty_metrics,
)
from ptypinn.physics.optics import contrast_length
from ptypinn.scale.ledger_entry import parse_entries
from ptypinn.stages.diagnose import Diagnosis, diagnose
from ptypinn.uncertainty import recorded_warnings
from ptypinn.utils.device import pick_device
from ptypinn.utils.number_format import format_length
from ptypinn.utils.plain_values import number

Halves = tuple[Reconstruction, Reconstruction]


@dataclass(frozen=True)
class Evaluation:
    """Metrics of a reconstruction; a metric without a value is absent, and `notes` has the reason."""

    metrics: dict[str, float]
    """Finite metrics by their public names."""
    notes: dict[str, str] = field(default_factory=dict)
    """Reason why a metric is absent, or at its limit, by its name."""
    warnings: list[str] = field(default_factory=list)
    """Sentences that a reader needs before trusting the picture."""
    comparison: Comparison | None = None
    """The aligned object beside the reference, where there is one."""
    frc: RingCorrelation | None = None
    """Ring correlation with the reference, or of the two halves where there is no reference."""
    fit: DataFit | None = None
    """Agreement with the measured counts, where the scan was given."""
    diagnosis: Diagnosis | None = None
    """Findings in the scale ledger that the reconstruction carries, where it carries one."""

    def as_json(self) -> dict[str, Any]:
        """Everything but the images, in plain numbers, lists and strings."""
        content: dict[str, Any] = {"metrics": self.metrics, "notes": self.notes, "warnings": self.warnings}
        if self.comparison is not None:
            removed = self.comparison.alignment
            content["alignment"] = {
                "reference": self.comparison.kind,
                "phase_rad": removed.phase_rad,
                "ramp_rad_per_px": list(removed.ramp_rad_per_px),
                "shift_px": list(removed.shift_px),
                "pixels": int(removed.mask.sum()),
            }
        if self.frc is not None:
            curves = ("frequency", "correlation", "half_bit")
            content["frc"] = {name: getattr(self.frc, name).tolist() for name in curves}
        return content


def evaluate(
    recon: Reconstruction,
    scan: ScanData | None = None,
    reference: Reconstruction | None = None,
    config: EvaluateConfig | None = None,
    *,
    halves: Halves | None = None,
) -> Evaluation:
    """Compute the metrics of a reconstruction from everything that is at hand.

    With a reference, or a scan that holds the truth, the object is compared with it; with a scan, the predicted counts
    are compared with the measured ones; with reconstructions of two halves of the scan (see `split_half`), their
    agreement, free of ramp and shift, gives the resolution.

    Args:
        recon: The reconstruction to evaluate.
        scan: The scan it was made from.
        reference: A reconstruction to compare with, rather than the scan's truth.
        config: Alignment, mask and batches.
        halves: Reconstructions of the two halves of the scan.

    Raises:
        InputError: Where the object is not finite, or what is compared does not belong together.
    """
    config = config or EvaluateConfig()
    part = None if scan is None else recon.scan_part(scan)
    if not np.isfinite(recon.object).all():
        raise InputError("reconstruction", "object", "values that are not finite", "finite values")
    notes: dict[str, str] = {}
    metrics = {"object_contrast": object_contrast(recon.object, illuminated_pixels(recon, config))}
    comparison = compare(recon, scan, reference, config)
    metrics |= {} if comparison is None else reference_metrics(comparison)
    frc = _add_resolution(metrics, notes, comparison, halves, config)
    fit = _fit(recon, scan, part, config)
    metrics |= {} if fit is None else fit_metrics(fit)
    metrics |= uncertainty_metrics(recon, comparison, config)
    _note_absent(metrics, notes, comparison, scan)
    recorded = recorded_warnings(recon, with_fit=fit is None)
    warnings = [*recorded, *experiment_warnings(recon), *metric_warnings(metrics, fit)]
    return Evaluation(metrics, notes, warnings, comparison, frc, fit, _diagnose_recorded(recon))


MIN_CONTRAST = 0.2
"""Contrast that propagation makes of a phase of 1 rad, below which phases are named as weakly determined."""
VARYING_PROBE = (
    "The probe changes slowly over the scan: slow phases of the sample, and shifts of its parts against each other by "
    "up to about a pixel, give nearly the same counts, and are known less well than the uncertainty says. Optics that "
    "stand still, or a second scan in another order, settle them."
)
"""Warning where a varying probe was solved for."""


def experiment_warnings(recon: Reconstruction) -> list[str]:
    """Return a sentence for every term of the experiment that was solved for and that the counts cannot settle."""
    flux = _flux_warnings(recon)
    probe = [VARYING_PROBE] if recon.has_solved("probe_variation") else []
    stack = recon.provenance.get(SLICES)
    slices = warn_of_thin_slices(stack) if isinstance(stack, Mapping) else []
    near, blur = _near_field_warnings(recon), [] if recon.mtf is None else mtf_warnings(recon.mtf)
    return [
        *_position_warnings(recon),
        *flux,
        *_beam_warnings(recon),
        *probe,
        *unsought_warnings(recon),
        *near,
        *blur,
        *slices,
    ]


def _flux_warnings(recon: Reconstruction) -> list[str]:
    """Return a sentence on slow flux that was solved for; none where the counts follow a beam monitor in proportion."""
    if recon.flux is None or not recon.has_solved("flux"):
        return []
    scan = recon.provenance.get("scan")
    return [] if isinstance(scan, Mapping) and settles_flux(scan) else slow_flux_warnings(recon.flux)


def _near_field_warnings(recon: Reconstruction) -> list[str]:
    """Return a sentence on the phases that near-field images hardly show."""
    if recon.fresnel_number is None:
        return []
    length = contrast_length(recon.fresnel_number, MIN_CONTRAST)
    metres = "" if recon.pixel_size_m is None else f" ({format_length(length * recon.pixel_size_m, 2)})"
    return [
        f"Phases that vary slowly, over more than about {length:.2g} pixels{metres}, hardly change images in the near "
        "field, and are known less well than the uncertainty says. A diffuser in the beam, or a longer distance, helps."
    ]


def _beam_warnings(recon: Reconstruction) -> list[str]:
    config = recon.provenance.get("config")
    known_probe = isinstance(config, Mapping) and config.get("refine_probe") is False
    if known_probe or not (recon.has_solved("beam") or follows_disk(recon.provenance)):
        return []
    from ptypinn.metrics.beam import beam_warnings, disk_warnings

    return beam_warnings(recon) if recon.has_solved("beam") else disk_warnings(recon)


def _position_warnings(recon: Reconstruction) -> list[str]:
    if not recon.has_solved("positions"):
        return []
    record = recon.provenance["experiment"]["positions"]
    errors, change, misfit = (
        PositionErrors.from_record(record),
        *(number(record.get(name)) for name in (LAST_CHANGE, "misfit_after")),
    )
    if errors is None or misfit is None:
        return []
    return errors.warnings(errors.max_stretch if change is None else change, misfit)  # None: they have not settled


def recorded_evaluation(recon: Reconstruction) -> Evaluation:
    """Return the evaluation that a reconstruction carries: the metrics on record, and the findings in its ledger."""
    return Evaluation(dict(recon.metrics), diagnosis=_diagnose_recorded(recon))


def split_half(scan: ScanData) -> tuple[ScanData, ScanData]:
    """Two scans of half the positions each, so that the nearest neighbour of every position is in the other half.

    Raises:
        InputError: Where the scan has fewer than two patterns.
    """
    if scan.n_patterns < 2:
        raise InputError(scan.source, "counts", "1 pattern", "at least 2 to split in halves")
    second = checkerboard_split(scan.positions_px)
    return scan.subset(np.flatnonzero(~second)), scan.subset(np.flatnonzero(second))


def _add_resolution(
    metrics: dict[str, float],
    notes: dict[str, str],
    comparison: Comparison | None,
    halves: Halves | None,
    config: EvaluateConfig,
) -> RingCorrelation | None:
    """Add the resolution to metrics and notes; return the ring correlation to draw."""
    frc = None if comparison is None else correlate_rings(comparison, notes)
    if halves is not None:
        half = correlate_rings(compare_halves(*halves, config), notes)
        if half is not None:
            metrics |= resolution_metrics(half, "split_half_frc", notes)
        frc = frc or half
    metrics |= resolution_metrics(frc, "frc", notes) if frc is not None else {}
    return frc


def _fit(recon: Reconstruction, scan: ScanData | None, part: ScanData | None, config: EvaluateConfig) -> DataFit | None:
    """Return the data fit that the run has measured, or measure it."""
    if scan is None or part is None or not config.compare_counts:
        return None
    arrays, device = (recon.sample, recon.probe, recon.positions_px), pick_device(config.device)
    return recon.fit_to(scan) or compute_data_fit(part, *arrays, batch=config.batch_size, device=device)


def _diagnose_recorded(recon: Reconstruction) -> Diagnosis | None:
    return diagnose(recon) if parse_entries(recon.scale) else None


def _note_absent(
    metrics: dict[str, float], notes: dict[str, str], comparison: Comparison | None, scan: ScanData | None
) -> None:
    no_reference = "no truth and no reference to compare with"
    no_contrast = "the reference has no contrast on the compared pixels, or they are too few"
    for name in ("complex_error", "output_vs_truth_ratio", "pearson_r_amplitude", "ssim_amplitude", "ssim_phase"):
        if name not in metrics:
            notes[name] = no_reference if comparison is None else no_contrast
    if "frc_half_bit_px" not in metrics:
        notes.setdefault("frc_half_bit_px", "neither a reference nor reconstructions of two halves")
    if "amplitude_residual" not in metrics:
        reason = "the scan was not given" if scan is None else "not asked for"
        notes.update(amplitude_residual=reason, flux_closure=reason)
