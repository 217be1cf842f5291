"""Configuration of reconstruction with a trained network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ptypinn.errors import InputError


@dataclass(frozen=True)
class ReconstructConfig:
    """How a trained network is applied to a scan."""

    part: Literal["all", "train", "held_out"] = "all"
    """Patterns to reconstruct: all, or one of the two parts that the training split the scan into."""
    probe_from: Literal["auto", "scan", "bundle"] = "auto"
    """Probe to reconstruct with; auto takes the scan's, in the shape that the network learned where it learned one."""
    neighbor_count: int = 7
    """Members of a group are drawn from so many nearest neighbours of its leading pattern, for gridsize above 1."""
    groups_per_pattern: int = 1
    """Groups that every pattern leads, for gridsize above 1: more of them average more estimates of each patch."""
    prediction_scale: Literal["none", "recorded", "flux", "least_squares"] = "none"
    """Factor on the finished object: none; the one recorded at training; the one that closes the flux; or the one that
    fits a truth best. The object before it is kept too."""
    batch: int = 128
    """Patterns in memory at once."""
    device: str = "auto"
    """cpu, cuda, or auto."""
    threads: int | None = None
    """CPU threads; all cores where not given."""
    seed: int = 0
    """Seed of the groups."""

    def __post_init__(self) -> None:
        for name in ("neighbor_count", "groups_per_pattern", "batch"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name}", "", str(getattr(self, name)), "at least 1")
