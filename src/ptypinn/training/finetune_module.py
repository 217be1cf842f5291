"""Lightning module of the fine-tuning: one step is a round of the unrolled solver, scored on held-out pixels."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from ptypinn.config.finetune import FinetuneConfig
from ptypinn.errors import InputError
from ptypinn.models.unrolled import UnrolledCorrection
from ptypinn.solvers.unrolled.loop import Iterate, apply_network
from ptypinn.solvers.unrolled.solver import UnrolledResult
from ptypinn.training.checkpoints import RUNTIME_OPTIONS, require_same_options
from ptypinn.training.ema import EMAModule
from ptypinn.training.self_supervision import SelfSupervision
from ptypinn.utils.progress import IterateCallback

CHECKPOINT_KEYS = frozenset({"config", "about", "val_start", "val_loss"})
"""Entries of a checkpoint of this training besides its state."""


class FinetuneModule(EMAModule):
    """Network, its moving average, and the self-supervised loss of a scan.

    Args:
        network: Initial network.
        supervision: Self-supervised loss of the scan.
        config: Optimiser and data.
        rounds: Rounds of a solution, each one optimiser step; an epoch is one solution.
        about: Numbers that identify the scan and the initial weights.
        watch: Called after every epoch, which is one solution.
    """

    def __init__(
        self,
        network: UnrolledCorrection,
        supervision: SelfSupervision,
        config: FinetuneConfig,
        rounds: int,
        about: list[float],
        watch: IterateCallback[UnrolledResult] | None = None,
    ) -> None:
        super().__init__(network.requires_grad_(True), config.ema_decay, rounds)
        self.supervision, self.config, self.rounds = supervision, config, rounds
        self.val_start: float | None = None
        self._about, self._watch = about, watch
        self._state: Iterate | None = None

    def on_train_start(self) -> None:
        """Validate the initial weights, which fine-tuning has to improve on."""
        if self.val_start is None:
            self.val_start = self.supervision.validate(self.averaged, self.rounds)

    def training_step(self, batch: Any, index: int) -> Tensor:
        """Return the deviance per held-out pixel after a correction; its gradient bypasses the physics."""
        state = self.supervision.begin(self.current_epoch) if index == 0 else self._state
        assert state is not None
        with torch.no_grad():
            state, features = self.supervision.physics(state)
        correction = apply_network(self.network, features.maps, state.rounds)
        self._state, score = self.supervision.score_correction(state, features, correction.detach())
        if not np.isfinite(score.loss):
            where, expected = f"epoch {self.current_epoch}, round {index}", "a finite loss; try a lower --learning-rate"
            raise InputError("fine-tuning", where, f"a loss of {score.loss}", expected)
        if self._watch is not None and index == self.rounds - 1:
            self._watch(partial(self.supervision.solution, self._state))
        self.log("train_loss", score.loss, on_step=False, on_epoch=True, batch_size=1)
        chained = (correction * score.gradient).sum()
        return chained - chained.detach() + score.loss

    def configure_optimizers(self) -> Any:
        """Configure Adam with a learning rate that rises over the first epoch."""
        optimizer = torch.optim.Adam(self.network.parameters(), self.config.learning_rate)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / self.rounds))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Record options, scan and initial weights, so that only the same run is resumed, and the validation loss."""
        val_loss = float(self.trainer.callback_metrics["val_loss"])
        checkpoint.update(config=asdict(self.config), about=self._about, val_start=self.val_start, val_loss=val_loss)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Raise `InputError` for other options, scan or initial weights; device and threads may differ."""
        require_same_options(self.config, checkpoint["config"], RUNTIME_OPTIONS | {"epochs", "patience"})
        if not np.allclose(self._about, checkpoint["about"], rtol=1e-6, atol=0.0):
            raise InputError(
                "--resume", "", "another scan or other weights to start from", "those of the run to resume"
            )
        self.val_start = checkpoint["val_start"]


class ValidateEveryEpoch(Callback):
    """Validate the averaged weights after every epoch; place it before callbacks that record or write."""

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Log the deviance of the validation patterns."""
        assert isinstance(pl_module, FinetuneModule)
        pl_module.log("val_loss", pl_module.supervision.validate(pl_module.averaged, pl_module.rounds))
