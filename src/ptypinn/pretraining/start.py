"""Weights that a pre-training goes on from."""

from __future__ import annotations

from ptypinn.config.pretrain import PretrainConfig
from ptypinn.errors import InputError
from ptypinn.learned.weights import Weights, load_weights


def start_of(config: PretrainConfig) -> Weights | None:
    """The weights that a configuration names; None where it begins from scratch.

    Raises:
        InputError: Where they cannot be read, or are of another network.
    """
    if config.start == "none":
        return None
    weights = load_weights(None if config.start == "shipped" else config.start)
    if weights.network.widths != tuple(config.widths):
        found = f"a network of widths {weights.network.widths}"
        raise InputError(weights.source, "--start", found, f"--widths {','.join(map(str, config.widths))}")
    return weights
