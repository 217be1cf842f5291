"""Validation of the network on simulated scans outside the training: its gain over the physical steps alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from ptypinn.config.pretrain import PretrainConfig
from ptypinn.solvers.unrolled.problem import UnrolledOptions
from ptypinn.solvers.unrolled.rounds import default_rounds, estimate_dose
from ptypinn.solvers.unrolled.solver import solve_scan
from ptypinn.training.pretrain_data import CARD, CHECK
from ptypinn.training.scenarios import KINDS, RandomScan, draw_random_scan
from ptypinn.training.solver_states import DIM_FRACTION, align_truth
from ptypinn.utils.progress import Progress, silent


class ValidationScans:
    """Validation scans with the errors of the physical steps alone.

    Args:
        config: Number and distribution of the scans.
    """

    def __init__(self, config: PretrainConfig) -> None:
        self.config = config
        self._bare: list[float] | None = None

    def __call__(self, network: nn.Module) -> dict[str, float]:
        """Return geometric means over the scans: error with the network over that without it, and the error itself."""
        if self._bare is None:
            self._bare = self.errors(None)
        errors = self.errors(network)
        gains = [error / bare for error, bare in zip(errors, self._bare, strict=True)]
        return {"val_loss": geometric_mean(gains), "val_error": geometric_mean(errors)}

    def errors(self, network: nn.Module | None) -> list[float]:
        """Return the relative complex error of every scan."""
        drawn = (
            draw_random_scan((self.config.seed, CHECK, number), self.config) for number in range(self.config.val_scans)
        )
        return [measure_error(scenario, network) for scenario in drawn]


@torch.no_grad()
def measure_error(scenario: RandomScan, network: nn.Module | None) -> float:
    """Measure the relative complex error of a scan after the default number of rounds, weighted by illumination.

    Args:
        scenario: The scan.
        network: Network on the CPU; None for the physical steps alone.
    """
    unknown, scan = scenario.guess is not None, scenario.scan()
    options, rounds = UnrolledOptions(refine_probe=unknown), default_rounds(estimate_dose(scan))
    solution = solve_scan(scan, network, options, rounds, torch.device("cpu"))
    image, illumination = torch.from_numpy(solution.object), torch.from_numpy(solution.illumination)
    weight = illumination / (illumination + DIM_FRACTION * illumination.max())
    assert scan.truth is not None
    truth = align_truth(torch.from_numpy(scan.truth), image, weight, ramp=unknown)
    left = (weight * (truth - image).abs().square()).sum()
    return float(torch.sqrt(left / (weight * truth.abs().square()).sum()))


@dataclass(frozen=True)
class ScoredScan:
    """Validation scan with its errors."""

    scenario: RandomScan
    """The scan."""
    error: float
    """Relative complex error with the network."""
    bare: float
    """Relative complex error of the physical steps alone."""


def measure_card_scans(
    network: nn.Module, config: PretrainConfig, progress: Progress | None = None
) -> dict[str, dict[str, float | int]]:
    """Measure errors and gains by kind of sample with a known probe, and over all scans with a guessed one.

    Args:
        network: Network on the CPU.
        config: Distribution of the scans; they are neither training nor validation scans.
        progress: Called after every scan, as the stage `check`.

    Returns:
        Per group the number of `scans`, and geometric means of `error`, of `error_without_network` and of their
        ratio, `gain`.
    """
    report, scores = progress or silent, []
    for number in range(config.card_scans):
        scenario = draw_random_scan((config.seed, CARD, number), config)
        scores.append(ScoredScan(scenario, measure_error(scenario, network), measure_error(scenario, None)))
        report("check", number + 1, config.card_scans)
    exact_probe = [one for one in scores if one.scenario.guess is None]
    groups = {"all": scores, "guessed probe": [one for one in scores if one.scenario.guess is not None]}
    groups |= {kind: [one for one in exact_probe if one.scenario.config.object == kind] for kind in KINDS}
    return {name: _summary(members) for name, members in groups.items() if members}


def _summary(members: list[ScoredScan]) -> dict[str, float | int]:
    return {
        "scans": len(members),
        "error": geometric_mean([one.error for one in members]),
        "error_without_network": geometric_mean([one.bare for one in members]),
        "gain": geometric_mean([one.error / one.bare for one in members]),
    }


def geometric_mean(values: list[float]) -> float:
    """Return the geometric mean of positive values; NaN where one is not finite."""
    return math.exp(sum(map(math.log, values)) / len(values))
