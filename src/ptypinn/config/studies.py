"""Configuration of the scenario studies."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from ptypinn.errors import InputError


@dataclass(frozen=True)
class SimLinesConfig:
    """Which scenario is studied, and what is to differ from its profile; nothing given leaves it to the profile."""

    scenario: Literal["gs1_ideal", "gs2_ideal", "gs1_custom", "gs2_custom"] = "gs2_ideal"
    """Profile to start from: one pattern or four neighbours at a time; an idealised or a measured-looking probe."""
    prediction_scale_source: Literal["none", "recorded", "flux", "least_squares"] = "none"
    """Factor on the finished object: none, the model's recorded gauge, from counts alone, or fitted to the truth."""
    reason: str = "not given"
    """Why parameters of the profile are overridden, for the record."""
    size: int | None = None
    """Edge N of patterns and probe, pixels."""
    object_size: int | None = None
    """Height and width of the object, pixels."""
    amplitude_mean: float | None = None
    """Mean amplitude of the object."""
    amplitude_range: tuple[float, float] | None = None
    """Amplitude between the lines and on the brightest of them, before it is rescaled to its mean."""
    feature_px: float | None = None
    """Root-mean-square width of a line, pixels."""
    object_seed: int | None = None
    """Seed of the object."""
    sim_seed: int | None = None
    """Seed of positions and shot noise."""
    buffer_px: int | None = None
    """Margin between the probe array and the edge of the object, pixels."""
    scan: Literal["uniform", "raster", "jittered_raster", "fermat"] | None = None
    """Pattern of positions."""
    base_total_images: int | None = None
    """Patterns of the scan, times gridsize**2."""
    nphotons: float | None = None
    """Photons per measured pattern, on average behind the object, where probe_scale is 1."""
    probe: str | None = None
    """ideal: a real symmetric disk; custom: the curved field behind a zone plate; or a file, as for probe_file."""
    probe_file: str | None = None
    """File with the custom probe, instead of the zone plate: .npy, .npz, a scan or a reconstruction."""
    probe_diameter_px: float | None = None
    """Diameter of the ideal probe, pixels."""
    defocus_waves: float | None = None
    """Defocus of the zone plate at the rim of its pupil, waves."""
    probe_mask: float | None = None
    """Diameter of a soft circular support that cuts off the probe's tails, pixels; 0 for none."""
    probe_scale: float | None = None
    """Factor on the probe's amplitude in the simulation: patterns carry nphotons times its square."""
    split_fraction: float | None = None
    """Share of the patterns that train, those of the smallest y."""
    model: str | None = None
    """Network architecture: any that is registered."""
    width: int | None = None
    """Channels of the network's finest level, a multiple of 16."""
    gridsize: int | None = None
    """The network sees groups of gridsize**2 neighbouring patterns at a time."""
    neighbor_count: int | None = None
    """Members of a group are drawn from so many nearest neighbours of its leading pattern."""
    group_count: int | None = None
    """Groups to train on per epoch."""
    batch: int | None = None
    """Groups per optimiser step: neighbours, merged on one canvas inside the loss."""
    nepochs: int | None = None
    """Passes over the groups."""
    learning_rate: float | None = None
    """Peak learning rate."""
    loss: str | None = None
    """Data term: Poisson likelihood or variance-stabilised amplitudes."""
    trainable_log_scale: bool | None = None
    """Learn the intensity scale."""
    train_seed: int | None = None
    """Seed of the training and of the groups at inference."""
    groups_per_pattern: int | None = None
    """Groups that every pattern leads at inference, for gridsize above 1."""
    device: str = "auto"
    """cpu, cuda, or auto."""
    threads: int | None = None
    """CPU threads; all cores where not given."""

    def __post_init__(self) -> None:
        positive = ("size", "object_size", "base_total_images", "gridsize", "neighbor_count", "group_count", "batch")
        for name in (*positive, "nepochs", "groups_per_pattern", "threads"):
            self._require(name, lambda value: value >= 1, "at least 1")
        for name in ("nphotons", "probe_scale", "amplitude_mean", "learning_rate", "probe_diameter_px", "feature_px"):
            self._require(name, lambda value: 0 < value < float("inf"), "a finite number above 0")
        for name in ("probe_mask", "object_seed", "sim_seed", "train_seed", "buffer_px"):
            self._require(name, lambda value: value >= 0, "0 or more")

    def given(self) -> dict[str, Any]:
        """Parameters of the profile that this configuration overrides."""
        found = {name: value for name in PARAMETERS if (value := getattr(self, name)) is not None}
        if self.probe not in (None, "ideal", "custom"):
            found |= {"probe": "custom", "probe_file": self.probe}
        return found

    def _require(self, name: str, holds: Any, expected: str) -> None:
        value = getattr(self, name)
        if value is not None and not holds(value):
            raise InputError(f"--{name}", "", str(value), expected)


ABOUT_THE_RUN = ("scenario", "prediction_scale_source", "device", "threads")
"""Parameters that no profile sets."""
PARAMETERS = tuple(field.name for field in fields(SimLinesConfig) if field.name not in (*ABOUT_THE_RUN, "reason"))
"""Parameters that a profile sets and an option overrides."""


ScenarioName = Literal["gs1_ideal", "gs2_ideal", "gs1_custom", "gs2_custom"]

MAX_PHOTONS = 1e12
"""Most photons per pattern: those that the simulation allows the probe, which the objects of the scenarios amplify."""


@dataclass(frozen=True)
class DoseConfig:
    """Which doses are studied, on which scenarios, with which solver."""

    scenarios: tuple[ScenarioName, ...] = ("gs1_custom",)
    """Scenarios of `study sim-lines`, such as [gs1_ideal,gs1_custom]; the rest is as in their profiles."""
    solver: str = "refine"
    """`refine` on the whole scan with the known probe, or a network, such as cnn, trained on one half of every scan and
    judged on the other."""
    photons: tuple[float, ...] = (1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9)
    """Photons per measured pattern, on average behind the object."""
    seeds: int = 3
    """Scans per dose, each of another object at other positions."""
    reference_photons: float = 1e6
    """Photons that the probe is said to give, whatever the dose is, in the negative control."""
    object_size: int = 160
    """Height and width of the object, pixels."""
    base_total_images: int = 192
    """Patterns of a scan, times gridsize**2."""
    iterations: int = 300
    """Most iterations of `refine`; high doses need many to come down to the noise."""
    nepochs: int = 5
    """Passes over the groups that a network trains for."""
    seed: int = 42
    """Seed of the first scan; the others count up from it."""

    def __post_init__(self) -> None:
        self._require("scenarios", bool(self.scenarios) and len(set(self.scenarios)) == len(self.scenarios), "some")
        allowed = all(0 < photons <= MAX_PHOTONS for photons in self.photons)
        different = len(set(self.photons)) == len(self.photons) >= 1
        self._require("photons", allowed and different, f"different numbers above 0, at most {MAX_PHOTONS:g}")
        stated = 0 < self.reference_photons <= MAX_PHOTONS
        self._require("reference_photons", stated, f"more than 0, at most {MAX_PHOTONS:g}")
        for name in ("seeds", "iterations", "nepochs", "base_total_images"):
            self._require(name, getattr(self, name) >= 1, "at least 1")
        self._require("object_size", self.object_size >= 100, "at least 100, for patterns of 64 pixels and a margin")
        self._require("seed", self.seed >= 0, "at least 0")

    def _require(self, name: str, condition: bool, expected: str) -> None:
        if not condition:
            raise InputError(f"--{name}", "", str(getattr(self, name)), expected)


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
