"""Lightning module of the pre-training: the loss of a correction, optimiser and moving average."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from ptypinn.config.pretrain import PretrainConfig
from ptypinn.errors import InputError
from ptypinn.models.unrolled import CHANNELS, UnrolledCorrection, band_limited
from ptypinn.training.checkpoints import RUNTIME_OPTIONS, require_same_options
from ptypinn.training.ema import EMAModule
from ptypinn.training.solver_states import StateBatch

WARM_UP = 100
"""Optimiser steps over which the learning rate rises."""
DETAIL_PX = 8
"""Structure finer than so many pixels counts as detail."""
FLOOR = 1e-3
"""Relative error below which a further gain counts less."""


def compute_gain(
    change: Float[Tensor, "state 2 height width"], batch: StateBatch, detail_weight: float
) -> Float[Tensor, " state"]:
    """Compute the error after the correction over the error before, of the whole object and of its detail.

    Args:
        change: Correction of the objects, real and imaginary part, transmission.
        batch: The states.
        detail_weight: Weight of the detail beside that of the whole.

    Returns:
        0 for a perfect correction, up to `FLOOR`; 1 for none.
    """
    left = batch["missing"] - change
    floor = FLOOR**2 * batch["power"]
    whole = _ratio(left, batch["missing"], batch["weight"], floor)
    fine = _ratio(_detail(left), _detail(batch["missing"]), batch["weight"], floor)
    return (whole + detail_weight * fine) / (1 + detail_weight)


def _ratio(after: Tensor, before: Tensor, weight: Tensor, floor: Tensor) -> Tensor:
    total = weight.sum((1, 2, 3)).clamp(min=1.0)
    errors = [(weight * image.square()).sum((1, 2, 3)) / total + floor for image in (after, before)]
    return torch.sqrt(errors[0] / errors[1])


def _detail(image: Tensor) -> Tensor:
    smooth = functional.avg_pool2d(image, DETAIL_PX)
    return image - functional.interpolate(smooth, scale_factor=DETAIL_PX, mode="bilinear", align_corners=False)


class PretrainModule(EMAModule):
    """Network, its moving average, and the supervised loss on solver states.

    Args:
        config: Network, loss and optimiser.
        steps: Optimiser steps of the whole training.
        start: Network with the initial weights; None for random ones.
    """

    def __init__(self, config: PretrainConfig, steps: int, start: UnrolledCorrection | None = None) -> None:
        network = UnrolledCorrection(CHANNELS, widths=config.widths)
        if start is not None:
            network.load_state_dict(start.state_dict())
        super().__init__(network, config.ema_decay, WARM_UP)
        self.config, self.steps = config, steps

    def on_train_epoch_start(self) -> None:
        """Pass the averaged weights to the simulation of this epoch's states."""
        self.trainer.datamodule.update_weights(self.averaged)  # type: ignore[attr-defined]  # ours

    def forward(self, batch: StateBatch) -> Float[Tensor, "state 2 height width"]:
        """Return the correction of the network as the solver applies it."""
        return band_limited(self.network(batch["maps"]).float() * batch["unit"])

    def training_step(self, batch: StateBatch, index: int) -> Tensor:
        """Return the mean relative error after the correction."""
        gain = compute_gain(self(batch), batch, self.config.detail_weight)
        loss = torch.where(gain < 1, gain, 1 + torch.log(gain)).mean()  # a diverged case does not outweigh the others
        if not torch.isfinite(loss):
            where, expected = f"epoch {self.current_epoch}, batch {index}", "a finite loss; try a lower --learning-rate"
            raise InputError("pretraining", where, f"a loss of {loss.item()}", expected)
        self.log("train_loss", loss.detach(), on_step=False, on_epoch=True, batch_size=len(batch["maps"]))
        return loss

    def configure_optimizers(self) -> Any:
        """Configure AdamW; the learning rate rises, stays, and falls to zero at the end."""
        config = self.config
        optimizer = torch.optim.AdamW(self.network.parameters(), config.learning_rate, weight_decay=config.weight_decay)
        falling = max(1, round(config.lr_decay_fraction * self.steps))

        def rate(step: int) -> float:
            return min((step + 1) / WARM_UP, 1.0, max(0.0, (self.steps - step) / falling) ** 1.5 + 1e-3)

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Record the configuration, so that only the same training is resumed."""
        checkpoint["config"] = asdict(self.config)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Raise `InputError` for another configuration; more epochs, device, threads and workers may differ."""
        require_same_options(self.config, checkpoint["config"], RUNTIME_OPTIONS | {"epochs", "card_scans"})
        done = int(checkpoint["epoch"]) + 1
        if self.config.epochs < done:
            raise InputError("--epochs", "", str(self.config.epochs), f"at least the {done} that are done")
