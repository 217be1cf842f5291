"""Configuration of fine-tuning the learned solver's network on a scan of one's own."""

from __future__ import annotations

from dataclasses import dataclass

from ptypinn.errors import InputError


@dataclass(frozen=True)
class FinetuneConfig:
    """Where fine-tuning starts, on what, and for how long."""

    start: str = "shipped"
    """Weights to start from: shipped (those that come with the package), none (from scratch), or a file of weights."""
    rounds: int | None = None
    """Rounds of the learned solver to learn for; by default as many as `reconstruct` takes with a known probe."""
    refine_probe: bool = True
    """Find the probe first, by the network as it is; its power is held at the known photons per pattern."""
    probe_modes: int | None = None
    """Incoherent probe modes to solve for; as many as the probe has by default."""
    loss: str = "poisson"
    """Noise model of the counts: poisson (their likelihood) or amplitude (variance-stabilised), or another one that is
    registered in `ptypinn.losses`."""
    patterns: int = 1000
    """Most patterns to learn from: those nearest to the middle of the scan; bounds time and memory."""
    val_fraction: float = 0.1
    """Share of the patterns set aside to validate on, drawn at random."""
    period: int = 10
    """One detector pixel in so many judges a correction and takes no part in the physical passes before it."""
    epochs: int = 30
    """Most solutions of the scan to learn from, each with other pixels to judge by."""
    patience: int = 8
    """Stop after so many epochs without a better validation loss."""
    learning_rate: float = 3e-4
    """Learning rate of Adam; it warms up over the first epoch."""
    average: float = 0.95
    """Decay of the running average of the weights, which is what is validated and kept."""
    widths: tuple[int, int, int, int] = (32, 56, 88, 128)
    """Channels of a network that starts from scratch, at 1/2, 1/4, 1/8 and 1/16 of the canvas' resolution."""
    device: str = "auto"
    """cpu, cuda, or auto."""
    threads: int | None = None
    """CPU threads; all cores where not given."""
    seed: int = 0
    """Seed of everything random."""

    def __post_init__(self) -> None:
        for name in ("epochs", "patience"):
            self._require(name, getattr(self, name) >= 1, "at least 1")
        for name in ("rounds", "probe_modes"):
            self._require(name, getattr(self, name) is None or getattr(self, name) >= 1, "at least 1")
        self._require("start", bool(self.start), "shipped, none, or a file of weights")
        self._require("patterns", self.patterns >= 8, "at least 8")
        self._require("val_fraction", 0 < self.val_fraction <= 0.5, "a share above 0, at most 0.5")
        self._require("period", self.period >= 2 and self.period % 3 and self.period % 7, "at least 2, of no 3 or 7")
        self._require("learning_rate", self.learning_rate > 0, "a positive number")
        self._require("average", 0 <= self.average < 1, "a decay of at least 0 and below 1")
        self._require("widths", min(self.widths) >= 1, "four positive numbers")

    def _require(self, name: str, condition: object, expected: str) -> None:
        if not condition:
            raise InputError(f"--{name}", "", str(getattr(self, name)), expected)
