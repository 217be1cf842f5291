"""Model cards in the header of weights: training domain, limits and measured quality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ptypinn.config.finetune import FinetuneConfig
from ptypinn.config.pretrain import PretrainConfig
from ptypinn.config.shared import format_option
from ptypinn.data.scan import ScanData
from ptypinn.models.model_file import Weights
from ptypinn.runs.folder import package_versions
from ptypinn.training import scenarios
from ptypinn.training.checkpoints import RUNTIME_OPTIONS
from ptypinn.training.self_supervision import PatternSplit
from ptypinn.uncertainty.training_domain import TRAITS, scan_traits
from ptypinn.utils.plain_values import to_plain

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
class TrainingProgress:
    """Progress of a training."""

    epochs: int
    """Complete epochs."""
    steps: int
    """Optimiser steps."""


def make_pretrained_card(
    config: PretrainConfig, done: TrainingProgress, figures: Mapping[str, Any], start: Weights | None = None
) -> dict[str, Any]:
    """Make the card of pre-trained weights, as plain values.

    Args:
        config: Configuration of their training.
        done: Progress of the training.
        figures: Measured quality, from `validation.measure_card_scans`.
        start: Initial weights; None for random ones.
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
        "saw": describe_training_domain(config),
        "not_seen": NOT_SEEN,
        "held_out": {"photographs": scenarios.HELD_OUT_IMAGES},
        "figures": figures,
        "config": asdict(config) | {"init_weights": Path(config.init_weights).name},
        "versions": package_versions(),
        "start": None if start is None else start.record(),
        "retrain": retrain_commands(config, start),
    }
    plain: dict[str, Any] = to_plain(card)
    return plain


def describe_training_domain(config: PretrainConfig) -> dict[str, Any]:
    """Describe the scans of the training: ranges as [minimum, maximum], kinds with their fractions."""
    phase = scenarios.PHASE_RAD[1]
    overlap = {
        "known_probe": scenarios.OVERLAPS,
        "guessed_probe": (scenarios.MIN_OVERLAP_GUESSED, scenarios.OVERLAPS[1]),
    }
    return {
        "photons_per_pattern": [10**power for power in config.photons_log10],
        "overlap": overlap,
        "most_patterns": scenarios.MAX_PATTERNS,
        "pattern_edge_px": sorted(scenarios.SIZES),
        "canvas_edge_px": sorted(scenarios.SIZES.values()),
        "window_px": config.window_px,
        "samples": scenarios.KINDS,
        "feature_px": scenarios.SCALES_PX,
        "photographs": scenarios.IMAGES,
        "amplitude": [scenarios.AMPLITUDE[0], 1.0],
        "phase_span_rad": [0.0, phase],
        "probes": scenarios.PROBES,
        "probe_diameter_share": scenarios.DIAMETER_FRACTION,
        "probe_curvature_rad": [-scenarios.CURVATURE_RAD, scenarios.CURVATURE_RAD],
        "zone_plate": {
            "pupil_radius": scenarios.PUPIL,
            "central_stop": scenarios.STOP,
            "defocus_waves": scenarios.DEFOCUS_WAVES,
            "astigmatism_waves": scenarios.ASTIGMATISM_WAVES,
        },
        "probe_modes": [1, len(scenarios.MODE_FRACTIONS)],
        "guessed_probe_share": config.guessed_probe_fraction,
        "guess_off_by": scenarios.MAX_GUESS_ERROR,
        "rounds": {"known_probe": config.max_rounds_known_probe, "guessed_probe": config.max_rounds_guessed_probe},
        "positions": scenarios.SCANS,
        "dead_pixels": [0, scenarios.MAX_DEAD_PIXELS],
    }


def retrain_commands(config: PretrainConfig, start: Weights | None) -> list[str]:
    """Return the commands that repeat a training, after those of its initial weights."""
    if start is None:
        return [retrain_command(config, _folder(0))]
    commands = start.card.get("retrain", [])
    before = [commands] if isinstance(commands, str) else list(commands)
    here = retrain_command(config, _folder(len(before)))
    return [*before, f"{here} --init-weights {_folder(len(before) - 1)}/weights.safetensors"]


def _folder(place: int) -> str:
    """Name the folder of a command by its place among those of a card."""
    return "pretrained" if place <= 0 else "further" if place == 1 else f"further_{place}"


def retrain_command(config: PretrainConfig, folder: str) -> str:
    """Return the command that repeats a training into a folder."""
    words = [f"ptypinn pretrain --output-dir {folder}"]
    for field in fields(config):
        value = getattr(config, field.name)
        if value != field.default and field.name not in RUNTIME_OPTIONS | {"init_weights"}:
            words.append(format_option(field.name, value))
    return " ".join(words)


def _word(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


@dataclass(frozen=True)
class FinetuneOutcome:
    """Result of a fine-tuning."""

    val_start: float
    """Deviance per pixel of the validation patterns with the initial weights."""
    val_best: float
    """Minimum of the deviance over the epochs."""
    epochs: int
    """Complete epochs until then."""
    steps: int
    """Optimiser steps until then."""

    @property
    def gained(self) -> bool:
        """True if the tuned weights are better than the initial ones."""
        return self.val_best < self.val_start


def make_finetuned_card(
    scan: ScanData,
    parts: PatternSplit,
    config: FinetuneConfig,
    rounds: int,
    start: Weights | None,
    outcome: FinetuneOutcome,
) -> dict[str, Any]:
    """Make the card of fine-tuned weights, as plain values.

    Args:
        scan: Scan of the fine-tuning.
        parts: Its training and validation patterns.
        config: Configuration of the fine-tuning.
        rounds: Rounds of a solution.
        start: Initial weights; None for random ones.
        outcome: Result of the fine-tuning.
    """
    card = {} if start is None else start.card
    content = {
        "name": "learned solver of ptypinn, fine-tuned on a scan",
        "stage": "finetune",
        "kept": "tuned" if outcome.gained else "start",
        "validation": {"start": outcome.val_start, "best": outcome.val_best, "patterns": len(parts.val)},
        "trained": {"epochs": outcome.epochs, "steps": outcome.steps, "rounds": rounds, "patterns": len(parts.train)},
        "scan": dict(scan.provenance),
        "config": asdict(config),
        "versions": package_versions(),
        "start": None if start is None else start.record(),
        **{name: card[name] for name in ("not_seen", "licence") if name in card},
        "saw": widen_ranges(card.get("saw", {}), scan_traits(scan)),
    }
    plain: dict[str, Any] = to_plain(content)
    return plain


def widen_ranges(saw: Mapping[str, Any], traits: Mapping[str, float]) -> dict[str, Any]:
    """Widen the ranges of a training domain to include a scan.

    Args:
        saw: Training domain of the initial weights, by the names that model cards have for traits.
        traits: Traits of the scan.
    """
    ranges = dict(saw)
    for name, value in traits.items():
        ends = [value, *_numbers(saw.get(name, saw.get(TRAITS[name].also, [])))]
        ranges[name] = [min(ends), max(ends)]
    return ranges


def _numbers(content: Any) -> list[float]:
    if isinstance(content, Mapping):
        return [number for part in content.values() for number in _numbers(part)]
    return [float(number) for number in content] if isinstance(content, list | tuple) else []
