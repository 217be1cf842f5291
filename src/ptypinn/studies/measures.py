"""Measurements of a run for its record: scale of model, splits, labels and training."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ptypinn.config.train import TrainConfig
from ptypinn.data.calibration import pattern_sums
from ptypinn.data.grouping import split_parts
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.metrics import amplitude_metrics, output_vs_truth_ratio
from ptypinn.models.model_file import PatchModel
from ptypinn.physics.optics import illumination_mask, typical_illumination
from ptypinn.physics.patches import compute_illumination_at
from ptypinn.scale import compute_input_scale
from ptypinn.stages.evaluate import Evaluation
from ptypinn.studies.schema import (
    ForwardPassDiagnostics,
    IntensityScalerState,
    LossTerm,
    SplitIntensityStats,
    SplitStats,
    TrainingHealth,
    TrainingLabels,
    UnseenPart,
)
from ptypinn.training.callbacks import CURVE

SCALE_TOLERANCE, SPLIT_TOLERANCE = 0.01, 0.05
ILLUMINATED_FRACTION, DARK_FRACTION = 0.1, 1e-3
"""Fractions of the 95th percentile of the illumination: illuminated above the first, unseen below the second."""


def measure_split(scan: ScanData, config: TrainConfig) -> SplitIntensityStats:
    """Compare photons per pattern of the training part and of the part held out."""
    sums = pattern_sums(scan)
    train, test = (_stats(sums[part], scan.size) for part in _parts(scan, config))
    deviation = test.scale / train.scale - 1 if test.scale and train.scale else None
    warning = None
    if deviation is None or abs(deviation) > SPLIT_TOLERANCE:
        by = "by an unknown factor" if deviation is None else f"by {deviation:+.1%}"
        warning = (
            f"the half held out departs from the training half {by} in amplitude: the network was not trained for that"
        )
    return SplitIntensityStats(train, test, deviation, warning)


def read_scaler(bundle: PatchModel | None, external: float | None) -> IntensityScalerState:
    """Read the intensity scaler of a model beside the scale of its training counts.

    Raises:
        InputError: Where the model holds no usable scaler.
    """
    if bundle is None:
        raise InputError("model", "", "none that can be read", "a model with an intensity scaler")
    value = getattr(bundle.header, "log_scale", None)
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(bundle.source, "log_scale", repr(value), "a finite number")
    config, scale = bundle.header.provenance.get("config") or {}, math.exp(value)
    learned = config.get("trainable_log_scale")
    trainable = None if learned is None else bool(learned)
    delta, ratio = (None, None) if not external else (scale - external, scale / external)
    return IntensityScalerState(float(value), scale, trainable, external, delta, ratio)


def compare_scales(
    scaler: IntensityScalerState, evaluation: Evaluation, ledger: list[dict[str, Any]]
) -> ForwardPassDiagnostics:
    """Compare the scale of the network's input, of its stitched output, and of the truth; None where unavailable."""
    match = None if scaler.ratio is None else 100 * (1 - abs(scaler.ratio - 1))
    flag = None if scaler.ratio is None else abs(scaler.ratio - 1) > SCALE_TOLERANCE
    normalisation = next((entry for entry in ledger if entry.get("stage") == "input normalisation"), {})
    into = (normalisation.get("stats") or {}).get("mean")
    out, truth = None, None
    if evaluation.comparison is not None:
        mask = evaluation.comparison.alignment.mask
        images = (evaluation.comparison.alignment.image, evaluation.comparison.reference)
        out, truth = (float(np.abs(image[mask]).mean(dtype=np.float64)) for image in images)
    return ForwardPassDiagnostics(
        external_intensity_scale=scaler.external_intensity_scale,
        model_exp_log_scale=scaler.exp_log_scale,
        scale_match_pct=match,
        scale_discrepancy_flag=flag,
        input_mean=into,
        output_mean=out,
        amplification_ratio=out / into if out is not None and into else None,
        ground_truth_mean=truth,
        output_vs_truth_ratio=evaluation.metrics.get("output_vs_truth_ratio"),
    )


