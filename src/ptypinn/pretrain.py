"""The `pretrain` stage: teach the learned solver's network on simulations, so that users need not train anything."""

from __future__ import annotations

from pathlib import Path

import lightning
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from ptypinn.callbacks import LearningCurve, ReportProgress, process_restored, quiet_lightning
from ptypinn.config.pretrain import PretrainConfig
from ptypinn.device import cpu_threads, pick_device
from ptypinn.pretraining.check import Check
from ptypinn.pretraining.data import StateDataModule
from ptypinn.pretraining.task import PretrainTask
from ptypinn.progress import Progress, silent

CHECKPOINTS, LAST = "checkpoints", "last.ckpt"


class CheckEveryEpoch(Callback):
    """Judge the average weights after every epoch; comes before callbacks that record or keep."""

    def __init__(self, check: Check) -> None:
        self._check = check

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Log the gain over the physical steps."""
        for name, value in self._check(pl_module.average.module).items():  # type: ignore[union-attr]  # ours
            pl_module.log(name, value)


def pretrain(
    config: PretrainConfig | None = None,
    *,
    output_dir: str | Path,
    progress: Progress | None = None,
    resume: bool = False,
) -> Path:
    config, folder = config or PretrainConfig(), Path(output_dir)
    checkpoint = folder / CHECKPOINTS / LAST if resume else None
    lightning.seed_everything(config.seed, verbose=False)
    steps = config.epochs * (config.scans_per_epoch // config.scans_per_batch)
    task, data = PretrainTask(config, steps), StateDataModule(config)
    device = pick_device(config.device)
    with quiet_lightning(), process_restored(), cpu_threads(config.threads):
        trainer = lightning.Trainer(
            max_epochs=config.epochs,
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=1,
            gradient_clip_val=0.5,
            callbacks=[
                CheckEveryEpoch(Check(config)),
                LearningCurve(folder),
                ReportProgress(progress or silent),
                ModelCheckpoint(
                    folder / CHECKPOINTS, filename="last", save_on_train_epoch_end=True, enable_version_counter=False
                ),
            ],
            default_root_dir=folder,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        trainer.fit(task, data, ckpt_path=checkpoint, weights_only=True)
    return folder / CHECKPOINTS / LAST
