"""Configuration of the pre-training of the learned solver's network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ptypinn.errors import InputError


@dataclass(frozen=True)
class PretrainConfig:
    """What the network sees while it learns, and for how long."""

    start: str = "none"
    """Weights to go on from: none (from scratch), shipped (those that come with the package), or a file of weights."""
    epochs: int = 56
    """Epochs; the learning rate falls over the last `decay_share` of them."""
    scans_per_epoch: int = 160
    """Simulated scans per epoch; no scan is ever seen twice."""
    scans_per_batch: int = 2
    """Scans per optimiser step."""
    replays: int = 3
    """Optimiser steps on states seen earlier in the epoch, after every step on fresh ones."""
    states_per_scan: int = 6
    """Rounds of the solver that are taken from every scan, each a sample of its own."""
    rounds_known: int = 16
    """Most rounds that the solver runs on scans with a known probe; how many is drawn evenly in the logarithm."""
    rounds_unknown: int = 40
    """Most rounds that it runs on scans with a guessed probe, drawn alike."""
    unknown_share: float = 0.2
    """Share of scans whose probe is a guess."""
    photons_log10: tuple[float, float] = (2.5, 8.0)
    """Photons per pattern, drawn evenly in the logarithm between these powers of ten."""
    window: int = 128
    """Edge of the canvas windows that the network trains on, pixels; a multiple of 16."""
    widths: tuple[int, int, int, int] = (32, 56, 88, 128)
    """Channels of the network at 1/2, 1/4, 1/8 and 1/16 of the canvas' resolution."""
    learning_rate: float = 2e-3
    """Peak learning rate of AdamW."""
    weight_decay: float = 1e-4
    """Weight decay of AdamW."""
    gradient_clip: float = 0.5
    """Largest norm of a gradient step; longer gradients are shortened."""
    decay_share: float = 0.7
    """Share of the epochs at the end over which the learning rate falls to zero."""
    average: float = 0.998
    """Decay of the running average of the weights, which is what is kept."""
    detail_share: float = 0.5
    """Weight of the error of fine detail beside that of the whole object."""
    checks: int = 8
    """Scans, never trained on, that judge the network after every epoch."""
    card_checks: int = 100
    """Scans, never trained on, that the figures of the model card come from."""
    precision: Literal["32", "bf16-mixed"] = "bf16-mixed"
    """Arithmetic of the network while it learns: float32, or bfloat16 in the convolutions. Solving takes float32."""
    workers: int = 1
    """Processes that simulate while the network learns; 0 simulates in between."""
    device: str = "auto"
    """cpu, cuda, or auto."""
    threads: int | None = None
    """CPU threads of the optimiser; all cores where not given."""
    seed: int = 0
    """Seed of everything random."""

    def __post_init__(self) -> None:
        for name in ("epochs", "scans_per_epoch", "scans_per_batch", "states_per_scan", "checks", "card_checks"):
            self._require(name, getattr(self, name) >= 1, "at least 1")
        self._require("start", bool(self.start), "none, shipped, or a file of weights")
        for name in ("rounds_known", "rounds_unknown"):
            self._require(name, getattr(self, name) >= self.states_per_scan, "at least --states_per_scan")
        for name in ("learning_rate", "gradient_clip"):
            self._require(name, getattr(self, name) > 0, "a positive number")
        for name in ("weight_decay", "detail_share"):
            self._require(name, getattr(self, name) >= 0, "0 or more")
        self._require("replays", self.replays >= 0, "at least 0")
        whole = self.scans_per_epoch % self.scans_per_batch == 0
        self._require("scans_per_epoch", whole, "a multiple of --scans_per_batch")
        self._require("unknown_share", 0 <= self.unknown_share <= 1, "a share between 0 and 1")
        self._require("window", self.window % 16 == 0 and 64 <= self.window <= 128, "a multiple of 16 from 64 to 128")
        rising = 0 < self.photons_log10[0] <= self.photons_log10[1] <= 12
        self._require("photons_log10", rising, "two rising powers of ten up to 12")
        self._require("widths", min(self.widths) >= 1, "four positive numbers")
        self._require("decay_share", 0 < self.decay_share <= 1, "a share above 0, at most 1")
        self._require("average", 0 <= self.average < 1, "a decay of at least 0 and below 1")
        self._require("workers", self.workers >= 0, "at least 0")

    def _require(self, name: str, condition: bool, expected: str) -> None:
        if not condition:
            raise InputError(f"--{name}", "", str(getattr(self, name)), expected)
