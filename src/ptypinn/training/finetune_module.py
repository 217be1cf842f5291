"""One optimiser step of the fine-tuning: a round of the learned solver, judged by pixels that it has not fitted."""

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
from ptypinn.solvers.unrolled.loop import State, answered
from ptypinn.solvers.unrolled.solver import Solution
from ptypinn.training.checkpoints import HERE_ONLY, refuse_other_options
from ptypinn.training.ema import AveragedTask
from ptypinn.training.self_supervision import SelfSupervision
from ptypinn.utils.progress import WatchOf

NOTED = frozenset({"config", "about", "val_start", "val_loss"})
"""What a checkpoint of this training holds besides its state."""


class FinetuneTask(AveragedTask):
    """The network, its running average, and how a scan teaches it.

    Args:
        network: Where to start.
        teacher: The scan.
        config: Optimiser and data.
        rounds: Rounds of a solution, each one optimiser step; an epoch is one solution.
        about: Figures that tell scan and start apart from others.
        watch: Called after every epoch, which is one solution.
    """

    def __init__(
        self,
        network: UnrolledCorrection,
        teacher: SelfSupervision,
        config: FinetuneConfig,
        rounds: int,
        about: list[float],
        watch: WatchOf[Solution] | None = None,
    ) -> None:
        super().__init__(network.requires_grad_(True), config.average, rounds)
        self.teacher, self.config, self.rounds = teacher, config, rounds
        self.val_start: float | None = None
        self._about, self._watch = about, watch
        self._state: State | None = None

    def on_train_start(self) -> None:
        """Validate the start, which fine-tuning has to beat."""
        if self.val_start is None:
            self.val_start = self.teacher.validate(self.averaged, self.rounds)

    def training_step(self, batch: Any, index: int) -> Tensor:
        """Deviance per judging pixel after a correction; its gradient reaches the network without the physics."""
        state = self.teacher.begin(self.current_epoch) if index == 0 else self._state
        assert state is not None
        with torch.no_grad():
            state, seen = self.teacher.physics(state)
        answer = answered(self.network, seen.maps, state.rounds)
        self._state, verdict = self.teacher.judge(state, seen, answer.detach())
        if not np.isfinite(verdict.loss):
            where, expected = f"epoch {self.current_epoch}, round {index}", "a finite loss; try a lower --learning_rate"
            raise InputError("fine-tuning", where, f"a loss of {verdict.loss}", expected)
        if self._watch is not None and index == self.rounds - 1:
            self._watch(partial(self.teacher.solution, self._state))
        self.log("train_loss", verdict.loss, on_step=False, on_epoch=True, batch_size=1)
        chained = (answer * verdict.slope).sum()
        return chained - chained.detach() + verdict.loss

    def configure_optimizers(self) -> Any:
        """Adam; the rate rises over the first epoch."""
        optimizer = torch.optim.Adam(self.network.parameters(), self.config.learning_rate)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / self.rounds))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note options, scan and start, so that only the same run is resumed, and how well it validates."""
        val_loss = float(self.trainer.callback_metrics["val_loss"])
        checkpoint.update(config=asdict(self.config), about=self._about, val_start=self.val_start, val_loss=val_loss)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of other options, another scan or another start; device and threads may differ."""
        refuse_other_options(asdict(self.config), checkpoint["config"], HERE_ONLY | {"epochs", "patience"})
        if not np.allclose(self._about, checkpoint["about"], rtol=1e-6, atol=0.0):
            raise InputError(
                "--resume", "", "another scan or other weights to start from", "those of the run to resume"
            )
        self.val_start = checkpoint["val_start"]


class ValidateEveryEpoch(Callback):
    """Judge the average weights after every epoch; comes before callbacks that record or keep."""

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Log the deviance of the patterns that nothing fits."""
        assert isinstance(pl_module, FinetuneTask)
        pl_module.log("val_loss", pl_module.teacher.validate(pl_module.averaged, pl_module.rounds))
