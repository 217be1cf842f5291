"""Structure of the record of a study in `run_metadata.json`, version 1. Fields without a value are None."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SCHEMA = "ptypinn-study-1"


@dataclass(frozen=True)
class IntensityScalerState:
    """The intensity scaler as the model file holds it, beside the scale of the training counts."""

    log_scale_value: float | None = None
    """Its logarithm."""
    exp_log_scale: float | None = None
    """The factor s, sqrt(photons)."""
    trainable: bool | None = None
    """True if it was trained."""
    external_intensity_scale: float | None = None
    """The factor that the counts of the training split determine, computed from the scan, sqrt(photons)."""
    delta: float | None = None
    """Model minus external."""
    ratio: float | None = None
    """Model over external."""


@dataclass(frozen=True)
class ForwardPassDiagnostics:
    """The scale of the input, of the output, and of the truth."""

    external_intensity_scale: float | None
    """The factor that the counts of the training split determine, sqrt(photons)."""
    model_exp_log_scale: float | None
    """The factor that the model holds, sqrt(photons)."""
    scale_match_pct: float | None
    """100 minus their difference in percent."""
    scale_discrepancy_flag: bool | None
    """True if they differ by more than 1 %."""
    input_mean: float | None
    """Mean of the network's input amplitude."""
    output_mean: float | None
    """Mean amplitude of the object on the compared pixels."""
    amplification_ratio: float | None
    """Output over input."""
    ground_truth_mean: float | None
    """Mean amplitude of the truth on the compared pixels."""
    output_vs_truth_ratio: float | None
    """Output over truth."""


@dataclass(frozen=True)
class SplitStats:
    """Photons of the patterns of one part of the scan."""

    patterns: int
    """Patterns."""
    mean_photons: float | None
    """Mean photons per pattern."""
    std_photons: float | None
    """Standard deviation over patterns."""
    min_photons: float | None
    """Photons of the faintest pattern."""
    max_photons: float | None
    """Photons of the brightest pattern."""
    scale: float | None
    """The factor s by these patterns, sqrt(photons)."""


@dataclass(frozen=True)
class SplitIntensityStats:
    """Photons of both parts, and whether they differ."""

    train: SplitStats
    """The part that trains."""
    test: SplitStats
    """The part held out."""
    deviation: float | None
    """Scale of the part held out over that of the part that trains, minus 1."""
    warning: str | None
    """Said where they deviate by more than 5 %."""


@dataclass(frozen=True)
class TrainingLabels:
    """The truth beneath the training patterns, and whether training was shown it."""

    used: bool
    """True if it took part in the loss."""
    source: str
    """Source of the statistics."""
    pixels: int
    """Pixels that the training patterns illuminate well."""
    mean_amplitude: float | None
    """Mean amplitude."""
    std_amplitude: float | None
    """Standard deviation of the amplitude."""
    min_amplitude: float | None
    """Minimum amplitude."""
    max_amplitude: float | None
    """Maximum amplitude."""
    non_finite: int
    """Pixels that are infinite or not a number."""


@dataclass(frozen=True)
class UnseenPart:
    """Metrics on the compared pixels that no training pattern illuminates."""

    pixels: int
    """Pixels."""
    output_vs_truth_ratio: float | None
    """Mean amplitude over that of the truth."""
    pearson_r_amplitude: float | None
    """Correlation of the amplitudes."""


@dataclass(frozen=True)
class LossTerm:
    """One term of the loss."""

    loss: float | None
    """Its value in the last epoch, weight included."""
    share: float | None
    """Its fraction of the whole."""


@dataclass(frozen=True)
class TrainingHealth:
    """State of the training."""

    epochs_requested: int
    """Epochs asked for."""
    epochs_completed: int | None
    """Epochs run."""
    stopped_early: bool | None
    """True if fewer epochs ran than were requested."""
    nan_count: int | None
    """Values not finite among losses, weights, and what flowed through the network in training."""
    final_train_loss: float | None
    """Training loss of the last epoch."""
    best_train_loss: float | None
    """Minimum training loss of an epoch."""
    terms: dict[str, LossTerm]
    """Terms of the last epoch's loss."""


@dataclass(frozen=True)
class StudyMetadata:
    """Everything that a study adds to the record of a run."""

    schema: str
    """Name and version of this structure."""
    scenario: str
    """Name of the scenario."""
    parameters: dict[str, dict[str, Any]]
    """Every parameter: `value` and `origin`."""
    overrides: list[dict[str, Any]]
    """Parameters that depart from the profile: `parameter`, `profile`, `value`, `origin`, `reason`."""
    stages: dict[str, dict[str, Any]]
    """Configurations of the stages, field by field."""
    photons_per_pattern: dict[str, float | None]
    """`requested`, `probe_scale` and `requested_times_probe_scale_squared`, which `expected` and `measured` should
    equal; then `through_vacuum`."""
    probe: dict[str, Any]
    """Kind, diameter, overlap of neighbouring positions, fraction of its power at the array's edge, file."""
    intensity_scaler_state: IntensityScalerState
    """The intensity scaler."""
    forward_pass_diagnostics: ForwardPassDiagnostics
    """Scale of input, output and truth."""
    split_intensity_stats: SplitIntensityStats
    """Photons of both parts of the scan."""
    training_labels: TrainingLabels
    """The truth beneath the training patterns."""
    prediction_scale: dict[str, Any]
    """Prediction scaling: source, factor, and how it came about."""
    training_health: TrainingHealth
    """State of the training."""
    steps: dict[str, dict[str, Any]]
    """Wall and CPU seconds of every step, and whether an earlier run did it."""
    seeds: dict[str, int | None]
    """Seeds of object, positions and noise, training."""
    metrics: dict[str, float]
    """Figures of merit."""
    unseen: UnseenPart
    """The same on the pixels that no training pattern illuminates."""
    ledger: list[dict[str, Any]]
    """Scale ledger from counts to object."""
    training_ledger: list[dict[str, Any]]
    """Scale ledger of the training."""
    diagnosis: dict[str, Any]
    """Verdict, total and findings."""
    missing: dict[str, str] = field(default_factory=dict)
    """Fields without a value, with reasons."""
    limits: list[str] = field(default_factory=list)
    """Limits of the scenario, in sentences."""
    warnings: list[str] = field(default_factory=list)
    """Warnings, in sentences."""

    def as_json(self) -> Mapping[str, Any]:
        """Plain values: floats that are not finite become None."""
        from ptypinn.utils.plain_values import to_plain

        plain: Mapping[str, Any] = to_plain(self)
        return plain
