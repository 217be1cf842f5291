"""Configuration of how many independent jobs are run."""

from __future__ import annotations

from dataclasses import dataclass

from ptypinn.errors import InputError


@dataclass(frozen=True)
class JobsConfig:
    """Where independent jobs run, and on how many processors."""

    workers: int | None = None
    """Processes that run jobs side by side; as many as there are CPUs for by default, 0 for none but this one."""
    threads: int = 1
    """CPU threads of every job."""
    scheduler: str = ""
    """Address of a Dask scheduler, such as tcp://host:8786, to run the jobs on its cluster; needs the extra `dask`."""

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 0:
            raise InputError("--workers", "", str(self.workers), "at least 0")
        if self.threads < 1:
            raise InputError("--threads", "", str(self.threads), "at least 1")
        if self.scheduler and self.workers is not None:
            raise InputError("--workers", "", f"{self.workers} together with --scheduler", "one of them")
