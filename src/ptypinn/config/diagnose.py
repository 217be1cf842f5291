"""Configuration of the scale diagnosis."""

from __future__ import annotations

from dataclasses import dataclass

from ptypinn.errors import InputError


@dataclass(frozen=True)
class DiagnoseConfig:
    """What counts as a loss of scale."""

    tolerance: float = 0.05
    """Relative deviation of network, solver and comparison that is put down to data and training; other stages are
    allowed 2 %."""

    def __post_init__(self) -> None:
        if not 0 < self.tolerance < 1:
            raise InputError("--tolerance", "", str(self.tolerance), "between 0 and 1")
