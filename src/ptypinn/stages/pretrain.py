"""The `pretrain` stage: train the network of the unrolled solver on simulations; its weights ship in the package."""

from __future__ import annotations

import copy
from pathlib import Path

import lightning
from lightning.pytorch.callbacks import Callback

from ptypinn.config.pretrain import PretrainConfig
from ptypinn.training.callbacks import (
    LearningCurve,
    ReportProgress,
    make_trainer,
    quiet_lightning,
    restore_process_state,
)
from ptypinn.training.checkpoints import CHECKPOINTS, LAST, find_checkpoint, make_checkpoint_callback
from ptypinn.training.export import export_weights, load_initial_weights
from ptypinn.training.pretrain_data import StateDataModule
from ptypinn.training.pretrain_module import PretrainModule
from ptypinn.training.validation import ValidationScans
from ptypinn.utils.device import cpu_threads, pick_device
from ptypinn.utils.progress import Progress, silent

WEIGHTS = "weights.safetensors"
"""File of the weights inside the run folder."""
COLUMNS = ("epoch", "train_loss", "val_loss", "val_error", "learning_rate")
"""Columns of the learning curve: mean error after a correction over that before; for whole solutions of the validation
scans, the error over that of the physical steps alone, and the error; and the learning rate."""


def pretrain(
    config: PretrainConfig | None = None,
    *,
    output_dir: str | Path,
    progress: Progress | None = None,
    resume: bool = False,
) -> Path:
    """Train the network of the unrolled solver on simulations that are drawn during the training.

    With `workers`, the simulations run in processes that import the calling script: a script needs the guard
    `if __name__ == "__main__":`.

    Args:
        config: Distribution of the scans, and the optimiser.
        output_dir: Folder for the weights, the checkpoints and the learning curve.
        progress: Called after every step.
        resume: Continue from the last checkpoint in `output_dir`; the result equals that of an uninterrupted run,
            bit for bit on a CPU.

    Returns:
        Path of the averaged weights, which `models.model_file.load_weights` reads.

    Raises:
        InputError: Where the loss is not finite, the initial weights cannot be used, there is nothing to resume,
            or the earlier run has other options.
    """
    config, folder = config or PretrainConfig(), Path(output_dir)
    checkpoint = find_checkpoint(folder, {"config", "epoch"}) if resume else None
    lightning.seed_everything(config.seed, verbose=False)
    steps = config.epochs * (config.scans_per_epoch // config.scans_per_batch) * (1 + config.replay_steps)
    start = load_initial_weights(config)
    task, data = PretrainModule(config, steps, None if start is None else start.network), StateDataModule(config)
    with quiet_lightning(), restore_process_state(), cpu_threads(config.threads):
        _trainer(config, folder, progress or silent).fit(task, data, ckpt_path=checkpoint, weights_only=True)
        return export_weights(folder / CHECKPOINTS / LAST, folder / WEIGHTS, config, progress=progress)


class ValidateEveryEpoch(Callback):
    """Validate the averaged weights after every epoch; place it before callbacks that record or write.

    Args:
        scans: The validation scans.
    """

    def __init__(self, scans: ValidationScans) -> None:
        self._scans = scans

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Log the gain over the physical steps."""
        assert isinstance(pl_module, PretrainModule)
        for name, value in self._scans(copy.deepcopy(pl_module.averaged).cpu()).items():
            pl_module.log(name, value)


def _trainer(config: PretrainConfig, folder: Path, progress: Progress) -> lightning.Trainer:
    callbacks = [
        ValidateEveryEpoch(ValidationScans(config)),
        LearningCurve(folder, COLUMNS),
        ReportProgress(progress, "pretrain"),
        make_checkpoint_callback(folder, LAST),
    ]
    return make_trainer(
        folder,
        pick_device(config.device),
        callbacks,
        epochs=config.epochs,
        precision=config.precision,
        gradient_clip_val=config.gradient_clip,
    )
