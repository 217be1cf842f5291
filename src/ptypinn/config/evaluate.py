"""Configurations of the evaluation and of the diagnosis of scale."""

from __future__ import annotations

from dataclasses import dataclass

from ptypinn.config.shared import BatchConfig, Config, DeviceConfig, IlluminationThresholdConfig, require_fraction


@dataclass(frozen=True)
class EvaluateConfig(DeviceConfig, BatchConfig, IlluminationThresholdConfig):
    """Options of the comparison of a reconstruction with a reference and with the measured counts."""

    remove_ramp: bool | None = None
    """Remove a linear phase ramp before comparing; by default if probe or positions were solved for."""
    remove_shift: bool | None = None
    """Remove a shift before comparing; by default if probe or positions were solved for."""
    compare_counts: bool = True
    """Compare predicted with measured counts, if a scan is given."""


@dataclass(frozen=True)
class DiagnoseConfig(Config):
    """Options of the diagnosis of scale."""

    tolerance: float = 0.05
    """Relative deviation of network, solver and comparison that is put down to data and training; other stages are
    allowed 2 %."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_fraction(self, "tolerance")
