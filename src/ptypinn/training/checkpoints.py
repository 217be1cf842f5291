"""Checkpoints of the trainer: which are kept, how they are read, and which run may go on from one."""

from __future__ import annotations

from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from ptypinn.errors import InputError

CHECKPOINTS, LAST, BEST = "checkpoints", "last.ckpt", "best.ckpt"
"""Their folder inside the run folder, the newest one, and the one that validates best."""
HERE_ONLY = frozenset({"device", "threads", "workers"})
"""Options that may change on resuming: where and how fast a run computes."""


def keep(folder: Path, name: str, monitor: str | None = None) -> ModelCheckpoint:
    """Keep the checkpoint of the epoch with the least monitored figure, or of every epoch in place of the one before.

    Args:
        folder: Run folder.
        name: `LAST` or `BEST`.
        monitor: Figure to keep the least of; None keeps the newest.
    """
    return ModelCheckpoint(
        folder / CHECKPOINTS,
        filename=name.removesuffix(".ckpt"),
        monitor=monitor,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )


def to_resume(folder: Path, keys: Set[str] = frozenset()) -> Path:
    """The last checkpoint in a run folder.

    Args:
        folder: Run folder.
        keys: What the checkpoint must hold besides the state of the task.

    Raises:
        InputError: Where there is none, or it is damaged or something else.
    """
    checkpoint = folder / CHECKPOINTS / LAST
    if not checkpoint.is_file():
        raise InputError(str(checkpoint), "", "no such file", "the last checkpoint of an earlier run; train afresh")
    read(checkpoint, keys)
    return checkpoint


def read(path: Path, keys: Set[str] = frozenset()) -> dict[str, Any]:
    """Read a checkpoint, tensors on the CPU; nothing in it is executed.

    Args:
        path: The file.
        keys: What it must hold besides the state of the task.

    Raises:
        InputError: Where the file is damaged or something else.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file may raise anything
        reason = f"a damaged file ({type(error).__name__})"
        raise InputError(str(path), "", reason, "a complete checkpoint; train afresh") from None
    if not isinstance(found, dict) or not {"state_dict"} | keys <= found.keys():
        raise InputError(str(path), "", "something else", "a checkpoint of this training; train afresh")
    return found


def refuse_other_options(here: Mapping[str, Any], there: Mapping[str, Any], free: Set[str] = HERE_ONLY) -> None:
    """Refuse to go on from a run of other options.

    Args:
        here: Options of this run, by flag.
        there: Options on record in the checkpoint.
        free: Options that may differ.

    Raises:
        InputError: Where others do; names them.
    """
    changed = [name for name in here if name not in free and _plain(here[name]) != _plain(there.get(name))]
    if changed:
        found = ", ".join(f"--{name} {here[name]} (was {there.get(name)})" for name in changed)
        raise InputError("--resume", "", found, "the options of the run to resume")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
