"""How much the network gains over its own physical steps, on scans that it never trains on."""

from __future__ import annotations

import math

import torch
from torch import nn

from ptypinn.config.pretrain import PretrainConfig
from ptypinn.learned.problem import LearnedOptions, learned_problem
from ptypinn.pretraining.data import CHECK
from ptypinn.pretraining.scenarios import draw_scenario
from ptypinn.pretraining.states import DIM, aligned

ROUNDS, ROUNDS_UNKNOWN = 5, 16
"""Rounds after which the errors are compared."""


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
        logs = [math.log(error / bare) for error, bare in zip(found, self._bare, strict=True)]
        mean = math.exp(sum(map(math.log, found)) / len(found))
        return {"val_loss": math.exp(sum(logs) / len(logs)), "val_error": mean}

    def errors(self, network: nn.Module | None) -> list[float]:
        """Relative complex error of every scan."""
        return [self._error((self.config.seed, CHECK, number), network) for number in range(self.config.checks)]

    @torch.no_grad()
    def _error(self, seed: tuple[int, ...], network: nn.Module | None) -> float:
        scenario = draw_scenario(seed, self.config)
        unknown, scan = scenario.guess is not None, scenario.scan()
        problem = learned_problem(scan, network, LearnedOptions(refine_probe=unknown), torch.device("cpu"))
        state = problem.start
        for _ in range(ROUNDS_UNKNOWN if unknown else ROUNDS):
            state = problem.solver.round(state)
        light = problem.solver.preconditioner.illumination
        weight = light / (light + DIM * light.max())
        truth = aligned(torch.from_numpy(scan.truth), state.at.object, weight, ramp=unknown)
        left = (weight * (truth - state.at.object).abs().square()).sum()
        return float(torch.sqrt(left / (weight * truth.abs().square()).sum()))
