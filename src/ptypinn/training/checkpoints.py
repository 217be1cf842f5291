"""Checkpoints of the trainer: writing, reading, and the options that must agree on resuming."""

from __future__ import annotations

from collections.abc import Mapping, Set, Sized
from dataclasses import asdict, fields
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint

from ptypinn.config.shared import default_of, option_name
from ptypinn.errors import InputError
from ptypinn.runs.record import rename_options
from ptypinn.utils.atomic_files import atomic_path

CHECKPOINTS, LAST, BEST = "checkpoints", "last.ckpt", "best.ckpt"
"""Folder of the checkpoints inside the run folder, the last one, and the one of minimum validation loss."""
RUNTIME_OPTIONS = frozenset({"device", "threads", "workers"})
"""Options that may change on resuming: device and number of threads and processes."""


def make_checkpoint_callback(folder: Path, name: str, monitor: str | None = None) -> ModelCheckpoint:
    """Make a callback that writes the checkpoint of the best epoch, or of the last one.

    Args:
        folder: Run folder.
        name: `LAST` or `BEST`.
        monitor: Metric whose minimum marks the best epoch; None for the last epoch.
    """
    return ModelCheckpoint(
        folder / CHECKPOINTS,
        filename=name.removesuffix(".ckpt"),
        monitor=monitor,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writer of checkpoints that moves them into place within their folder.

    The one of the trainer writes to the folder for temporary files first, and copies where that is another file system:
    a process that dies meanwhile leaves half a checkpoint in the place of a whole one.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write a checkpoint.

        Raises:
            OSError: Where it cannot be written; an earlier one stays.
        """
        content = BytesIO()
        torch.save(checkpoint, content)
        with atomic_path(Path(path), content.tell()) as temporary:
            temporary.write_bytes(content.getbuffer())


def find_checkpoint(folder: Path, keys: Set[str] = frozenset()) -> Path:
    """Find the last checkpoint in a run folder.

    Args:
        folder: Run folder.
        keys: Entries that the checkpoint must hold besides the state of the module.

    Raises:
        InputError: Where there is none, or it is damaged or something else.
    """
    checkpoint = folder / CHECKPOINTS / LAST
    if not checkpoint.is_file():
        raise InputError(str(checkpoint), "", "no such file", "the last checkpoint of an earlier run; train afresh")
    load_checkpoint(checkpoint, keys)
    return checkpoint


def load_checkpoint(path: Path, keys: Set[str] = frozenset()) -> dict[str, Any]:
    """Read a checkpoint, tensors on the CPU; nothing in it is executed.

    Args:
        path: The file.
        keys: Entries that it must hold besides the state of the module.

    Raises:
        InputError: Where the file is damaged or something else.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file may raise anything
        reason = f"a damaged file ({type(error).__name__})"
        raise InputError(str(path), "", reason, "a complete checkpoint; train afresh") from None
    if not isinstance(checkpoint, dict) or not {"state_dict"} | keys <= checkpoint.keys():
        raise InputError(str(path), "", "something else", "a checkpoint of this training; train afresh")
    return checkpoint


def require_same_options(config: Any, recorded: Mapping[str, Any], free: Set[str] = RUNTIME_OPTIONS) -> None:
    """Raise `InputError` where a run to resume has other options.

    Args:
        config: Configuration of this run.
        recorded: Options in the checkpoint, also of an earlier version; those that it lacks have their defaults.
        free: Options that may differ.

    Raises:
        InputError: Where other options differ; it lists them.
    """
    before = {field.name: default_of(type(config), field.name) for field in fields(config)}
    before |= rename_options(type(config), recorded)
    here = asdict(config)
    changed = [name for name in here if name not in free and _plain(here[name]) != _plain(before[name])]
    if changed:
        differences = ", ".join(f"{option_name(name)} {here[name]} (was {before[name]})" for name in changed)
        raise InputError("--resume", "", differences, "the options of the run to resume")


def _plain(value: Any) -> Any:
    """Return a value as checkpoints hold it; an empty one equals an option that an earlier version did not have."""
    value = list(value) if isinstance(value, tuple) else value
    return None if isinstance(value, Sized) and not isinstance(value, str) and not len(value) else value
