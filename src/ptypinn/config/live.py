"""Configuration of the reconstruction of a scan in progress."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ptypinn.config.shared import DiskConfig, require_min, require_positive


@dataclass(frozen=True)
class LiveConfig(DiskConfig):
    """Options of receiving a scan in progress.

    >>> LiveConfig(position_offset=1).clocks
    'auto'
    """

    positions_source: str = ""
    """Address of the positions where they do not come with the frames: another stream, a PV or a file."""
    position_offset: int = 0
    """Number of a frame less the number of its position, where both count from different starts."""
    clocks: Literal["auto", "same", "arrival"] = "auto"
    """Relation of the clocks of detector and encoder, where positions are joined by time: they agree, they are related
    by the arrivals of their messages, or (auto) they agreed at the start and a drift that arrivals show is undone."""
    scan_frames: int | None = None
    """Frames of the whole scan, where its source does not state them: it is complete with so many, or when no further
    one has come for --idle-s."""
    idle_s: float = 10.0
    """Time without anything new, seconds, after which a scan is complete whose source announces no end; growing files
    and PVs whose stated frames are still to come wait 30 times as long, and ZeroMQ streams for the last of them. The
    numbers of those that have not come are stated."""
    picture_s: float = 0.4
    """Time between two pictures, seconds."""
    keep_spool: bool = False
    """Leave the frames as received in the run folder, beside the scan file that is made of them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "idle_s", "picture_s", "scan_frames")
        require_min(self, -(2**31), "position_offset")
