"""Configurations of the stages of a study: which parameter sets which field, and errors in the names of the study."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from ptypinn.config.reconstruct import PatchNetworkConfig
from ptypinn.config.shared import option_name, show_value
from ptypinn.config.simulate import PROBE_FIELDS, SimulateConfig
from ptypinn.config.studies import SimLinesConfig
from ptypinn.config.train import TrainConfig
from ptypinn.errors import InputError
from ptypinn.models.registry import list_options

SIMULATE = {
    "sim_seed": "seed",
    **{name: name for name in ("size", "amplitude_mean", "amplitude_range", "feature_px", "object_seed", "buffer_px")},
    **{name: name for name in ("scan", "probe_diameter_px", "defocus_waves", "probe_file")},
}
"""Fields of the simulation by the names of the study's parameters."""
TRAIN = {
    "train_seed": "seed",
    **{name: name for name in ("model", "width", "gridsize", "neighbour_count", "n_groups", "cluster_size", "epochs")},
    **{name: name for name in ("learning_rate", "loss", "trainable_log_scale", "split_fraction")},
}
"""Fields of the training by the names of the study's parameters."""
RECONSTRUCT = {"train_seed": "seed", **{name: name for name in ("neighbour_count", "groups_per_pattern")}}
"""Fields of the reconstruction by the names of the study's parameters."""
PROBES = {"ideal": "disk", "custom": "zone_plate"}
"""Probes of the simulation by the names of the study's probes."""
STUDY_DEFAULTS = {
    "photons": 1e9,
    "probe": "custom",
    "probe_mask": 0.0,
    "probe_scale": 1.0,
    "object_size": 392,
    "base_patterns": 512,
}
"""Defaults of the parameters that no stage has."""


def default_parameters() -> dict[str, Any]:
    """Return the defaults of all parameters: those of the stages, and those of the study's own parameters.

    >>> default_parameters()["base_patterns"]
    512
    """
    values = dict(STUDY_DEFAULTS)
    stages: list[tuple[type, Mapping[str, str]]] = [(SimulateConfig, SIMULATE), (TrainConfig, TRAIN)]
    for config, names in [*stages, (PatchNetworkConfig, RECONSTRUCT)]:
        defaults = {field.name: field.default for field in fields(config)}
        values |= {name: defaults[field] for name, field in names.items() if name not in values}
    return values


def simulate_config(values: Mapping[str, Any]) -> SimulateConfig:
    """Return the simulation of a scenario, its probe with one photon, neither masked nor scaled."""
    probe = PROBES[values["probe"]]
    if values["probe_file"]:
        if probe == "disk":
            raise InputError("--probe-file", "", values["probe_file"], "none for an ideal probe, or --probe custom")
        probe = "file"
    edge = int(values["object_size"])
    with rename_errors(SIMULATE):
        return SimulateConfig(
            object="lines",
            object_size=(edge, edge),
            phase_range=(0.0, 0.0),
            probe=probe,  # type: ignore[arg-type]  # one of its literals
            photons=1.0,
            n_patterns=values["base_patterns"] * values["gridsize"] ** 2,
            **_select(values, SIMULATE),
        )


def train_config(values: Mapping[str, Any], config: SimLinesConfig) -> TrainConfig:
    """Return the training on the first part of the scan, without validation: the held-out part is the test set."""
    options = _select(values, TRAIN)
    if config.width is None and "width" not in list_options(values["model"]):
        del options["width"]  # the profile's is for the network of this package
    machine: dict[str, Any] = {"device": config.device, "threads": config.threads}
    with rename_errors(TRAIN):
        return TrainConfig(batch_size=1, val_fraction=0.0, split_axis="y", **options, **machine)


def reconstruct_config(values: Mapping[str, Any], config: SimLinesConfig) -> PatchNetworkConfig:
    """Return the inference on the held-out part."""
    options = _select(values, RECONSTRUCT)
    options |= {"device": config.device, "threads": config.threads}
    with rename_errors(RECONSTRUCT):
        return PatchNetworkConfig(subset="held_out", prediction_scale=config.prediction_scale_source, **options)


def list_unread(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the parameters that this kind of probe or this gridsize does not read, and what would read each."""
    kind = "file" if values["probe_file"] else PROBES[values["probe"]]
    readers = {"disk": "--probe ideal", "zone_plate": "--probe custom without a file"}
    probe = {
        name: readers[reader]
        for reader in readers
        for name in PROBE_FIELDS[reader]
        if name in SIMULATE and name not in PROBE_FIELDS[kind]
    }
    groups = ("neighbour_count", "groups_per_pattern") if values["gridsize"] == 1 else ()
    return {**probe, **dict.fromkeys(groups, "--gridsize 2")}


def refuse_unread(changes: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Raise `InputError` for an override that nothing reads."""
    for name, companion in list_unread(values).items():
        if name in changes:
            raise InputError(option_name(name), "", show_value(changes[name]), f"{companion} as well, which reads it")


@contextlib.contextmanager
def rename_errors(fields: Mapping[str, str]) -> Iterator[None]:
    """Replace options of a stage in error messages by those of the study.

    Args:
        fields: Fields of the stage by the names of the study's parameters.

    >>> with rename_errors(TRAIN):
    ...     raise InputError("--seed", "", "-1", "at least 0")
    Traceback (most recent call last):
        ...
    ptypinn.errors.InputError: --train-seed: found -1, expected at least 0
    """
    options = {option_name(field): option_name(name) for name, field in fields.items()}
    try:
        yield
    except InputError as error:
        texts = (error.source, error.field, error.actual, error.expected)
        renamed = [re.sub(r"--[\w-]+", lambda match: options.get(match[0], match[0]), text) for text in texts]
        raise InputError(*renamed) from None


def _select(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of the fields of a stage, without those that nothing reads."""
    unread = list_unread(values)
    return {field: values[name] for name, field in names.items() if name not in unread}
