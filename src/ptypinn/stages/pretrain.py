"""The `pretrain` stage: teach the learned solver's network on simulations, so that users need not train anything."""

from __future__ import annotations

import copy
from pathlib import Path

import lightning
from lightning.pytorch.callbacks import Callback

from ptypinn.config.pretrain import PretrainConfig
from ptypinn.training.callbacks import LearningCurve, ReportProgress, process_restored, quiet_lightning, trainer_of
from ptypinn.training.checkpoints import CHECKPOINTS, LAST, keep, to_resume
from ptypinn.training.export import export, start_of
from ptypinn.training.pretrain_data import StateDataModule
from ptypinn.training.pretrain_module import PretrainTask
from ptypinn.training.validation import Check
from ptypinn.utils.device import cpu_threads, pick_device
from ptypinn.utils.progress import Progress, silent

WEIGHTS = "weights.safetensors"
"""File of the weights inside the run folder."""
COLUMNS = ("epoch", "train_loss", "val_loss", "val_error", "learning_rate")
"""Of the learning curve: mean error after a correction over that before; the same over whole solutions of the scans
that check, network over physics alone; their error; and the learning rate."""


def pretrain(
    config: PretrainConfig | None = None,
    *,
    output_dir: str | Path,
    progress: Progress | None = None,
    resume: bool = False,
) -> Path:
    """Train the network of the learned solver on simulations that are drawn on the way.

    With `workers`, the simulations run in processes that import the calling script: a script needs the usual
    `if __name__ == "__main__":`.

    Args:
        config: What the network sees, and for how long.
        output_dir: Folder for the weights, the checkpoints and the learning curve.
        progress: Told about every step.
        resume: Go on from the last checkpoint in `output_dir`; the result equals that of an uninterrupted run, on a CPU
            bit for bit.

    Returns:
        Path of the weights, which `learned.weights.load_weights` reads; the averages of those that were trained.

    Raises:
        InputError: Where the loss is not finite, the weights to go on from cannot be used, there is nothing to resume,
            or it is of other options.
    """
    config, folder = config or PretrainConfig(), Path(output_dir)
    checkpoint = to_resume(folder, {"config", "epoch"}) if resume else None
    lightning.seed_everything(config.seed, verbose=False)
    steps = config.epochs * (config.scans_per_epoch // config.scans_per_batch) * (1 + config.replays)
    start = start_of(config)
    task, data = PretrainTask(config, steps, None if start is None else start.network), StateDataModule(config)
    with quiet_lightning(), process_restored(), cpu_threads(config.threads):
        _trainer(config, folder, progress or silent).fit(task, data, ckpt_path=checkpoint, weights_only=True)
        return export(folder / CHECKPOINTS / LAST, folder / WEIGHTS, config, progress=progress)


class CheckEveryEpoch(Callback):
    """Judge the average weights after every epoch; comes before callbacks that record or keep.

    Args:
        check: The judge.
    """

    def __init__(self, check: Check) -> None:
        self._check = check

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Log the gain over the physical steps."""
        assert isinstance(pl_module, PretrainTask)
        for name, value in self._check(copy.deepcopy(pl_module.averaged).cpu()).items():
            pl_module.log(name, value)


def _trainer(config: PretrainConfig, folder: Path, progress: Progress) -> lightning.Trainer:
    callbacks = [
        CheckEveryEpoch(Check(config)),
        LearningCurve(folder, COLUMNS),
        ReportProgress(progress, "pretrain"),
        keep(folder, LAST),
    ]
    return trainer_of(
        folder,
        pick_device(config.device),
        callbacks,
        epochs=config.epochs,
        precision=config.precision,
        gradient_clip_val=config.gradient_clip,
    )
