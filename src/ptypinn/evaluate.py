"""The `evaluate` stage: how good is a reconstruction, with a truth, another reconstruction, or the counts alone."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Complex

from ptypinn.config.evaluate import EvaluateConfig
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.device import pick_device
from ptypinn.errors import InputError
from ptypinn.metrics import (
    Alignment,
    DataFit,
    RingCorrelation,
    align,
    alternate_neighbours,
    amplitude_metrics,
    complex_error,
    data_fit,
    fourier_ring_correlation,
    object_contrast,
    output_vs_truth_ratio,
    phase_metrics,
    with_ramp,
)
from ptypinn.metrics.verdict import warnings_about
from ptypinn.trust import warnings_of

SMALLEST_REGION_PX = 8
Half = tuple[Reconstruction, Reconstruction]


@dataclass(frozen=True)
class Comparison:
    """A reconstruction and a reference cut to the frame they share, aligned."""

    alignment: Alignment
    """The aligned object and the mask of compared pixels."""
    reference: Complex[np.ndarray, "height width"]
    """The reference on the shared frame."""
    origin_px: tuple[int, int]
    """Where the shared frame's pixel (0, 0) lies in the coordinates of the scan's positions, pixels."""
    kind: str
    """What the reference is: `truth` or `reference`."""


@dataclass(frozen=True)
class Evaluation:
    """Figures of merit of a reconstruction; a figure without a value is absent, and `notes` says why."""

    metrics: dict[str, float]
    """Finite figures by their public names."""
    notes: dict[str, str] = field(default_factory=dict)
    """Why a figure is absent, or at its limit, by its name."""
    warnings: list[str] = field(default_factory=list)
    """What a reader should know before trusting the picture, in sentences."""
    comparison: Comparison | None = None
    """The aligned object beside the reference, where there is one."""
    frc: RingCorrelation | None = None
    """Ring correlation with the reference, or of the two halves where there is no reference."""
    fit: DataFit | None = None
    """Agreement with the measured counts, where the scan was given."""

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
    halves: Half | None = None,
) -> Evaluation:
    """Judge a reconstruction by everything that is at hand.

    With a reference, or a scan that holds the truth, the object is compared with it; with a scan, the predicted counts
    are compared with the measured ones; with reconstructions of two halves of the scan (see `split_half`), their
    agreement, free of ramp and shift, gives the resolution.

    Args:
        recon: What to judge.
        scan: The scan it was made from.
        reference: A reconstruction to compare with, rather than the scan's truth.
        config: Alignment, mask and batches.
        halves: Reconstructions of the two halves of the scan.

    Raises:
        InputError: Where the object is not finite, or what is compared does not belong together.
    """
    config = config or EvaluateConfig()
    scan = None if scan is None else recon.scan_part(scan)
    if not np.isfinite(recon.object).all():
        raise InputError("reconstruction", "object", "values that are not finite", "finite values")
    metrics, notes = {"object_contrast": object_contrast(recon.object, _lit(recon, config))}, dict[str, str]()
    comparison = _compare(recon, scan, reference, config)
    frc = None
    if comparison is not None:
        metrics |= _reference_metrics(comparison)
        frc = _correlate(comparison, notes)
    if halves is not None:
        half = _correlate(_comparison(*halves, replace(config, remove_ramp=True, remove_shift=True), "half"), notes)
        if half is not None:
            metrics |= _resolution(half, "split_half_frc", notes)
        frc = frc or half
    metrics |= _resolution(frc, "frc", notes) if frc is not None else {}
    fit = _fit(recon, scan, config)
    if fit is not None:
        metrics |= _fit_metrics(fit)
    metrics |= _uncertainty_metrics(recon, comparison, config)
    _note_absent(metrics, notes, comparison, scan)
    warnings = [*warnings_of(recon, with_fit=fit is None), *warnings_about(metrics, fit)]
    return Evaluation(metrics, notes, warnings, comparison, frc, fit)


def split_half(scan: ScanData) -> tuple[ScanData, ScanData]:
    """Two scans of half the positions each, so that the nearest neighbour of every position is in the other half.

    Raises:
        InputError: Where the scan has fewer than two patterns.
    """
    if scan.n_patterns < 2:
        raise InputError(scan.source, "counts", "1 pattern", "at least 2 to split in halves")
    second = alternate_neighbours(scan.positions_px)
    return scan.subset(np.flatnonzero(~second)), scan.subset(np.flatnonzero(second))


def _compare(
    recon: Reconstruction, scan: ScanData | None, reference: Reconstruction | None, config: EvaluateConfig
) -> Comparison | None:
    if reference is not None:
        return _comparison(recon, reference, _with_gauge(config, recon, reference), "reference")
    if scan is not None and scan.truth is not None:
        config, everywhere = _with_gauge(config, recon), np.ones(scan.truth.shape, bool)
        return _compare_arrays(recon, scan.truth, (0, 0), everywhere, config, "truth")
    return None


def _with_gauge(config: EvaluateConfig, *compared: Reconstruction) -> EvaluateConfig:
    """The configuration with ramp and shift decided: removed where any of the compared leaves them undetermined."""
    free = any(_is_free(recon) for recon in compared)
    ramp, shift = (free if choice is None else choice for choice in (config.remove_ramp, config.remove_shift))
    return replace(config, remove_ramp=ramp, remove_shift=shift)


def _is_free(recon: Reconstruction) -> bool:
    """Whether probe or positions were solved for with the object: the counts then fix neither ramp nor shift."""
    record = recon.provenance
    config, model = (record.get(name) or {} for name in ("config", "model"))
    if "trained_probe" in model:  # a network of one scan, which leaves probe and positions as they are
        return bool(model["trained_probe"])
    return bool(config.get("refine_probe") or config.get("refine_positions"))


def _comparison(recon: Reconstruction, reference: Reconstruction, config: EvaluateConfig, kind: str) -> Comparison:
    lit = _lit(reference, config)
    return _compare_arrays(recon, reference.object, reference.origin_px, lit, config, kind)


def _compare_arrays(
    recon: Reconstruction,
    reference: np.ndarray,
    origin: tuple[int, int],
    reference_lit: np.ndarray,
    config: EvaluateConfig,
    kind: str,
) -> Comparison:
    """Cut both to the frame they share and align."""
    start = np.maximum(recon.origin_px, origin)
    stop = np.minimum(np.add(recon.origin_px, recon.object.shape), np.add(origin, reference.shape))
    if (stop - start < SMALLEST_REGION_PX).any():
        found = f"an object at {recon.origin_px} of {recon.object.shape} pixels"
        raise InputError(kind, "frame", found, f"an overlap with the {kind} at {origin} of {reference.shape} pixels")
    ours, theirs = (tuple(slice(*s) for s in zip(start - o, stop - o, strict=True)) for o in (recon.origin_px, origin))
    mask = _lit(recon, config)[ours] & reference_lit[theirs]
    if not mask.any():
        raise InputError(kind, "illumination", "no pixel lit in both", "a common well-lit region")
    ramp, shift = bool(config.remove_ramp), bool(config.remove_shift)
    target = _level(reference[theirs], mask) if ramp and kind != "truth" else reference[theirs]
    alignment = align(recon.object[ours], target, mask, ramp=ramp, shift=shift)
    return Comparison(alignment, target, (int(start[0]), int(start[1])), kind)


def _level(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A reconstruction without its own phase ramp: it means nothing, but two phases that share one correlate."""
    y, x = align(np.ones_like(image), image, mask, ramp=True).ramp_rad_per_px
    return with_ramp(image, (-y, -x))


