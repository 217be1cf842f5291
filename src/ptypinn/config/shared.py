"""Options that several stages share, defined once; the configurations of the stages inherit them as flat fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ptypinn.config.checks import Config, require, require_min, require_positive
from ptypinn.errors import InputError

MIN_TILE_PX = 16
"""Minimum edge of tiles and halos: the network works on blocks of this many pixels."""


@dataclass(frozen=True)
class DeviceConfig(Config):
    """Processor of the tensors."""

    device: str = "auto"
    """cpu, cuda, or auto."""


@dataclass(frozen=True)
class ThreadsConfig(Config):
    """CPU threads of one process."""

    threads: int | None = None
    """CPU threads; all cores by default."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_min(self, 1, "threads")


@dataclass(frozen=True)
class SeedConfig(Config):
    """Seed of the random generators."""

    seed: int = 0
    """Seed of everything random."""


@dataclass(frozen=True)
class BatchConfig(Config):
    """Memory of a pass over the patterns."""

    batch_size: int = 128
    """Patterns in memory at once."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_min(self, 1, "batch_size")


@dataclass(frozen=True)
class PrecisionConfig(Config):
    """Arithmetic of a network; the physics is always in float32."""

    precision: Literal["32", "bf16", "16"] = "32"
    """Arithmetic of the network: float32, bfloat16, or float16 (training of patch networks only)."""


@dataclass(frozen=True)
class LossConfig(Config):
    """Data term."""

    loss: str = "poisson"
    """Data term: poisson (likelihood), amplitude (variance-stabilised amplitudes), or any that is registered."""


@dataclass(frozen=True)
class ProbeConfig(Config):
    """Unknowns of the illumination."""

    refine_probe: bool = True
    """Solve for the probe too, with its power held at the calibrated photons per pattern."""
    probe_modes: int | None = None
    """Incoherent probe modes to solve for; a probe with fewer is extended; as many as the probe has by default."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_min(self, 1, "probe_modes")


@dataclass(frozen=True)
class GroupingConfig(Config):
    """Groups of neighbouring patterns, the input of networks with a gridsize above 1."""

    neighbour_count: int = 7
    """Members of a group are drawn from this many nearest neighbours of its leading pattern; for gridsize above 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_min(self, 1, "neighbour_count")


@dataclass(frozen=True)
class PredictionScaleConfig(Config):
    """Scale of the finished object."""

    prediction_scale: Literal["none", "recorded", "flux", "least_squares"] = "none"
    """Factor on the finished object: none; the one recorded at training (patch networks); the one that closes the flux;
    or the one that fits a truth best. The unscaled object is written too."""


@dataclass(frozen=True)
class IlluminationThresholdConfig(Config):
    """Pixels that count in comparisons."""

    illumination_threshold: float = 0.1
    """Compare pixels whose illumination exceeds this fraction of its 95th percentile."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "illumination_threshold", 0 < self.illumination_threshold < 1, "a fraction between 0 and 1")


@dataclass(frozen=True)
class TilingConfig(Config):
    """Tiles of the object canvas that are solved one by one, or side by side."""

    memory_gib: float = 4.0
    """Memory that one process may take, GiB; a scan that needs more is solved in overlapping tiles."""
    tile_px: int | None = None
    """Edge of the tiles without their overlap, object pixels; as large as the memory allows by default."""
    halo_px: int | None = None
    """Width of the border around every tile that is solved and dropped, so that neighbours agree, object pixels; by
    default 20 times the rms half-width of the probe, and at least the edge of a pattern."""
    workers: int = 0
    """Processes that solve tiles side by side, each in `memory_gib`; 0 solves one after the other."""
    scheduler: str = ""
    """Address of a Dask scheduler, such as tcp://host:8786, to solve tiles on its cluster; needs the extra `dask`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_min(self, 0, "workers")
        if self.scheduler and self.workers:
            raise InputError("--workers", "", f"{self.workers} together with --scheduler", "one of them")
        require_positive(self, "memory_gib")
        require_min(self, MIN_TILE_PX, "tile_px", "halo_px")


@dataclass(frozen=True)
class JobsConfig(Config):
    """Processes or cluster for independent jobs."""

    workers: int | None = None
    """Processes that run jobs side by side; one per `threads` CPUs by default, 0 for none but this one."""
    threads: int = 1
    """CPU threads of every job."""
    scheduler: str = ""
    """Address of a Dask scheduler, such as tcp://host:8786, to run the jobs on its cluster; needs the extra `dask`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_min(self, 0, "workers")
        require_min(self, 1, "threads")
        if self.scheduler and self.workers is not None:
            raise InputError("--workers", "", f"{self.workers} together with --scheduler", "one of them")
