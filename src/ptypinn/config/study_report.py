"""Configuration of the report over several runs."""

from __future__ import annotations

from dataclasses import dataclass

from ptypinn.errors import InputError


@dataclass(frozen=True)
class StudyReportConfig:
    """How runs are summed up and shown."""

    title: str = "Amplitude and phase bias"
    """Heading of the page."""
    lit_fraction: float = 0.1
    """Compare pixels whose illumination exceeds this fraction of its 95th percentile."""

    def __post_init__(self) -> None:
        if not 0 < self.lit_fraction < 1:
            raise InputError("--lit_fraction", "", str(self.lit_fraction), "between 0 and 1")
