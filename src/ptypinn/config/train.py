"""Configuration of network training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ptypinn.errors import InputError


@dataclass(frozen=True)
class TrainConfig:
    """Which network is trained, on which part of the scan, and how."""

    model: str = "cnn"
    """Network architecture: any that is registered, such as cnn."""
    inputs: Literal["projection", "amplitude"] = "projection"
    """What the network sees of a pattern: its amplitude alone, or also the probe's estimate of the patch from it."""
    width: int = 16
    """Channels of the network's finest level, a multiple of 16."""
    gridsize: int = 1
    """The network sees groups of gridsize**2 neighbouring patterns at a time."""
    neighbor_count: int = 7
    """Members of a group are drawn from so many nearest neighbours of its leading pattern."""
    n_groups: int | None = None
    """Groups to train on; one per training pattern by default."""
    cluster_size: int | None = None
    """Neighbouring groups merged on one canvas inside the loss; enough for 12 patterns by default."""
    epochs: int = 20
    """Most passes over the groups."""
    batch_size: int = 1
    """Windows of cluster_size groups per optimiser step; many small steps learn a single scan fastest."""
    learning_rate: float = 2e-3
    """Peak learning rate of AdamW; it warms up over the first steps and falls to zero as a cosine."""
    gradient_clip: float = 1.0
    """Largest norm of a gradient step; longer gradients are shortened."""
    loss: str = "poisson"
    """Noise model of the counts: poisson (their likelihood) or amplitude (variance-stabilised), or another one that is
    registered in `ptypinn.losses`."""
    total_variation: float = 0.0
    """Weight of the total variation of the merged object; 0 for none."""
    realspace: float = 0.0
    """Weight of the error against the true object, for simulated scans; 0 for none."""
    trainable_log_scale: bool = False
    """Learn the intensity scale: it absorbs an error of the stated photons per pattern."""
    train_probe: bool = False
    """Learn the probe with the network, its power held at the known photons per pattern."""
    val_fraction: float = 0.05
    """Share of training patterns set aside to validate on, drawn at random."""
    patience: int = 20
    """Stop after so many epochs without a better validation loss."""
    split_axis: Literal["none", "y", "x"] = "none"
    """Hold out one part of the scan, cut across this axis; it takes no part in training or validation."""
    split_fraction: float = 0.5
    """Share of the patterns that train, those of the smallest coordinate along split_axis."""
    split_gap_px: float = 0.0
    """Patterns closer than this to the cut do not train, pixels: keeps their probes off the part held out."""
    precision: Literal["32", "bf16-mixed", "16-mixed"] = "32"
    """Arithmetic of the network; physics and losses are always float32."""
    device: str = "auto"
    """cpu, cuda, or auto."""
    threads: int | None = None
    """CPU threads; all cores where not given."""
    seed: int = 0
    """Seed of everything random."""

    @property
    def groups_per_window(self) -> int:
        """Groups merged on one canvas."""
        return max(1, round(12 / self.gridsize**2)) if self.cluster_size is None else self.cluster_size

    def __post_init__(self) -> None:
        for name in ("gridsize", "neighbor_count", "epochs", "batch_size", "patience"):
            self._require(name, getattr(self, name) >= 1, "at least 1")
        for name in ("n_groups", "cluster_size"):
            self._require(name, getattr(self, name) is None or getattr(self, name) >= 1, "at least 1")
        for name in ("learning_rate", "gradient_clip"):
            self._require(name, getattr(self, name) > 0, "a positive number")
        for name in ("total_variation", "realspace", "split_gap_px"):
            self._require(name, getattr(self, name) >= 0, "0 or more")
        self._require("width", self.width >= 16 and self.width % 16 == 0, "a multiple of 16")
        self._require("val_fraction", 0 <= self.val_fraction < 1, "a share from 0 to below 1")
        self._require("split_fraction", 0 < self.split_fraction < 1, "a share between 0 and 1")

    def _require(self, name: str, condition: bool, expected: str) -> None:
        if not condition:
            raise InputError(f"--{name}", "", str(getattr(self, name)), expected)
