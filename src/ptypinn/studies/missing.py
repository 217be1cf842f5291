"""Reasons for the fields of a record that have no value."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ptypinn.studies.schema import IntensityScalerState, SplitIntensityStats, TrainingHealth, TrainingLabels
from ptypinn.utils.plain_values import to_plain

NOT_FINITE = "the value is not finite"
FROM_MODEL = ("epochs_completed", "stopped_early")
"""Fields of the training that the model holds; the others come from the learning curve."""


def explain_missing_scaler(state: IntensityScalerState, reason: str | None) -> dict[str, str]:
    """Explain the missing fields of the intensity scaler.

    Args:
        state: The scaler.
        reason: Reason why the scaler cannot be read; None where it can.
    """

    def cause(name: str) -> str:
        if state.external_intensity_scale is None and name in ("external_intensity_scale", "delta", "ratio"):
            return "the training patterns hold no photons"
        return reason or "not recorded in the model"

    return {f"intensity_scaler_state.{name}": cause(name) for name in _without_value(state)}


def explain_missing_health(health: TrainingHealth, curve: Path, unread: str | None) -> dict[str, str]:
    """Explain the missing fields of the training.

    Args:
        health: The training.
        curve: File of the learning curve.
        unread: Reason why the model cannot be read; None where it can.
    """
    model, learning = unread or "not recorded in the model", f"no learning curve can be read from {curve}"

    def cause(name: str) -> str:
        if name in FROM_MODEL or (name == "nan_count" and unread):
            return model
        value = next(iter(health.terms.values())).loss if name.startswith("terms.") else getattr(health, name)
        lost = isinstance(value, float) or (health.final_train_loss is not None and name != "nan_count")
        return NOT_FINITE if lost else learning

    return {f"training_health.{name}": cause(name) for name in _without_value(health)}


def explain_missing_labels(labels: TrainingLabels) -> dict[str, str]:
    """Explain the missing fields of the truth under the training patterns."""
    reason = "no finite value among them" if labels.pixels else labels.source
    return {f"training_labels.{name}": reason for name in _without_value(labels)}


def explain_missing_split(stats: SplitIntensityStats) -> dict[str, str]:
    """Explain the missing fields of the two parts of the scan; an absent warning is not a missing field."""

    def cause(name: str) -> str:
        part = stats.train if name.startswith("train.") else stats.test
        if name == "deviation":
            return "a part of the scan holds no photons"
        return "the part holds no photons" if part.patterns else "the part holds no patterns"

    names = [name for name in _without_value(stats) if name != "warning"]
    return {f"split_intensity_stats.{name}": cause(name) for name in names}


def _without_value(record: Any) -> Iterator[str]:
    """Dotted names of the leaves that are None once the record is plain."""
    yield from _leaves(to_plain(record), "")


def _leaves(plain: Mapping[str, Any], before: str) -> Iterator[str]:
    for name, value in plain.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{before}{name}.")
        elif value is None or (isinstance(value, float) and not math.isfinite(value)):
            yield before + name
