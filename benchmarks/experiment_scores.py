"""Comparison of a reconstruction with the true values of its experiment, and of its claims with its errors."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ptypinn.config.evaluate import EvaluateConfig
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.metrics import complex_error
from ptypinn.metrics.comparison import compare
from ptypinn.physics.patches import compute_illumination_at
from ptypinn.report.text.verdict import trust_verdict
from ptypinn.stages.evaluate import evaluate
from truth_comparison import round_digits

FREE = EvaluateConfig(remove_ramp=True, remove_shift=True)
CONFIDENT = 3.0
"""Errors beyond this many stated uncertainties need a warning."""


def object_errors(recon: Reconstruction, scan: ScanData) -> dict[str, float]:
    """Return complex errors after one factor, ramp and shift, where true and recorded beam lit the sample.

    `error_beside_curvature` is the error without a quadratic phase: a beam that moves over the detector in proportion
    to the position gives the counts of a sample and of a probe with such phases, so that counts do not fix it.

    Args:
        recon: Reconstruction of the scan without its truth.
        scan: The scan with its truth.
    """
    assert scan.truth is not None
    true = scan if scan.experiment is None else scan.experiment
    light = compute_illumination_at(true.positions_px, true.probe, scan.truth.shape)
    lit = light > FREE.illumination_threshold * np.percentile(light[light > 0], 95)
    flat = recon
    for _ in range(2):
        flat = dataclasses.replace(flat, object=_without_curvature(flat, scan, lit))
    return {"error": _error(recon, scan, lit), "error_beside_curvature": _error(flat, scan, lit)}


def _error(recon: Reconstruction, scan: ScanData, lit: np.ndarray) -> float:
    comparison = compare(recon, scan, None, FREE)
    assert comparison is not None
    frame = tuple(slice(o, o + n) for o, n in zip(comparison.origin_px, comparison.reference.shape, strict=True))
    mask = comparison.alignment.mask & lit[frame]
    return complex_error(comparison.alignment.image, comparison.reference, mask, fit_factor=True)


def _without_curvature(recon: Reconstruction, scan: ScanData, lit: np.ndarray) -> np.ndarray:
    """Return an object without the quadratic phase that it has beside the truth, from the slopes of their phases."""
    comparison = compare(recon, scan, None, FREE)
    assert comparison is not None
    image, reference = comparison.alignment.image, comparison.reference
    start = comparison.origin_px
    mask = comparison.alignment.mask & lit[tuple(slice(o, o + n) for o, n in zip(start, image.shape, strict=True))]
    product = np.where(mask, image.conj() * reference, 0)
    y, x = np.indices(image.shape) + np.reshape(np.subtract(start, recon.origin_px), (2, 1, 1))
    rows, slopes = [], []
    for axis, terms in enumerate(((y, x, 0 * x, 1 + 0 * x, 0 * x), (0 * x, y, x, 0 * x, 1 + 0 * x))):
        steps = np.diff(product, axis=axis, append=0) + product  # the next pixel, 0 beyond the edge
        steps = steps * product.conj()
        weight = np.sqrt(np.abs(steps)).ravel()
        rows.append(np.stack([term.ravel() * weight for term in terms], 1))
        slopes.append(np.angle(steps).ravel() * weight)
    curvature = np.linalg.lstsq(np.concatenate(rows), np.concatenate(slopes), rcond=None)[0]
    y, x = np.indices(recon.object.shape)
    phase = curvature[0] * y**2 / 2 + curvature[1] * x * y + curvature[2] * x**2 / 2
    phase = phase + curvature[3] * y + curvature[4] * x
    return (recon.object * np.exp(1j * phase)).astype(np.complex64)


def position_errors(positions_px: np.ndarray, true_px: np.ndarray) -> dict[str, float]:
    """Return what is left of the errors of positions after the best shift, and their affine part.

    Args:
        positions_px: Positions of the reconstruction, (M, 2), pixels.
        true_px: True positions, (M, 2), pixels.
    """
    centred, true = positions_px - positions_px.mean(0), true_px - true_px.mean(0)
    errors = np.linalg.norm(centred - true, axis=1)
    matrix = np.linalg.lstsq(true, centred, rcond=None)[0].T
    rest = np.linalg.norm(centred - true @ matrix.T, axis=1)
    angle = np.arctan2(matrix[1, 0] - matrix[0, 1], matrix[0, 0] + matrix[1, 1])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    stretch = turn.T @ matrix  # symmetric: scales, and the shear that probe and scan share
    return {
        "position_rms_px": float(np.sqrt((errors**2).mean())),
        "position_median_px": float(np.median(errors)),
        "position_rms_px_beside_affine": float(np.sqrt((rest**2).mean())),
        "rotation_error_rad": float(angle),
        "scale_error_y": float(stretch[0, 0] - 1),
        "scale_error_x": float(stretch[1, 1] - 1),
        "shear_error": float(2 * stretch[0, 1]),
    }


def score(recon: Reconstruction, scan: ScanData, blind: ScanData) -> dict[str, Any]:
    """Return errors and claims of a reconstruction, JSON-able.

    Args:
        recon: The reconstruction, made from `blind`.
        scan: The scan with its true values.
        blind: The scan without them.
    """
    true = scan if scan.experiment is None else scan.experiment
    evaluation = evaluate(recon, blind, config=FREE)
    verdict = trust_verdict(evaluation, True)
    errors, uncertainty = object_errors(recon, scan), evaluation.metrics.get("typical_uncertainty")
    warned = verdict.level == "warn"
    patterns = slice(None) if recon.patterns is None else recon.patterns
    places = position_errors(recon.positions_px + recon.origin_px, true.positions_px[patterns])
    figures = {
        **errors,
        "residual_over_noise": evaluation.metrics.get("residual_over_noise"),
        "typical_uncertainty": uncertainty,
        **places,
    }
    return {
        **{name: None if value is None else round_digits(value) for name, value in figures.items()},
        "verdict": verdict.statement,
        "level": verdict.level,
        "warnings": list(evaluation.warnings),
        "sure_and_wrong": bool(uncertainty is not None and errors["error"] > CONFIDENT * uncertainty and not warned),
    }
