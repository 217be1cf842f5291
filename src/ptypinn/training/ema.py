"""Exponential moving average of a network's weights during its training; the average is the result."""

from __future__ import annotations

from typing import Any

import lightning
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ptypinn.models.unrolled import UnrolledCorrection


class EMAModule(lightning.LightningModule):
    """Base of modules that train `network` and maintain its exponential moving average, `averaged`.

    Args:
        network: Network to train.
        decay: Decay of the average per optimiser step.
        settled: Optimiser steps after which averaging begins; until then the average equals the weights.
    """

    def __init__(self, network: UnrolledCorrection, decay: float, settled: int) -> None:
        super().__init__()
        self.network, self._settled = network, settled
        average: Any = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        self.average = AveragedModel(network, multi_avg_fn=average)

    @property
    def averaged(self) -> UnrolledCorrection:
        """Network with the averaged weights."""
        assert isinstance(self.average.module, UnrolledCorrection)
        return self.average.module

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Update the average."""
        if self.global_step <= self._settled:
            self.averaged.load_state_dict(self.network.state_dict())
        else:
            self.average.update_parameters(self.network)
