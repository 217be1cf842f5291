"""Base, checks and options that the configurations of the stages share.

A value out of bounds, or an option that nothing reads, is refused by name. Options of several stages are defined once;
configurations inherit them as flat fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Literal

from ptypinn.errors import InputError

MIN_TILE_PX = 16
"""Minimum edge of tiles and halos: the network works on blocks of this many pixels."""
MAX_TILT_MRAD = 200.0
"""Largest tilt of a sample against the beam, milliradians."""


def option_name(field: str) -> str:
    """Return a field as it is written on the command line.

    >>> option_name("probe_modes")
    '--probe-modes'
    """
    return "--" + field.replace("_", "-")


def format_option(field: str, value: object) -> str:
    """Return a field and its value as they are written on the command line.

    >>> format_option("probe_modes", 3), format_option("refine_probe", False)
    ('--probe-modes 3', '--no-refine-probe')
    """
    if isinstance(value, bool):
        return option_name(field) if value else "--no" + option_name(field)[1:]
    return f"{option_name(field)} {','.join(map(str, value)) if isinstance(value, tuple) else value}"


@dataclass(frozen=True)
class Config:
    """Base of the configurations: checks itself when it is made."""

    def __post_init__(self) -> None:
        for name, companion in self.unread().items():
            if (value := getattr(self, name)) != default_of(type(self), name):
                raise InputError(option_name(name), "", show_value(value), f"{companion} as well, which reads it")

    def unread(self) -> Mapping[str, str]:
        """Return the fields that nothing reads with the values of the others, and the option that would read each."""
        return {}


def default_of(kind: type, name: str) -> Any:
    """Return the default of a configuration's field."""
    field = next(field for field in fields(kind) if field.name == name)
    if field.default_factory is not MISSING:
        return field.default_factory()
    return None if field.default is MISSING else field.default


def read_values(config: Any) -> dict[str, Any]:
    """Return the fields of a configuration that are read, for the record.

    >>> from ptypinn.config.train import TrainConfig
    >>> "split_fraction" in read_values(TrainConfig(split_axis="none"))
    False
    """
    unread = config.unread() if isinstance(config, Config) else {}
    return {field.name: getattr(config, field.name) for field in fields(config) if field.name not in unread}


def require(config: object, name: str, condition: object, expected: str) -> None:
    """Raise `InputError` for a field where a condition does not hold.

    Args:
        config: The configuration.
        name: Name of the field.
        condition: True if the value is allowed.
        expected: Description of the allowed values.

    >>> from ptypinn.config.refine import RefineConfig
    >>> RefineConfig(probe_modes=0)
    Traceback (most recent call last):
        ...
    ptypinn.errors.InputError: --probe-modes: found 0, expected at least 1
    """
    if not condition:
        raise InputError(option_name(name), "", show_value(getattr(config, name)), expected)


def require_min(config: object, minimum: int | float, *names: str) -> None:
    """Raise `InputError` where a field is below a minimum; None passes."""
    for name in names:
        value = getattr(config, name)
        require(config, name, value is None or value >= minimum, f"at least {minimum:g}")


def require_positive(config: object, *names: str) -> None:
    """Raise `InputError` where a field is not a finite number above 0; None passes."""
    for name in names:
        value = getattr(config, name)
        require(config, name, value is None or 0 < value < float("inf"), "a positive number")


def require_fraction(config: object, *names: str) -> None:
    """Raise `InputError` where a field is not between 0 and 1, both excluded; None passes."""
    for name in names:
        value = getattr(config, name)
        require(config, name, value is None or 0 < value < 1, "a fraction between 0 and 1")


def show_value(value: object) -> str:
    """Return a value as it is written on the command line or in an error.

    >>> show_value(True), show_value((128, 128)), show_value("")
    ('true', '(128, 128)', "''")
    """
    return str(value).lower() if isinstance(value, bool) else repr(value) if value == "" else str(value)


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
class DiskConfig(Config):
    """Space on the disk."""

    min_free_gib: float = 1.0
    """Space on the disk, GiB, that is left free: a service begins no scan with less, and frames that would take it are
    dropped and counted."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "min_free_gib", 0 <= self.min_free_gib < float("inf"), "at least 0")


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
    """Incoherent probe modes to solve for; a probe with fewer is extended. By default as many as the probe has, and
    three in `reconstruct` where the counts demand more than one."""

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
