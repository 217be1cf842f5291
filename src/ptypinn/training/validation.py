"""How much the network gains over its own physical steps, on scans that it never trains on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from ptypinn.config.pretrain import PretrainConfig
from ptypinn.solvers.unrolled.problem import LearnedOptions
from ptypinn.solvers.unrolled.round_schedule import light_on, usual_rounds
from ptypinn.solvers.unrolled.solver import solve_scan
from ptypinn.training.pretrain_data import CARD, CHECK
from ptypinn.training.scenarios import KINDS, Scenario, draw_scenario
from ptypinn.training.solver_states import DIM, aligned
from ptypinn.utils.progress import Progress, silent


class Check:
    """A few scans with the errors that the physical steps alone reach.

    Args:
        config: Number of scans and what to draw.
    """

    def __init__(self, config: PretrainConfig) -> None:
        self.config = config
        self._bare: list[float] | None = None

    def __call__(self, network: nn.Module) -> dict[str, float]:
        """Geometric means over the scans: error with the network over that without it, and the error itself."""
        if self._bare is None:
            self._bare = self.errors(None)
        found = self.errors(network)
        gains = [error / bare for error, bare in zip(found, self._bare, strict=True)]
        return {"val_loss": geometric_mean(gains), "val_error": geometric_mean(found)}

    def errors(self, network: nn.Module | None) -> list[float]:
        """Relative complex error of every scan."""
        drawn = (draw_scenario((self.config.seed, CHECK, number), self.config) for number in range(self.config.checks))
        return [error_of(scenario, network) for scenario in drawn]


@torch.no_grad()
def error_of(scenario: Scenario, network: nn.Module | None) -> float:
    """Relative complex error of a scan after the usual number of rounds, weighted by illumination.

    Args:
        scenario: The scan.
        network: On the CPU; None for the physical steps alone.
    """
    unknown, scan = scenario.guess is not None, scenario.scan()
    options, rounds = LearnedOptions(refine_probe=unknown), usual_rounds(light_on(scan))
    found = solve_scan(scan, network, options, rounds, torch.device("cpu"))
    image, light = torch.from_numpy(found.object), torch.from_numpy(found.illumination)
    weight = light / (light + DIM * light.max())
    assert scan.truth is not None
    truth = aligned(torch.from_numpy(scan.truth), image, weight, ramp=unknown)
    left = (weight * (truth - image).abs().square()).sum()
    return float(torch.sqrt(left / (weight * truth.abs().square()).sum()))


@dataclass(frozen=True)
class Judged:
    """A scan that was judged."""

    scenario: Scenario
    """The scan."""
    error: float
    """Relative complex error with the network."""
    bare: float
    """That of the physical steps alone."""


def card_figures(
    network: nn.Module, config: PretrainConfig, progress: Progress | None = None
) -> dict[str, dict[str, float | int]]:
    """Errors and gains by kind of sample with a known probe, and over all scans with a guessed one.

    Args:
        network: On the CPU.
        config: `card_checks` scans are drawn, which are neither trained on nor checked on while training.
        progress: Told about every scan, as the stage `check`.

    Returns:
        By group: number of `scans`; geometric means of `error`, of `error_without_network` and of their ratio, `gain`.
    """
    report, judged = progress or silent, []
    for number in range(config.card_checks):
        scenario = draw_scenario((config.seed, CARD, number), config)
        judged.append(Judged(scenario, error_of(scenario, network), error_of(scenario, None)))
        report("check", number + 1, config.card_checks)
    known = [one for one in judged if one.scenario.guess is None]
    groups = {"all": judged, "guessed probe": [one for one in judged if one.scenario.guess is not None]}
    groups |= {kind: [one for one in known if one.scenario.config.object == kind] for kind in KINDS}
    return {name: _summary(members) for name, members in groups.items() if members}


def _summary(members: list[Judged]) -> dict[str, float | int]:
    return {
        "scans": len(members),
        "error": geometric_mean([one.error for one in members]),
        "error_without_network": geometric_mean([one.bare for one in members]),
        "gain": geometric_mean([one.error / one.bare for one in members]),
    }


def geometric_mean(values: list[float]) -> float:
    """NaN where a value is not finite."""
    return math.exp(sum(map(math.log, values)) / len(values))
