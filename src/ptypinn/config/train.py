"""Configuration of network training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ptypinn.config.shared import (
    DeviceConfig,
    GroupingConfig,
    LossConfig,
    PrecisionConfig,
    SeedConfig,
    ThreadsConfig,
    require,
    require_fraction,
    require_min,
    require_positive,
)


@dataclass(frozen=True)
class TrainConfig(SeedConfig, ThreadsConfig, DeviceConfig, PrecisionConfig, LossConfig, GroupingConfig):
    """Options of training: network, part of the scan, optimiser.

    >>> TrainConfig(gridsize=2).groups_per_window
    3
    """

    model: str = "cnn"
    """Network: cnn, or one that another package provides under the entry point ptypinn.models."""
    model_options: dict[str, Any] = field(default_factory=dict)
    """Further options of the network by name, as its constructor declares them, such as {"depth": 3}."""
    width: int = 16
    """Channels of the network's finest level, a multiple of 8."""
    gridsize: int = 1
    """The network takes groups of gridsize**2 neighbouring patterns at a time."""
    n_groups: int | None = None
    """Groups to train on; one per training pattern by default."""
    cluster_size: int | None = None
    """Neighbouring groups merged on one canvas inside the loss; enough for 12 patterns by default."""
    epochs: int = 20
    """Maximum number of passes over the groups."""
    batch_size: int = 1
    """Windows of cluster_size groups per optimiser step; many small steps converge fastest on a single scan."""
    learning_rate: float = 2e-3
    """Peak learning rate of AdamW; it warms up over the first steps and falls to zero as a cosine."""
    gradient_clip: float = 1.0
    """Maximum norm of a gradient step; longer gradients are shortened."""
    total_variation: float = 0.0
    """Weight of the total variation of the merged object; 0 for none."""
    realspace: float = 0.0
    """Weight of the error against the true object, for simulated scans; 0 for none."""
    trainable_log_scale: bool = False
    """Train the intensity scale: it absorbs an error of the stated photons per pattern."""
    train_probe: bool = False
    """Train the probe with the network, its power held at the calibrated photons per pattern."""
    val_fraction: float = 0.05
    """Fraction of the training patterns set aside for validation, drawn at random."""
    patience: int = 20
    """Stop after this many epochs without a better validation loss."""
    split_axis: Literal["none", "y", "x"] = "none"
    """Hold out one part of the scan, cut across this axis; it takes no part in training or validation."""
    split_fraction: float = 0.5
    """Fraction of the patterns that train, those with the smallest coordinate along --split-axis."""
    split_gap_px: float = 0.0
    """Patterns closer than this to the cut do not train, pixels: keeps their probes off the held-out part."""

    @property
    def groups_per_window(self) -> int:
        """Groups merged on one canvas."""
        return max(1, round(12 / self.gridsize**2)) if self.cluster_size is None else self.cluster_size

    def __post_init__(self) -> None:
        super().__post_init__()
        require_min(self, 1, "gridsize", "epochs", "batch_size", "patience", "n_groups", "cluster_size")
        require_positive(self, "learning_rate", "gradient_clip")
        require_min(self, 0, "total_variation", "realspace", "split_gap_px")
        require(self, "width", self.width >= 8 and self.width % 8 == 0, "a multiple of 8")
        require(self, "val_fraction", 0 <= self.val_fraction < 1, "a fraction from 0 to below 1")
        require_fraction(self, "split_fraction")

    def unread(self) -> Mapping[str, str]:
        """Return the fields that nothing reads with this gridsize and this split."""
        groups = {} if self.gridsize > 1 else {"neighbour_count": "--gridsize 2"}
        split = dict.fromkeys(("split_fraction", "split_gap_px"), "--split-axis") if self.split_axis == "none" else {}
        return {**super().unread(), **groups, **split}
