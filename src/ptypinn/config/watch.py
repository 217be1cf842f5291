"""Configuration of the service that solves every new scan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ptypinn.config.shared import DiskConfig, require, require_min, require_positive


@dataclass(frozen=True)
class WatchConfig(DiskConfig):
    """Options of the service: which scans, when, and what it may take.

    >>> WatchConfig(pattern="*_master.h5").keep_runs is None
    True
    """

    pattern: str = ""
    """Names of the files to solve, as in a shell, such as *_master.h5; by default all that end as those of a format
    that ptypinn reads."""
    settle_s: float = 2.0
    """Time that a file has to stay as it is before it is solved, seconds."""
    patience_s: float = 600.0
    """Time after which a file that stays as it is, but is open for writing or cut off, is tried nevertheless,
    seconds."""
    notices: Literal["auto", "poll"] = "auto"
    """Notice of new files: from the system where it gives any, or (poll) by looking through the folder, as on network
    file systems in any case."""
    poll_s: float = 5.0
    """Time between two looks through the folder, where the system gives no notice, seconds; longer for folders that
    take long."""
    timeout_s: float = 21600.0
    """Time that a scan may take, seconds; it has failed then. Series of a detector may take any."""
    keep_runs: int | None = None
    """Number of finished runs to keep: older ones of this service are deleted. By default none is ever deleted."""
    retry_failed: bool = False
    """Try scans once more that have failed; otherwise only those are tried again whose files change."""
    stop_after: int | None = None
    """Number of scans after which the service ends; by default it runs until it is stopped."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "settle_s", "patience_s", "poll_s", "timeout_s", "stop_after")
        require_min(self, 1, "keep_runs")
        require(self, "pattern", "/" not in self.pattern, "a pattern of names, without folders")