def _lit(recon: Reconstruction, config: EvaluateConfig) -> np.ndarray:
    lit = recon.well_lit(config.lit_fraction)
    if not lit.any():
        raise InputError("reconstruction", "illumination", "no lit pixel", "at least one pixel that the probe lit")
    return lit


def _reference_metrics(comparison: Comparison) -> dict[str, float]:
    image, target, mask = comparison.alignment.image, comparison.reference, comparison.alignment.mask
    return {
        "complex_error": complex_error(image, target, mask),
        "complex_error_after_factor": complex_error(image, target, mask, fit_factor=True),
        "output_vs_truth_ratio": output_vs_truth_ratio(image, target, mask),
        **amplitude_metrics(image, target, mask),
        **phase_metrics(image, target, mask),
        "compared_pixels": float(mask.sum()),
    }


def _correlate(comparison: Comparison, notes: dict[str, str]) -> RingCorrelation | None:
    alignment = comparison.alignment
    try:
        return fourier_ring_correlation(alignment.image, comparison.reference, alignment.mask)
    except ValueError as error:
        notes["frc_half_bit_px"] = str(error)
        return None


def _resolution(frc: RingCorrelation, name: str, notes: dict[str, str]) -> dict[str, float]:
    limited = "at the Nyquist limit of 2 px: the pixel limits the resolution, not the data"
    for key, reached in (("half_bit_px", frc.half_bit_reaches_nyquist), ("half_px", frc.half_reaches_nyquist)):
        if reached:
            notes[f"{name}_{key}"] = limited
    return {f"{name}_half_bit_px": frc.half_bit_px, f"{name}_half_px": frc.half_px}


def _fit(recon: Reconstruction, scan: ScanData | None, config: EvaluateConfig) -> DataFit | None:
    if scan is None or not config.compare_counts:
        return None
    device = pick_device(config.device)
    return data_fit(scan, recon.object, recon.probe, recon.positions_px, batch=config.batch, device=device)


def _fit_metrics(fit: DataFit) -> dict[str, float]:
    found = fit.figures()
    if fit.expected_residual > 0:
        found["residual_over_noise"] = fit.amplitude_residual / fit.expected_residual
    return found


def _uncertainty_metrics(
    recon: Reconstruction, comparison: Comparison | None, config: EvaluateConfig
) -> dict[str, float]:
    """Typical uncertainty and, where the truth is known, how large the errors are against the map."""
    if recon.uncertainty is None:
        return {}
    lit = _lit(recon, config)
    found = {"typical_uncertainty": float(np.sqrt(np.mean(recon.uncertainty[lit].astype(np.float64) ** 2)))}
    if comparison is not None and comparison.kind == "truth":
        start = np.subtract(comparison.origin_px, recon.origin_px)
        ours = tuple(slice(s, s + n) for s, n in zip(start, comparison.reference.shape, strict=True))
        mask, sigma = comparison.alignment.mask, recon.uncertainty[ours].astype(np.float64)
        mask = mask & (sigma > 0)
        error = np.abs(comparison.alignment.image - comparison.reference)
        if mask.any():
            found["error_over_uncertainty"] = float(np.sqrt(np.mean((error[mask] / sigma[mask]) ** 2)))
    return found


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
