"""Configuration of the viewer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ptypinn.config.shared import Config, require, require_positive
from ptypinn.errors import InputError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Addresses that only this machine reaches."""
MAX_JOBS = 64
EVERYWHERE = ("0.0.0.0", "::")
"""Addresses that stand for every address of this machine."""


@dataclass(frozen=True)
class ViewConfig(Config):
    """Options of the viewer: its address, its disk space, and the jobs that its pages start."""

    host: str = "127.0.0.1"
    """Address to listen on; the default is reached from this machine only."""
    port: int = 8642
    """Port to listen on; 0 takes any that is free."""
    open_browser: bool = False
    """Open the page in the browser of this machine."""
    read_only: bool = False
    """Offer nothing that starts or ends jobs, as for a screen on a wall."""
    key_file: str = ""
    """File with the key of the address, which stays the same then; it is written where there is none, for this user
    alone."""
    jobs: int = 1
    """Jobs that run at the same time, each with its share of the CPU threads; the others wait."""
    cache_gib: float = 4.0
    """Disk space in the temporary folder for reduced copies of large objects, GiB."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "port", 0 <= self.port < 2**16, "0 to 65535")
        if not self.host or any(letter in self.host for letter in "/*@ "):
            raise InputError("--host", "", repr(self.host), "an address or a name of this machine")
        require_positive(self, "cache_gib")
        require(self, "jobs", 1 <= self.jobs <= MAX_JOBS, f"1 to {MAX_JOBS}")

    def unread(self) -> Mapping[str, str]:
        """Return the number of jobs where none is started."""
        return {"jobs": "--no-read-only"} if self.read_only else {}
