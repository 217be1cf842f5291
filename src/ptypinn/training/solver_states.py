"""States of the learned solver with the truth that belongs to them: what the network learns from.

The network is trained on the states that it brings about itself (Ross, Gordon and Bagnell, AISTATS 2011), one
correction at a time, without a derivative through the physics: a scan costs no more to learn from than to solve.
"""

from __future__ import annotations

from typing import TypedDict

import numpy as np
import torch
from jaxtyping import Float
from numpy.random import Generator
from torch import Tensor, nn

from ptypinn.config.pretrain import PretrainConfig
from ptypinn.models.canvas_features import CHANNELS, CanvasMaps
from ptypinn.models.unrolled import STRIDE
from ptypinn.solvers.unrolled.loop import State
from ptypinn.solvers.unrolled.problem import LearnedOptions, LearnedProblem, learned_problem
from ptypinn.training.scenarios import draw_scenario
from ptypinn.types import Object

LOST = 1e3
"""States with larger values than this, or none, have diverged."""
DIM = 0.1
"""Pixels with this share of the typical illumination count half in the error."""


class StateBatch(TypedDict):
    """States of one or more scans, (state, ..., height, width)."""

    maps: Float[Tensor, "state channel height width"]
    """Input of the network."""
    unit: Float[Tensor, "state 1 height width"]
    """Change per unit of its output, transmission."""
    missing: Float[Tensor, "state 2 height width"]
    """Truth minus state, real and imaginary part, transmission."""
    weight: Float[Tensor, "state 1 height width"]
    """How much a pixel counts, 0 to 1, by its illumination."""
    power: Float[Tensor, " state"]
    """Weighted mean square of the truth."""


@torch.no_grad()
def draw_states(seed: tuple[int, ...], network: nn.Module, config: PretrainConfig) -> StateBatch:
    """States of one random scan, after rounds drawn at random: a pure function of seed and weights.

    Args:
        seed: Of the scan and of everything else that is drawn.
        network: Corrects the states on the way.
        config: What to draw.
    """
    scenario, rng = draw_scenario(seed, config), np.random.default_rng((*seed, 1))
    unknown, scan = scenario.guess is not None, scenario.scan()
    assert scan.truth is not None
    truth = torch.from_numpy(scan.truth)
    problem = learned_problem(scan, network, LearnedOptions(refine_probe=unknown), torch.device("cpu"))
    most = config.rounds_unknown if unknown else config.rounds_known
    last = round(np.exp(rng.uniform(*np.log([config.states_per_scan, most]))))
    chosen = np.sort(rng.choice(np.arange(1, last + 1), config.states_per_scan, replace=False))
    rows, state = [], problem.start
    for number in range(1, int(chosen[-1]) + 1):
        state, seen = problem.solver.physics(state)
        if number in chosen:
            rows.append(_sample(problem, state, seen, truth, config.window, rng))
        state = problem.solver.correct(state, seen)
    return join(rows)


def join(rows: list[StateBatch]) -> StateBatch:
    """States of several scans, or several states of one, in one batch."""
    return StateBatch(**{name: torch.cat([row[name] for row in rows]) for name in rows[0]})  # type: ignore[literal-required,typeddict-item]


def _sample(
    problem: LearnedProblem, state: State, seen: CanvasMaps, truth: Object, window: int, rng: Generator
) -> StateBatch:
    """One state, cut to a window and turned at random."""
    light = problem.solver.preconditioner.illumination
    weight = light / (light + DIM * light[light > 0.5 * light.max()].mean())
    target = aligned(truth, state.at.object, weight, ramp=state.at.probe is not None)
    missing = torch.view_as_real(target - state.at.object).movedim(-1, 0)
    power = (weight * truth.abs().square()).sum() / weight.sum()
    maps = torch.cat([seen.maps[0, :, : light.shape[0], : light.shape[1]], seen.unit[None], missing, weight[None]])
    maps = _window(maps, window, rng)
    maps = turned(maps, int(rng.integers(4)), flipped=rng.random() < 0.5, conjugated=rng.random() < 0.5)
    channels = seen.maps.shape[1]
    if not bool((maps.abs() < LOST).all()):  # a lost case teaches nothing: without weight, and without harm
        maps, power = torch.zeros_like(maps), torch.ones_like(power)
    parts = torch.split(maps[None], [channels, 1, 2, 1], 1)
    return StateBatch(maps=parts[0], unit=parts[1], missing=parts[2], weight=parts[3], power=power[None])


def aligned(truth: Object, image: Object, weight: Tensor, *, ramp: bool) -> Object:
    """The truth with the global phase, and where asked the phase ramp, of an image."""
    beat = weight * truth.conj() * image
    if ramp:
        height, width = truth.shape
        slope_y = torch.angle((beat[1:] * beat[:-1].conj()).sum())
        slope_x = torch.angle((beat[:, 1:] * beat[:, :-1].conj()).sum())
        y, x = torch.arange(height)[:, None], torch.arange(width)
        turn = slope_y * y + slope_x * x
        truth = truth * torch.polar(torch.ones_like(turn), turn)
        beat = weight * truth.conj() * image
    return truth * torch.exp(1j * torch.angle(beat.sum()))


def _window(maps: Tensor, edge: int, rng: Generator) -> Tensor:
    """A window that starts at a multiple of `STRIDE`, as windows of a solve do."""
    top, left = (STRIDE * int(rng.integers(0, (size - edge) // STRIDE + 1)) for size in maps.shape[-2:])
    return maps[:, top : top + edge, left : left + edge]


def turned(maps: Tensor, turns: int, *, flipped: bool, conjugated: bool) -> Tensor:
    """The maps of the scan that is turned, flipped, and replaced by its twin: the physics of the canvas prefers none.

    Args:
        maps: Input of the network, unit, missing, weight, (map, height, width).
        turns: Quarter turns.
        flipped: Left and right change places.
        conjugated: Object and probe are replaced by their complex conjugates.
    """
    maps = torch.rot90(maps, turns, (-2, -1))
    maps = maps.flip(-1) if flipped else maps
    return (maps * IMAGINARY[:, None, None] if conjugated else maps).contiguous()


IMAGINARY = torch.tensor([1.0, -1.0] * 4 + [1.0] * (CHANNELS - 8) + [1.0, 1.0, -1.0, 1.0])
"""Sign of every map under complex conjugation."""
