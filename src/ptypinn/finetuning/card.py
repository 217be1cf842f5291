"""The model card of fine-tuned weights: where they come from, on which scan they were tuned, and what they gained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ptypinn.config.finetune import FinetuneConfig
from ptypinn.data.scan import ScanData
from ptypinn.learned.self_supervised import Parts
from ptypinn.learned.weights import Weights
from ptypinn.plain import to_plain
from ptypinn.runs import versions
from ptypinn.trust.familiar import TRAITS, traits_of


@dataclass(frozen=True)
class Outcome:
    """What fine-tuning came to."""

    val_start: float
    """Deviance per pixel of the patterns that nothing fits, with the weights at the start."""
    val_best: float
    """The least of it after an epoch."""
    epochs: int
    """Complete epochs until then."""
    steps: int
    """Optimiser steps until then."""

    @property
    def gained(self) -> bool:
        """Whether the tuned weights are better than the start."""
        return self.val_best < self.val_start


def finetuned_card(
    scan: ScanData, parts: Parts, config: FinetuneConfig, rounds: int, start: Weights | None, outcome: Outcome
) -> dict[str, Any]:
    """What is known about weights, as plain values.

    Args:
        scan: The scan that taught them.
        parts: Which of its patterns did.
        config: Configuration of the fine-tuning.
        rounds: Rounds of a solution.
        start: Weights at the start; None for none.
        outcome: What it came to.
    """
    card = {} if start is None else start.card
    found = {
        "name": "learned solver of ptypinn, fine-tuned on a scan",
        "stage": "finetune",
        "kept": "tuned" if outcome.gained else "start",
        "validation": {"start": outcome.val_start, "best": outcome.val_best, "patterns": len(parts.validates)},
        "trained": {"epochs": outcome.epochs, "steps": outcome.steps, "rounds": rounds, "patterns": len(parts.fits)},
        "scan": dict(scan.provenance),
        "config": asdict(config),
        "versions": versions(),
        "start": None if start is None else start.record(),
        **{name: card[name] for name in ("not_seen", "licence") if name in card},
        "saw": widened(card.get("saw", {}), traits_of(scan)),
    }
    plain: dict[str, Any] = to_plain(found)
    return plain


def widened(saw: Mapping[str, Any], traits: Mapping[str, float]) -> dict[str, Any]:
    """What weights saw, with the ranges of a scan's traits widened to hold it.

    Args:
        saw: Of the weights at the start, under the names that model cards have for traits.
        traits: Of the scan.
    """
    found = dict(saw)
    for name, value in traits.items():
        ends = [value, *_numbers(saw.get(name, saw.get(TRAITS[name].also, [])))]
        found[name] = [min(ends), max(ends)]
    return found


def _numbers(content: Any) -> list[float]:
    if isinstance(content, Mapping):
        return [number for part in content.values() for number in _numbers(part)]
    return [float(number) for number in content] if isinstance(content, list | tuple) else []