def measure_labels(scan: ScanData, config: TrainConfig) -> TrainingLabels:
    """Measure the truth under the training patterns; it enters training only where the real-space term has a weight."""
    used = config.realspace > 0
    usage = "shown to the training" if used else "never shown to the training, which has the counts alone"
    if scan.truth is None:
        return TrainingLabels(used, "the scan has no truth", 0, None, None, None, None, 0)
    illumination = _training_illumination(scan, config)
    illuminated = illumination_mask(illumination, ILLUMINATED_FRACTION)
    values = np.abs(scan.truth[illuminated]).astype(np.float64)
    finite = values[np.isfinite(values)]
    mean, std, low, high = _spread(finite)
    source = f"amplitude of the truth where the training patterns reach; {usage}"
    return TrainingLabels(used, source, int(illuminated.sum()), mean, std, low, high, int(len(values) - len(finite)))


def measure_unseen(scan: ScanData, config: TrainConfig, evaluation: Evaluation) -> UnseenPart:
    """Measure metrics on the compared pixels that no training pattern illuminates: pixels near the cut are left out."""
    comparison = evaluation.comparison
    if comparison is None or scan.truth is None or comparison.reference.shape != scan.truth.shape:
        return UnseenPart(0, None, None)
    illumination = _training_illumination(scan, config)
    dark = illumination < DARK_FRACTION * typical_illumination(illumination)
    mask, image = comparison.alignment.mask & dark, comparison.alignment.image
    if not mask.any():
        return UnseenPart(0, None, None)
    correlation = amplitude_metrics(image, comparison.reference, mask).get("pearson_r_amplitude")
    return UnseenPart(int(mask.sum()), output_vs_truth_ratio(image, comparison.reference, mask), correlation)


def assess_training(folder: Path, bundle: PatchModel | None, config: TrainConfig) -> TrainingHealth:
    """Assess a training by its learning curve and its model."""
    losses = _losses(folder / CURVE)
    epochs = None if bundle is None else bundle.header.provenance.get("epochs")
    last = losses[-1] if losses else None
    terms = {str(config.loss): LossTerm(last, None if last is None else 1.0)}
    finite = [loss for loss in losses if math.isfinite(loss)]
    return TrainingHealth(
        epochs_requested=config.epochs,
        epochs_completed=epochs,
        stopped_early=None if epochs is None else epochs < config.epochs,
        nan_count=None if bundle is None or not losses else len(losses) - len(finite) + _non_finite(bundle),
        final_train_loss=last,
        best_train_loss=min(finite) if finite else None,
        terms=terms,
    )


def measure_external_scale(scan: ScanData, config: TrainConfig) -> float | None:
    """Return the input scale s of the counts of the training part, sqrt(photons); None without photons."""
    return _scale(float(pattern_sums(scan)[_parts(scan, config)[0]].mean()), scan.size)


def _training_illumination(scan: ScanData, config: TrainConfig) -> np.ndarray:
    """Return the photons of the training patterns on every pixel of the truth."""
    assert scan.truth is not None
    positions = scan.positions_px[_parts(scan, config)[0]]
    return compute_illumination_at(positions, scan.require_probe(), (scan.truth.shape[0], scan.truth.shape[1]))


def _parts(scan: ScanData, config: TrainConfig) -> tuple[np.ndarray, np.ndarray]:
    return split_parts(scan.positions_px, config.split_axis, config.split_fraction, config.split_gap_px)


def _stats(sums: np.ndarray, size: int) -> SplitStats:
    mean, std, low, high = _spread(sums)
    return SplitStats(len(sums), mean, std, low, high, _scale(mean or 0.0, size))


def _spread(values: np.ndarray) -> tuple[float | None, float | None, float | None, float | None]:
    """Return mean, standard deviation, minimum and maximum; None for no values."""
    if not len(values):
        return None, None, None, None
    return float(values.mean()), float(values.std()), float(values.min()), float(values.max())


def _scale(photons: float, size: int) -> float | None:
    return compute_input_scale(photons, size) if photons > 0 else None


def _losses(table: Path) -> list[float]:
    """Read the training loss of every epoch; an empty list without a table."""
    try:
        with table.open(newline="") as lines:
            return [float(row["train_loss"] or "nan") for row in csv.DictReader(lines)]
    except (OSError, KeyError, ValueError):
        return []


def _non_finite(bundle: PatchModel) -> int:
    weights = sum(int((~value.isfinite()).sum()) for value in bundle.weights.values() if value.is_floating_point())
    stats: list[Mapping[str, Any]] = [entry.get("stats") or {} for entry in bundle.header.scale]
    return weights + sum(int(record.get("non_finite", 0)) for record in stats)
