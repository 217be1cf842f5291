"""Configuration of the evaluation."""

from __future__ import annotations

from dataclasses import dataclass

from ptypinn.errors import InputError


@dataclass(frozen=True)
class EvaluateConfig:
    """How a reconstruction is compared with a reference and with the measured counts."""

    remove_ramp: bool | None = None
    """Remove a linear phase ramp before comparing; where not given, if probe or positions were solved for."""
    remove_shift: bool | None = None
    """Remove a shift before comparing; where not given, if probe or positions were solved for."""
    lit_fraction: float = 0.1
    """Compare pixels whose illumination exceeds this fraction of its 95th percentile."""
    compare_counts: bool = True
    """Compare predicted with measured counts, where the scan is given."""
    batch: int = 128
    """Patterns in memory at once."""
    device: str = "auto"
    """cpu, cuda, or auto."""

    def __post_init__(self) -> None:
        if not 0 < self.lit_fraction < 1:
            raise InputError("--lit_fraction", "", str(self.lit_fraction), "between 0 and 1")
        if self.batch < 1:
            raise InputError("--batch", "", str(self.batch), "at least 1")


@dataclass(frozen=True)
class DiagnoseConfig:
    """What counts as a loss of scale."""

    tolerance: float = 0.05
    """Relative deviation of network, solver and comparison that is put down to data and training; other stages are
    allowed 2 %."""

    def __post_init__(self) -> None:
        if not 0 < self.tolerance < 1:
            raise InputError("--tolerance", "", str(self.tolerance), "between 0 and 1")
