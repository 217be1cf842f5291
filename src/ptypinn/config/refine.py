"""Configuration of the iterative solver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ptypinn.config.probe import ProbeStartConfig
from ptypinn.config.shared import DeviceConfig, LossConfig, ProbeConfig, SeedConfig, ThreadsConfig, require, require_min
from ptypinn.errors import InputError


@dataclass(frozen=True)
class RefineConfig(SeedConfig, ThreadsConfig, DeviceConfig, LossConfig, ProbeConfig, ProbeStartConfig):
    """Options of the iterative solver.

    >>> RefineConfig(iterations=200, probe_modes=3).probe_modes
    3
    """

    iterations: int = 200
    """Maximum number of iterations, each about one pass over the data; the solver stops earlier where it no longer
    gains."""
    positions: Literal["auto", "recorded"] = "auto"
    """Scan positions to start from, without --initial: those of an electron scan turned to the axes of the detector
    where its patterns show a turn, or as recorded."""
    refine_positions: bool = False
    """Solve for the scan positions too, once object and probe have settled."""
    prior: bool = True
    """Expect an object of the power spectrum that the counts show: what stands above counting noise follows the counts,
    and noise stays out of the picture. Without, the picture is that of maximum likelihood, with all noise in it."""
    tolerance: float = 3e-5
    """Stop when the loss gains less than this fraction over five iterations."""
    engine: Literal["native", "ptychi"] = "native"
    """Solver: the native quasi-Newton one, or LSQ-ML of the ptychi package (an extra)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_min(self, 1, "iterations")
        require(self, "tolerance", self.tolerance >= 0, "a number of at least 0")
        if self.engine == "ptychi" and self.refine_positions:
            raise InputError("--refine-positions", "", "true with --engine ptychi", "false, or --engine native")

    def unread(self) -> Mapping[str, str]:
        """Return the fields that the chosen engine does not read."""
        native = dict.fromkeys(("prior", "tolerance"), "--engine native") if self.engine == "ptychi" else {}
        modes = {} if self.refine_probe else {"probe_modes": "--refine-probe"}
        return {**super().unread(), **native, **modes}
