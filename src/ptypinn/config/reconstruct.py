"""Configuration of reconstruction by the learned solver or a trained network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ptypinn.errors import InputError


@dataclass(frozen=True)
class ReconstructConfig:
    """How a scan is reconstructed: the first options are of the learned solver, the next of a trained network."""

    rounds: int | None = None
    """Rounds of the learned solver, each two passes over the data and one correction by the network; by default 6 to
    20, the more the more light. With more, one pixel in fifty is held out to tell which round is the best. Where the
    probe is solved for: rounds that find it, by default 36, before the usual number for the object, or fewer."""
    refine_probe: bool = True
    """Solve for the probe too, with its power held at the known photons per pattern."""
    probe_modes: int | None = None
    """Incoherent probe modes to solve for; a probe with fewer is extended; as many as the probe has by default."""
    loss: str = "poisson"
    """Noise model of the counts: poisson (their likelihood) or amplitude (variance-stabilised), or another one that is
    registered in `ptypinn.losses`."""
    precision: Literal["32", "bf16"] = "32"
    """Arithmetic of the learned solver's network: float32, or bfloat16, which is faster where the processor has it and
    changes errors by about a percent at 1e8 photons per pattern, less below. The physics is in float32 in any case."""
    polish: int = 0
    """Most iterations of the iterative solver from the learned solver's result; it stops before noise is fitted."""
    refine_positions: bool = False
    """Solve for the scan positions too, while polishing."""
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
        if self.rounds is not None and self.rounds < 1:
            raise InputError("--rounds", "", str(self.rounds), "at least 1")
        if self.probe_modes is not None and self.probe_modes < 1:
            raise InputError("--probe_modes", "", str(self.probe_modes), "at least 1")
        if self.polish < 0:
            raise InputError("--polish", "", str(self.polish), "at least 0")
        if self.refine_positions and not self.polish:
            raise InputError("--refine_positions", "", "without --polish", "polishing, which solves for positions")
        for name in ("neighbor_count", "groups_per_pattern", "batch"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name}", "", str(getattr(self, name)), "at least 1")


SMALLEST_PX = 16
"""Smallest window and halo: the network works on tiles of so many pixels."""


@dataclass(frozen=True)
class WindowOptions:
    """How a scan is cut into windows that are solved one by one, or side by side."""

    memory_gib: float = 4.0
    """Memory that one process may take, GiB; a scan that needs more is solved in windows that overlap."""
    window_px: int | None = None
    """Edge of the windows, object pixels, without their overlap; as large as the memory allows by default."""
    halo_px: int | None = None
    """Object pixels that are solved around every window and dropped, so that neighbours agree; by default 20 times the
    rms half-width of the probe, and at least the edge of a pattern."""
    workers: int = 0
    """Processes that solve windows side by side, each in `memory_gib`; 0 solves one after the other."""
    scheduler: str = ""
    """Address of a Dask scheduler, such as tcp://host:8786, to solve windows on its cluster; needs the extra `dask`."""

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise InputError("--workers", "", str(self.workers), "at least 0")
        if self.scheduler and self.workers:
            raise InputError("--workers", "", f"{self.workers} together with --scheduler", "one of them")
        if not 0 < self.memory_gib < float("inf"):
            raise InputError("--memory_gib", "", str(self.memory_gib), "more than 0")
        for name in ("window_px", "halo_px"):
            value = getattr(self, name)
            if value is not None and value < SMALLEST_PX:
                raise InputError(f"--{name}", "", str(value), f"at least {SMALLEST_PX}")


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
