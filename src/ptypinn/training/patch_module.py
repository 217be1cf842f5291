"""Lightning module of the patch network: network, physics and loss of one step, with statistics for the ledger."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor

from ptypinn.config.train import TrainConfig
from ptypinn.data.datamodule import WindowBatch
from ptypinn.errors import InputError
from ptypinn.losses import find_likelihood, realspace, total_variation
from ptypinn.models.patch_predictor import PatchPredictor
from ptypinn.scale import StatsRecorder
from ptypinn.training.checkpoints import require_same_options

ENTERING = 0.5
"""Fraction of the photons that the network is given in training; the others judge it."""
WARM_UP = 20
"""Optimiser steps over which the learning rate rises."""


class PatchNetworkModule(lightning.LightningModule):
    """Network, physics and loss of one optimiser step.

    Args:
        predictor: Maps counts to patches, and patches to expected counts.
        config: Loss, optimiser and their options.
        shape: Height and width of the window canvases, pixels.
        truth: True object in the scan's coordinates, (height, width), for the real-space term; None for none.
        background: Counts of every pattern beside the diffraction, (y, x), FFT order; None for none.
    """

    def __init__(
        self,
        predictor: PatchPredictor,
        config: TrainConfig,
        shape: tuple[int, int],
        truth: Tensor | None = None,
        background: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.predictor, self.config, self.window_shape = predictor, config, shape
        self.likelihood = find_likelihood(config.loss)
        self.truth: Tensor | None
        self.background: Tensor | None
        self.register_buffer("truth", truth, persistent=False)
        self.register_buffer("background", background, persistent=False)
        self.recorder = StatsRecorder()

    def on_train_epoch_start(self) -> None:
        """Clear the statistics at the start of an epoch."""
        self.recorder.clear()

    def training_step(self, batch: WindowBatch, index: int) -> Tensor:
        """Return the loss of one batch of windows; raise `InputError` where it is not finite."""
        loss, regularisation = self._losses(batch, (self.current_epoch, index), self.recorder)
        if index == 0:
            response = self.predictor.constant_response(batch["corners"], batch["fractions"], self.window_shape)
            self.recorder.record("merge", response)
        total = loss + regularisation
        if not torch.isfinite(total):
            raise InputError(
                "training",
                f"epoch {self.current_epoch}, batch {index}",
                f"a loss of {total.item()}",
                "a finite loss; try a lower --learning-rate or --gradient-clip, or --precision 32",
            )
        self.log("train_loss", loss.detach(), on_step=False, on_epoch=True, batch_size=len(batch["counts"]))
        return total

    def validation_step(self, batch: WindowBatch, index: int) -> None:
        """Log the data loss of validation windows."""
        self.log("val_loss", self._losses(batch, (-1, index))[0], batch_size=len(batch["counts"]))

    def configure_optimizers(self) -> Any:
        """Configure AdamW with linear warm-up and cosine decay per step."""
        trainable = [parameter for parameter in self.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trainable, self.config.learning_rate, weight_decay=0.0)
        steps = max(1, int(self.trainer.estimated_stepping_batches))

        def rate(step: int) -> float:
            warm = min(1.0, (step + 1) / min(WARM_UP, steps))
            return warm * 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Record the statistics of the last epoch, and configuration and scale, which a run to resume must share."""
        flow = {stage: asdict(stats) for stage, stats in self.recorder.collect().items()}
        checkpoint.update(config=asdict(self.config), scale=self._scale(), flow=flow)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Raise `InputError` for another configuration or scan; device and threads may differ."""
        require_same_options(self.config, checkpoint["config"])
        if not np.allclose(self._scale(), checkpoint["scale"], rtol=1e-6, atol=0.0):
            raise InputError("--resume", "", "other counts or another probe", "the scan of the run to resume")

    def _scale(self) -> list[float]:
        """Return the factors from photons to network and from probe to photons, which identify the scan."""
        return [self.predictor.scaler.initial_scale, self.predictor.photons]

    def _losses(
        self, batch: WindowBatch, draw: tuple[int, int], recorder: StatsRecorder | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the loss of a batch and its regularisation; a draw, epoch and batch, always splits photons alike."""
        counts = batch["counts"]
        windows, pixels = counts.shape[0], counts.shape[-2:]
        entering, measured, fraction = split_photons(counts, (self.config.seed, *draw))
        places = batch["corners"].flatten(0, 1) + batch["fractions"]
        offsets = places.view(-1, counts.shape[2], 2)
        patches = self.predictor.patches(entering.flatten(0, 1), offsets, recorder).reshape(windows, -1, *pixels)
        with torch.autocast(self.device.type, enabled=False):
            prediction = self.predictor.predict(patches, batch["corners"], batch["fractions"], self.window_shape)
            measured, mask = measured.reshape(-1, *pixels), self.predictor.mask
            expected = prediction.counts if self.background is None else prediction.counts + self.background
            expected = expected * fraction
            loss = self.likelihood.pattern_loss(expected, measured, mask).mean()
            if recorder is not None:
                photons = torch.where(mask, prediction.counts.detach(), 0.0).sum((-2, -1))
                recorder.record("predicted photons", photons, each=True)
            extra = loss.new_zeros(())
            if self.config.total_variation:
                extra = (
                    extra
                    + self.config.total_variation * total_variation(prediction.canvases, prediction.weights).mean()
                )
            if self.config.realspace and self.truth is not None:
                truth = _cut_windows(self.truth, batch["origins"], self.window_shape)
                extra = extra + self.config.realspace * realspace(prediction.canvases, truth, prediction.weights).mean()
        return loss, extra


def split_photons(counts: Tensor, seeds: tuple[int, ...]) -> tuple[Tensor, Tensor, float]:
    """Divide photon counts at random between the network and the loss (binomial thinning of a Poisson process).

    The two parts are independent, so that noise which the network passes on never lowers the loss: it learns the
    expected pattern, not the measured one. Counts that are no integers are no photons, and serve both.

    Args:
        counts: Measured counts.
        seeds: Numbers that determine the draw.

    Returns:
        Counts for the network, scaled to the exposure; counts for the loss; and the fraction of the exposure that
        these are.
    """
    if bool((counts != counts.round()).any()):
        return counts, counts, 1.0
    number = int(np.random.SeedSequence([seed + 1 for seed in seeds]).generate_state(1)[0])
    generator = torch.Generator(counts.device).manual_seed(number)
    entering = torch.binomial(counts, torch.full_like(counts, ENTERING), generator=generator)
    return entering / ENTERING, counts - entering, 1 - ENTERING


def _cut_windows(image: Tensor, origins: Tensor, shape: tuple[int, int]) -> Tensor:
    padded = torch.nn.functional.pad(image, (0, shape[1], 0, shape[0]))
    return torch.stack([padded[y : y + shape[0], x : x + shape[1]] for y, x in origins.tolist()])
