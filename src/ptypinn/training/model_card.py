"""The model card that travels in the header of pre-trained weights: what they saw, what not, and how well they do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ptypinn.config.finetune import FinetuneConfig
from ptypinn.config.pretrain import PretrainConfig
from ptypinn.data.scan import ScanData
from ptypinn.models.model_file import Weights
from ptypinn.runs.folder import versions
from ptypinn.training import scenarios
from ptypinn.training.checkpoints import HERE_ONLY
from ptypinn.training.self_supervision import Parts
from ptypinn.uncertainty.training_domain import TRAITS, traits_of
from ptypinn.utils.serialise import to_plain

LICENCE = "BSD-3-Clause"
NOT_SEEN = (
    "patterns with edges outside 48 to 96 pixels: nothing in the network depends on the edge, but none were tried",
    "positions that are recorded wrongly",
    "samples thicker than the depth of focus (several slices)",
    "near-field patterns",
    "background, readout noise, saturated pixels, beam stops and module gaps; only dead pixels were seen",
    "fly scans, drift of the beam, and probes of more than two modes",
    "probe guesses of another kind, or off by more than a quarter",
)


@dataclass(frozen=True)
class Training:
    """How far a training has come."""

    epochs: int
    """Complete epochs."""
    steps: int
    """Optimiser steps."""


def pretrained_card(
    config: PretrainConfig, done: Training, figures: Mapping[str, Any], start: Weights | None = None
) -> dict[str, Any]:
    """What is known about weights, as plain values.

    Args:
        config: Configuration of their training.
        done: How far it has come.
        figures: Measured quality, as `check.card_figures` gives it.
        start: Weights that it went on from.
    """
    card = {
        "name": "learned solver of ptypinn, pre-trained on simulations",
        "stage": "pretrain",
        "licence": LICENCE,
        "trained": {
            "epochs": done.epochs,
            "of_epochs": config.epochs,
            "steps": done.steps,
            "scans": done.epochs * config.scans_per_epoch,
            "seed": config.seed,
        },
        "saw": scope(config),
        "not_seen": NOT_SEEN,
        "held_out": {"photographs": scenarios.HELD_OUT_IMAGES},
        "figures": figures,
        "config": asdict(config) | {"start": Path(config.start).name},
        "versions": versions(),
        "start": None if start is None else start.record(),
        "retrain": commands_of(config, start),
    }
    plain: dict[str, Any] = to_plain(card)
    return plain


def scope(config: PretrainConfig) -> dict[str, Any]:
    """What scans the network saw: ranges as [least, most], kinds with their share."""
    phase = scenarios.PHASE_RAD[1]
    overlap = {
        "known_probe": scenarios.OVERLAP,
        "guessed_probe": (scenarios.LEAST_OVERLAP_UNKNOWN, scenarios.OVERLAP[1]),
    }
    return {
        "photons_per_pattern": [10**power for power in config.photons_log10],
        "overlap": overlap,
        "most_patterns": scenarios.MOST_PATTERNS,
        "pattern_edge_px": sorted(scenarios.SIZES),
        "canvas_edge_px": sorted(scenarios.SIZES.values()),
        "window_px": config.window,
        "samples": scenarios.KINDS,
        "feature_px": scenarios.SCALES_PX,
        "photographs": scenarios.IMAGES,
        "amplitude": [scenarios.AMPLITUDE[0], 1.0],
        "phase_span_rad": [0.0, phase],
        "probes": scenarios.PROBES,
        "probe_diameter_share": scenarios.DIAMETER_SHARE,
        "probe_curvature_rad": [-scenarios.CURVATURE_RAD, scenarios.CURVATURE_RAD],
        "zone_plate": {
            "pupil_radius": scenarios.PUPIL,
            "central_stop": scenarios.STOP,
            "defocus_waves": scenarios.DEFOCUS_WAVES,
            "astigmatism_waves": scenarios.ASTIGMATISM_WAVES,
        },
        "probe_modes": [1, len(scenarios.MODES)],
        "guessed_probe_share": config.unknown_share,
        "guess_off_by": scenarios.GUESS_OFF,
        "rounds": {"known_probe": config.rounds_known, "guessed_probe": config.rounds_unknown},
        "positions": scenarios.SCANS,
        "dead_pixels": [0, scenarios.MOST_DEAD_PIXELS],
    }


def commands_of(config: PretrainConfig, start: Weights | None) -> list[str]:
    """The commands that repeat a training, and before it those of the weights that it went on from."""
    if start is None:
        return [command_of(config, _folder(0))]
    known = start.card.get("retrain", [])
    before = [known] if isinstance(known, str) else list(known)
    here = command_of(config, _folder(len(before)))
    return [*before, f"{here} --start {_folder(len(before) - 1)}/weights.safetensors"]


def _folder(place: int) -> str:
    """Folder of a command by its place among those of a card."""
    return "pretrained" if place <= 0 else "further" if place == 1 else f"further_{place}"


def command_of(config: PretrainConfig, folder: str) -> str:
    """The command that repeats a training into a folder."""
    words = [f"ptypinn pretrain --output-dir {folder}"]
    for field in fields(config):
        value = getattr(config, field.name)
        if value != field.default and field.name not in HERE_ONLY | {"start"}:
            words.append(f"--{field.name} {_word(value)}")
    return " ".join(words)


def _word(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


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
