"""Export weights of the unrolled solver from a checkpoint of the pre-training, finished or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ptypinn.config.pretrain import PretrainConfig
from ptypinn.errors import InputError
from ptypinn.models.model_file import Weights, load_weights, save_weights
from ptypinn.models.unrolled import CHANNELS, UnrolledCorrection
from ptypinn.runs.record import rename_options
from ptypinn.training.checkpoints import load_checkpoint
from ptypinn.training.model_card import TrainingProgress, make_pretrained_card
from ptypinn.training.validation import measure_card_scans
from ptypinn.utils.progress import Progress

AVERAGE = "average.module."
"""Prefix of the averaged weights in a checkpoint."""


def export_weights(
    checkpoint: str | Path,
    path: str | Path,
    config: PretrainConfig | None = None,
    *,
    figures: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write the averaged weights of a checkpoint with their model card.

    Args:
        checkpoint: A checkpoint of the pre-training.
        path: File to write (safetensors).
        config: Configuration of the training; None for the one recorded in the checkpoint.
        figures: Measured quality for the card; None measures it on `config.card_scans` scans.
        progress: Called after every scan that is measured.

    Returns:
        The path.

    Raises:
        InputError: Where the checkpoint is missing, damaged, or of something else.
    """
    if not Path(checkpoint).is_file():
        raise InputError(str(checkpoint), "", "no such file", "a checkpoint of `ptypinn pretrain`")
    content = load_checkpoint(Path(checkpoint), {"epoch", "global_step"} | (set() if config else {"config"}))
    config = config or _recorded(content["config"])
    network = _averaged(content["state_dict"], config, str(checkpoint))
    measured = measure_card_scans(network, config, progress) if figures is None else figures
    done = TrainingProgress(int(content["epoch"]) + 1, int(content["global_step"]))
    return save_weights(network, make_pretrained_card(config, done, measured, load_initial_weights(config)), path)


def _recorded(options: Mapping[str, Any]) -> PretrainConfig:
    options = rename_options(PretrainConfig, options)
    return PretrainConfig(
        **{field.name: options[field.name] for field in fields(PretrainConfig) if field.name in options}
    )


def _averaged(state: Mapping[str, Any], config: PretrainConfig, source: str) -> UnrolledCorrection:
    network = UnrolledCorrection(CHANNELS, widths=config.widths).eval().requires_grad_(False)
    try:
        network.load_state_dict({n.removeprefix(AVERAGE): w for n, w in state.items() if n.startswith(AVERAGE)})
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise InputError(source, "state_dict", reason, f"a training with --widths {config.widths}") from None
    return network


def load_initial_weights(config: PretrainConfig) -> Weights | None:
    """Load the initial weights that a configuration names; None for random ones.

    Raises:
        InputError: Where they cannot be read, or are of another network.
    """
    if config.init_weights == "none":
        return None
    weights = load_weights(None if config.init_weights == "shipped" else config.init_weights)
    if weights.network.widths != tuple(config.widths):
        widths = f"a network of widths {weights.network.widths}"
        raise InputError(weights.source, "--init-weights", widths, f"--widths {','.join(map(str, config.widths))}")
    return weights
