"""Configuration of the look at a scan."""

from __future__ import annotations

from dataclasses import dataclass

from ptypinn.errors import InputError


@dataclass(frozen=True)
class InfoConfig:
    """How a scan is looked at."""

    batch_patterns: int = 64
    """Patterns in memory at a time."""

    def __post_init__(self) -> None:
        if self.batch_patterns < 1:
            raise InputError("--batch_patterns", "", str(self.batch_patterns), "at least 1")
