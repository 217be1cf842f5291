"""Configuration of the scenario studies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from ptypinn.config.shared import (
    Config,
    DeviceConfig,
    IlluminationThresholdConfig,
    ThreadsConfig,
    require,
    require_min,
    require_positive,
)
from ptypinn.config.simulate import MAX_PHOTONS

ScenarioName = Literal["gs1_ideal", "gs2_ideal", "gs1_custom", "gs2_custom"]


@dataclass(frozen=True)
class SimLinesConfig(ThreadsConfig, DeviceConfig):
    """Scenario to study, and the parameters that depart from its profile; all others are those of the profile.

    >>> SimLinesConfig(scenario="gs1_ideal", photons=1e6).overrides()
    {'photons': 1000000.0}
    """

    scenario: ScenarioName = "gs2_ideal"
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
    base_patterns: int | None = None
    """Patterns of the scan, times gridsize**2."""
    photons: float | None = None
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
    """Factor on the probe's amplitude in the simulation: patterns carry photons times its square."""
    split_fraction: float | None = None
    """Fraction of the patterns that train, those with the smallest y."""
    model: str | None = None
    """Network architecture: any that is registered."""
    width: int | None = None
    """Channels of the network's finest level, a multiple of 8."""
    gridsize: int | None = None
    """The network takes groups of gridsize**2 neighbouring patterns at a time."""
    neighbour_count: int | None = None
    """Members of a group are drawn from this many nearest neighbours of its leading pattern."""
    n_groups: int | None = None
    """Groups to train on per epoch."""
    cluster_size: int | None = None
    """Neighbouring groups merged on one canvas inside the loss: those of one optimiser step."""
    epochs: int | None = None
    """Passes over the groups."""
    learning_rate: float | None = None
    """Peak learning rate."""
    loss: str | None = None
    """Data term: Poisson likelihood or variance-stabilised amplitudes."""
    trainable_log_scale: bool | None = None
    """Train the intensity scale."""
    train_seed: int | None = None
    """Seed of the training and of the groups at inference."""
    groups_per_pattern: int | None = None
    """Groups that every pattern leads at inference, for gridsize above 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        counts = ("size", "object_size", "base_patterns", "gridsize", "neighbour_count", "n_groups")
        require_min(self, 1, *counts, "cluster_size", "epochs", "groups_per_pattern", "threads")
        require_positive(self, "photons", "probe_scale", "amplitude_mean", "learning_rate", "probe_diameter_px")
        require_positive(self, "feature_px")
        require_min(self, 0, "probe_mask", "object_seed", "sim_seed", "train_seed", "buffer_px")

    def overrides(self) -> dict[str, Any]:
        """Return the parameters of the profile that this configuration overrides."""
        overrides = {name: value for name in PARAMETERS if (value := getattr(self, name)) is not None}
        if self.probe not in (None, "ideal", "custom"):
            overrides |= {"probe": "custom", "probe_file": self.probe}
        return overrides


ABOUT_THE_RUN = ("scenario", "prediction_scale_source", "device", "threads")
"""Parameters that no profile sets."""
PARAMETERS = tuple(field.name for field in fields(SimLinesConfig) if field.name not in (*ABOUT_THE_RUN, "reason"))
"""Parameters that a profile sets and an option overrides."""


@dataclass(frozen=True)
class DoseConfig(Config):
    """Options of the dose study: doses, scenarios, solver."""

    scenarios: tuple[ScenarioName, ...] = ("gs1_custom",)
    """Scenarios of `study sim-lines`, such as [gs1_ideal,gs1_custom]; the rest is as in their profiles."""
    solver: str = "refine"
    """`refine` on the whole scan with the known probe, or a network, such as cnn, trained on one half of every scan and
    evaluated on the other."""
    photons: tuple[float, ...] = (1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9)
    """Photons per measured pattern, on average behind the object."""
    seeds: int = 3
    """Scans per dose, each of another object at other positions."""
    reference_photons: float = 1e6
    """Stated photons of the probe, whatever the dose is, in the negative control."""
    object_size: int = 160
    """Height and width of the object, pixels."""
    base_patterns: int = 192
    """Patterns of a scan, times gridsize**2."""
    iterations: int = 300
    """Maximum number of iterations of `refine`; high doses need many to come down to the noise."""
    epochs: int = 5
    """Passes over the groups that a network trains for."""
    seed: int = 42
    """Seed of the first scan; the others count up from it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        distinct = bool(self.scenarios) and len(set(self.scenarios)) == len(self.scenarios)
        require(self, "scenarios", distinct, "at least one, all different")
        allowed = all(0 < photons <= MAX_PHOTONS for photons in self.photons)
        different = len(set(self.photons)) == len(self.photons) >= 1
        require(self, "photons", allowed and different, f"different numbers above 0, at most {MAX_PHOTONS:g}")
        stated = 0 < self.reference_photons <= MAX_PHOTONS
        require(self, "reference_photons", stated, f"more than 0, at most {MAX_PHOTONS:g}")
        require_min(self, 1, "seeds", "iterations", "epochs", "base_patterns")
        require(self, "object_size", self.object_size >= 100, "at least 100, for patterns of 64 pixels and a margin")
        require_min(self, 0, "seed")

    def unread(self) -> Mapping[str, str]:
        """Return the fields that the chosen solver does not read."""
        network = {"epochs": "--solver cnn"} if self.solver == "refine" else {"iterations": "--solver refine"}
        return {**super().unread(), **network}


@dataclass(frozen=True)
class StudyReportConfig(IlluminationThresholdConfig):
    """Options of the summary of many runs."""

    title: str = "Amplitude and phase bias"
    """Heading of the page."""
