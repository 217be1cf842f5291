"""Configuration of the dose study."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ptypinn.errors import InputError

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
