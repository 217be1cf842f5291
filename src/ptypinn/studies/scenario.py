"""Scenarios: a profile and what overrides it, resolved to the configurations of the stages, with every origin noted."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ptypinn.config.reconstruct import PatchNetworkConfig
from ptypinn.config.shared import default_of
from ptypinn.config.simulate import MAX_PHOTONS, PROBE_FIELDS, SimulateConfig
from ptypinn.config.studies import ABOUT_THE_RUN, PARAMETERS, SimLinesConfig
from ptypinn.config.train import TrainConfig
from ptypinn.errors import InputError
from ptypinn.models.registry import find_model
from ptypinn.studies.stage_configs import (
    PROBES,
    default_parameters,
    reconstruct_config,
    refuse_unread,
    simulate_config,
    train_config,
)

PROFILES = Path(__file__).parent / "profiles"


@dataclass(frozen=True)
class Parameter:
    """One parameter of a scenario."""

    value: Any
    """Its value."""
    origin: str
    """`profile`, `flag`, `config file`, `argument` (of a Python call) or `default`."""


@dataclass(frozen=True)
class Override:
    """A parameter that departs from its profile."""

    parameter: str
    """Its name."""
    profile: Any
    """Value in the profile; None where it has none."""
    value: Any
    """Value that replaces it."""
    origin: str
    """Origin of the value."""
    reason: str
    """Reason, in the words of the user."""


@dataclass(frozen=True)
class Scenario:
    """A scenario, ready to run."""

    name: str
    """Name of its profile."""
    parameters: Mapping[str, Parameter]
    """Every parameter with its origin."""
    overrides: list[Override]
    """Parameters that depart from the profile."""
    simulate: SimulateConfig
    """The simulation, its probe with one photon, and neither masked nor scaled."""
    train: TrainConfig
    """The training on the first part of the scan."""
    reconstruct: PatchNetworkConfig
    """The inference on the part held out."""

    def value(self, name: str) -> Any:
        """Value of a parameter."""
        return self.parameters[name].value

    @property
    def probe_file(self) -> dict[str, str] | None:
        """The probe's file and its SHA-256, where the probe comes from one."""
        path = Path(str(self.value("probe_file")))
        if not self.value("probe_file"):
            return None
        return {"file": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


@cache
def load_profile(name: str) -> dict[str, Any]:
    """Load the profile of a scenario.

    Raises:
        InputError: Where there is no such scenario, or its profile is invalid.
    """
    path = PROFILES / f"{name}.yaml"
    if not path.is_file():
        names = ", ".join(sorted(entry.stem for entry in PROFILES.glob("*.yaml")))
        raise InputError("--scenario", "", repr(name), f"one of {names}")
    values = dict(yaml.safe_load(path.read_text(encoding="utf-8")))
    if (named := values.pop("scenario", None)) != name:
        raise InputError(str(path), "scenario", repr(named), repr(name))
    if unknown := [key for key in values if key not in PARAMETERS]:
        raise InputError(str(path), str(unknown[0]), "an unknown key", f"one of {', '.join(PARAMETERS)}")
    return values


def resolve_scenario(config: SimLinesConfig, origins: Mapping[str, str] | None = None) -> Scenario:
    """Join the profile of a scenario with its overrides.

    Args:
        config: The scenario and the overrides.
        origins: Where each override comes from; `argument` where not given.

    Raises:
        InputError: Where parameters contradict each other.
    """
    origins, profile, changes = origins or {}, load_profile(config.scenario), config.overrides()
    _check_probe(config)
    resolved = {name: Parameter(value, "default") for name, value in default_parameters().items()}
    resolved |= {name: Parameter(_typed(name, value), "profile") for name, value in profile.items()}
    resolved |= {name: Parameter(value, origins.get(name, "argument")) for name, value in changes.items()}
    overrides = [
        Override(name, profile.get(name), value, resolved[name].origin, config.reason)
        for name, value in changes.items()
        if name not in profile or _typed(name, profile[name]) != value
    ]
    parameters = {name: resolved[name] for name in PARAMETERS}
    values = {name: parameter.value for name, parameter in parameters.items()}
    parameters = {**_about_the_run(config, origins), **parameters}
    refuse_unread({override.parameter: override.value for override in overrides}, values)
    _check_photons(values["photons"], values["probe_scale"])
    find_model(values["model"])
    stages = simulate_config(values), train_config(values, config), reconstruct_config(values, config)
    return Scenario(config.scenario, parameters, overrides, *stages)


def stage_records(scenario: Scenario) -> dict[str, Any]:
    """Return every field of the three stages, in plain values."""
    return {name: asdict(getattr(scenario, name)) for name in ("simulate", "train", "reconstruct")}


def write_probe_file(config: SimulateConfig, path: Path, probe: np.ndarray) -> SimulateConfig:
    """Write a probe to a file and return the simulation that reads it."""
    np.save(path, probe)
    unread = {name: default_of(SimulateConfig, name) for name in PROBE_FIELDS[config.probe]}
    return replace(config, **{**unread, "probe": "file", "probe_file": str(path)})


def _about_the_run(config: SimLinesConfig, origins: Mapping[str, str]) -> dict[str, Parameter]:
    """Return the parameters that no profile sets."""
    parameters = {}
    for field in fields(SimLinesConfig):
        if field.name in ABOUT_THE_RUN:
            value = getattr(config, field.name)
            guess = "default" if value == field.default else "argument"
            parameters[field.name] = Parameter(value, origins.get(field.name, guess))
    return parameters


def _check_probe(config: SimLinesConfig) -> None:
    if config.probe is None or config.probe in PROBES:
        return
    if config.probe_file is not None:
        raise InputError("--probe", "", config.probe, f"{' or '.join(PROBES)} together with --probe-file")
    if not Path(config.probe).is_file():
        raise InputError("--probe", "", repr(config.probe), f"{', '.join(PROBES)}, or a file with a probe")


def _check_photons(photons: float, probe_scale: float) -> None:
    if photons * probe_scale**2 > MAX_PHOTONS:
        requested = f"{photons:g}, times {probe_scale:g} squared of --probe-scale"
        raise InputError("--photons", "", requested, f"at most {MAX_PHOTONS:g} photons per pattern")


def _typed(name: str, value: Any) -> Any:
    """Convert a value of a profile to the type of its option: pairs are tuples."""
    return tuple(value) if isinstance(value, list) else value
