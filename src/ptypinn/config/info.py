"""Configuration of the look at a scan."""

from __future__ import annotations

from dataclasses import dataclass

from ptypinn.errors import InputError

LEAST_PATTERNS = 9
"""Fewer patterns do not tell which way round they are."""


@dataclass(frozen=True)
class InfoConfig:
    """How a scan is looked at."""

    batch_patterns: int = 64
    """Patterns in memory at a time."""
    orient_patterns: int = 80
    """Neighbouring patterns around the middle of the scan that `--orient` solves in every orientation."""
    orient_iterations: int = 20
    """Iterations of every such solve."""

    def __post_init__(self) -> None:
        for name, least in (("batch_patterns", 1), ("orient_patterns", LEAST_PATTERNS), ("orient_iterations", 1)):
            if getattr(self, name) < least:
                raise InputError(f"--{name}", "", str(getattr(self, name)), f"at least {least}")
