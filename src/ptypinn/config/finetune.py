"""Configuration of fine-tuning the network of the unrolled solver on one scan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ptypinn.config.shared import (
    DeviceConfig,
    LossConfig,
    ProbeConfig,
    SeedConfig,
    ThreadsConfig,
    require,
    require_min,
    require_positive,
)


@dataclass(frozen=True)
class FinetuneConfig(SeedConfig, ThreadsConfig, DeviceConfig, LossConfig, ProbeConfig):
    """Options of fine-tuning: initial weights, data and optimiser."""

    init_weights: str = "shipped"
    """Initial weights: shipped (those of the package), none (random ones), or a file of weights."""
    rounds: int | None = None
    """Rounds of the unrolled solver to train for; by default as many as `reconstruct` takes with a fixed probe."""
    refine_probe: bool = True
    """Solve for the probe first, with the initial weights; its power is held at the calibrated photons per pattern."""
    patterns: int = 1000
    """Maximum number of patterns to train on: those nearest to the middle of the scan; bounds time and memory."""
    val_fraction: float = 0.1
    """Fraction of the patterns set aside for validation, drawn at random."""
    held_out_period: int = 10
    """One detector pixel in this many is held out: it scores a correction and takes no part in the physical
    passes before it."""
    epochs: int = 30
    """Maximum number of epochs, each a solution of the scan with other held-out pixels."""
    patience: int = 8
    """Stop after this many epochs without a better validation loss."""
    learning_rate: float = 3e-4
    """Learning rate of Adam; it warms up over the first epoch."""
    ema_decay: float = 0.95
    """Decay of the exponential moving average of the weights, which is validated and written."""
    widths: tuple[int, int, int, int] = (32, 56, 88, 128)
    """Channels of a network with random initial weights, at 1/2, 1/4, 1/8 and 1/16 of the canvas' resolution."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "init_weights", bool(self.init_weights), "shipped, none, or a file of weights")
        require_min(self, 1, "epochs", "patience", "rounds")
        require_min(self, 8, "patterns")
        require(self, "val_fraction", 0 < self.val_fraction <= 0.5, "a fraction above 0, at most 0.5")
        period = self.held_out_period
        require(self, "held_out_period", period >= 2 and period % 3 and period % 7, "at least 2, no multiple of 3 or 7")
        require_positive(self, "learning_rate")
        require(self, "ema_decay", 0 <= self.ema_decay < 1, "a decay of at least 0 and below 1")
        require(self, "widths", min(self.widths) >= 1, "four positive numbers")

    def unread(self) -> Mapping[str, str]:
        """Return the fields that nothing reads with these initial weights and this probe."""
        widths = {} if self.init_weights == "none" else {"widths": "--init-weights none"}
        modes = {} if self.refine_probe else {"probe_modes": "--refine-probe"}
        return {**super().unread(), **widths, **modes}
