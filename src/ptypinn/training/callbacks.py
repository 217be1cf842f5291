"""Callbacks of the training loop, learning curve and progress, and a trainer that behaves inside other programs."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import lightning
import torch
from lightning.pytorch.callbacks import Callback

from ptypinn.training.checkpoints import AtomicCheckpointIO
from ptypinn.utils.atomic_files import write_text
from ptypinn.utils.progress import Progress

CURVE = "learning_curve.csv"
MIXED_PRECISION: dict[str, Literal["32", "bf16-mixed", "16-mixed"]] = {
    "32": "32",
    "bf16": "bf16-mixed",
    "16": "16-mixed",
}
"""The trainer's name of every precision of the configuration."""
COLUMNS = ("epoch", "train_loss", "val_loss", "learning_rate", "log_scale")


def make_trainer(
    folder: Path,
    device: torch.device,
    callbacks: Sequence[Callback],
    *,
    epochs: int,
    precision: str = "32",
    **options: Any,
) -> lightning.Trainer:
    """Make a trainer on one device that writes nothing but what its callbacks write.

    Args:
        folder: Run folder.
        device: CPU or one GPU.
        callbacks: Callbacks, in the order of their calls.
        epochs: Maximum number of epochs.
        precision: Arithmetic of the network, as the option `--precision` names it.
        options: Further arguments of `lightning.Trainer`.
    """
    return lightning.Trainer(
        max_epochs=epochs,
        precision=MIXED_PRECISION[precision],
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=[device.index or 0] if device.type == "cuda" else 1,
        callbacks=list(callbacks),
        plugins=[AtomicCheckpointIO()],
        default_root_dir=folder,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **options,
    )


class LearningCurve(Callback):
    """One line per epoch in `learning_curve.csv`; part of the checkpoint, so that a resumed run continues it.

    Args:
        folder: Folder of the file.
        columns: Columns: `epoch`, `learning_rate`, and metrics that the module logs.
    """

    def __init__(self, folder: Path, columns: Sequence[str] = COLUMNS) -> None:
        self.rows: list[dict[str, float]] = []
        self._path, self._columns = folder / CURVE, columns

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Add the epoch that ends and rewrite the file."""
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        rate = float(trainer.optimizers[0].param_groups[0]["lr"])
        self.rows.append({"epoch": float(trainer.current_epoch), "learning_rate": rate, **metrics})
        lines = [",".join(_cell(row, name) for name in self._columns) for row in self.rows]
        write_text(self._path, "\n".join([",".join(self._columns), *lines]) + "\n")

    def state_dict(self) -> dict[str, Any]:
        """Return the lines so far."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the lines of an earlier part of the run."""
        self.rows = list(state_dict["rows"])


class ReportProgress(Callback):
    """Report every step to a `Progress`.

    Args:
        progress: Called as `progress(stage, steps_done, steps, loss=...)`.
        stage: Name of the stage.
    """

    def __init__(self, progress: Progress, stage: str = "train") -> None:
        self._progress, self._stage = progress, stage

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Report the step and the latest losses."""
        metrics = {"loss": float(outputs["loss"])}
        if "val_loss" in trainer.callback_metrics:
            metrics["val_loss"] = float(trainer.callback_metrics["val_loss"])
        self._progress(self._stage, trainer.global_step, int(trainer.estimated_stepping_batches), **metrics)


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence the trainer's advice and banners; errors still come out."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "lightning")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextlib.contextmanager
def restore_process_state() -> Iterator[None]:
    """Restore what the trainer changes in the process: deterministic algorithms, and the handler of Ctrl-C.

    The trainer exits the program at Ctrl-C, and leaves Ctrl-C ignored.

    Raises:
        KeyboardInterrupt: Where the trainer was interrupted.
    """
    strict, handler = torch.are_deterministic_algorithms_enabled(), signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit:
        raise KeyboardInterrupt from None
    finally:
        torch.use_deterministic_algorithms(strict)
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)


def _cell(row: dict[str, float], name: str) -> str:
    value = row.get(name)
    return "" if value is None else f"{value:.9g}" if name != "epoch" else f"{value:.0f}"
