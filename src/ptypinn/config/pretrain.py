"""Configuration of the pre-training of the unrolled solver's network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ptypinn.config.shared import (
    DeviceConfig,
    PrecisionConfig,
    SeedConfig,
    ThreadsConfig,
    require,
    require_min,
    require_positive,
)


@dataclass(frozen=True)
class PretrainConfig(SeedConfig, ThreadsConfig, DeviceConfig, PrecisionConfig):
    """Options of pre-training: initial weights, simulated scans and optimiser."""

    init_weights: str = "none"
    """Initial weights: none (random ones), shipped (those of the package), or a file of weights."""
    epochs: int = 56
    """Number of epochs; the learning rate falls over the last `lr_decay_fraction` of them."""
    scans_per_epoch: int = 160
    """Simulated scans per epoch, all different."""
    scans_per_batch: int = 2
    """Scans per optimiser step."""
    replay_steps: int = 3
    """Optimiser steps on earlier states of the epoch after every step on new ones."""
    states_per_scan: int = 6
    """Iterates of the solver that are taken from every scan, each a sample of its own."""
    max_rounds_known_probe: int = 16
    """Maximum number of rounds of the solver on scans with a known probe; the number is drawn log-uniformly."""
    max_rounds_guessed_probe: int = 40
    """Maximum number of rounds on scans with a guessed probe, drawn alike."""
    guessed_probe_fraction: float = 0.2
    """Fraction of the scans whose probe is a guess."""
    photons_log10: tuple[float, float] = (2.5, 8.0)
    """Photons per pattern, drawn log-uniformly between these powers of ten."""
    window_px: int = 128
    """Edge of the canvas windows that the network trains on, pixels; a multiple of 16."""
    widths: tuple[int, int, int, int] = (32, 56, 88, 128)
    """Channels of the network at 1/2, 1/4, 1/8 and 1/16 of the canvas' resolution."""
    learning_rate: float = 2e-3
    """Peak learning rate of AdamW."""
    weight_decay: float = 1e-4
    """Weight decay of AdamW."""
    gradient_clip: float = 0.5
    """Maximum norm of a gradient step; longer gradients are shortened."""
    lr_decay_fraction: float = 0.7
    """Fraction of the epochs at the end over which the learning rate falls to zero."""
    ema_decay: float = 0.998
    """Decay of the exponential moving average of the weights, which is written."""
    detail_weight: float = 0.5
    """Weight of the error of fine detail beside that of the whole object."""
    val_scans: int = 8
    """Validation scans, never trained on, that score the network after every epoch."""
    card_scans: int = 100
    """Scans, never trained on, that the metrics of the model card are measured on."""
    precision: Literal["32", "bf16", "16"] = "bf16"
    """Arithmetic of the network during training: float32 or bfloat16. The solver runs in float32."""
    workers: int = 1
    """Processes that simulate during training; 0 simulates in the training process."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "init_weights", bool(self.init_weights), "none, shipped, or a file of weights")
        counts = ("epochs", "scans_per_epoch", "scans_per_batch", "states_per_scan", "val_scans", "card_scans")
        require_min(self, 1, *counts)
        require_min(self, 0, "replay_steps", "workers", "weight_decay", "detail_weight")
        for name in ("max_rounds_known_probe", "max_rounds_guessed_probe"):
            require(self, name, getattr(self, name) >= self.states_per_scan, "at least --states-per-scan")
        require_positive(self, "learning_rate", "gradient_clip")
        whole = self.scans_per_epoch % self.scans_per_batch == 0
        require(self, "scans_per_epoch", whole, "a multiple of --scans-per-batch")
        require(self, "guessed_probe_fraction", 0 <= self.guessed_probe_fraction <= 1, "a fraction between 0 and 1")
        size = self.window_px
        require(self, "window_px", size % 16 == 0 and 64 <= size <= 128, "a multiple of 16 from 64 to 128")
        rising = 0 < self.photons_log10[0] <= self.photons_log10[1] <= 12
        require(self, "photons_log10", rising, "two rising powers of ten up to 12")
        require(self, "widths", min(self.widths) >= 1, "four positive numbers")
        require(self, "lr_decay_fraction", 0 < self.lr_decay_fraction <= 1, "a fraction above 0, at most 1")
        require(self, "ema_decay", 0 <= self.ema_decay < 1, "a decay of at least 0 and below 1")
        require(self, "precision", self.precision != "16", "32 or bf16")
