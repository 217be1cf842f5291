"""States of the unrolled solver with their truth: the training samples of the pre-training.

The network is trained on the states that it produces itself (Ross, Gordon and Bagnell, AISTATS 2011), one
correction at a time, without a derivative through the physics: a training scan costs no more than a solution.
"""

from __future__ import annotations

from typing import TypedDict

import numpy as np
import torch
from jaxtyping import Float
from numpy.random import Generator
from torch import Tensor, nn

from ptypinn.config.pretrain import PretrainConfig
from ptypinn.models.blocks import STRIDE
from ptypinn.models.unrolled import CHANNELS, CanvasFeatures
from ptypinn.solvers.unrolled.loop import Iterate
from ptypinn.solvers.unrolled.problem import UnrolledOptions, UnrolledProblem, build_problem
from ptypinn.training.scenarios import draw_random_scan
from ptypinn.types import Object

DIVERGED = 1e3
"""States with larger values than this, or none, have diverged."""
DIM_FRACTION = 0.1
"""Pixels with this fraction of the typical illumination count half in the error."""


class StateBatch(TypedDict):
    """States of one or more scans, (state, ..., height, width)."""

    maps: Float[Tensor, "state channel height width"]
    """Input of the network."""
    unit: Float[Tensor, "state 1 height width"]
    """Change per unit of its output, transmission."""
    missing: Float[Tensor, "state 2 height width"]
    """Truth minus state, real and imaginary part, transmission."""
    weight: Float[Tensor, "state 1 height width"]
    """Weight of a pixel in the loss, 0 to 1, by its illumination."""
    power: Float[Tensor, " state"]
    """Weighted mean square of the truth."""


@torch.no_grad()
def draw_states(seed: tuple[int, ...], network: nn.Module, config: PretrainConfig) -> StateBatch:
    """Draw states of one random scan after random rounds: a pure function of seed and weights.

    Args:
        seed: Seed of the scan and of all other random choices.
        network: Corrects the states between the rounds.
        config: Distribution of the scans.
    """
    scenario, rng = draw_random_scan(seed, config), np.random.default_rng((*seed, 1))
    unknown, scan = scenario.guess is not None, scenario.scan()
    assert scan.truth is not None
    truth = torch.from_numpy(scan.truth)
    problem = build_problem(scan, network, UnrolledOptions(refine_probe=unknown), torch.device("cpu"))
    max_rounds = config.max_rounds_guessed_probe if unknown else config.max_rounds_known_probe
    last = round(np.exp(rng.uniform(*np.log([config.states_per_scan, max_rounds]))))
    chosen = np.sort(rng.choice(np.arange(1, last + 1), config.states_per_scan, replace=False))
    rows, state = [], problem.start
    for number in range(1, int(chosen[-1]) + 1):
        state, features = problem.solver.data_steps(state)
        if number in chosen:
            rows.append(_sample(problem, state, features, truth, config.window_px, rng))
        state = problem.solver.correct(state, features)
    return join_states(rows)


def join_states(rows: list[StateBatch]) -> StateBatch:
    """Join states of several scans, or several states of one, in one batch."""
    return StateBatch(**{name: torch.cat([row[name] for row in rows]) for name in rows[0]})  # type: ignore[literal-required,typeddict-item]


def _sample(
    problem: UnrolledProblem, state: Iterate, features: CanvasFeatures, truth: Object, window: int, rng: Generator
) -> StateBatch:
    """Return one state, cropped to a window, in a random orientation."""
    illumination = problem.solver.preconditioner.illumination
    typical = illumination[illumination > 0.5 * illumination.max()].mean()
    weight = illumination / (illumination + DIM_FRACTION * typical)
    target = align_truth(truth, state.point.object, weight, ramp=state.point.probe is not None)
    missing = torch.view_as_real(target - state.point.object).movedim(-1, 0)
    power = (weight * truth.abs().square()).sum() / weight.sum()
    height, width = illumination.shape
    maps = torch.cat([features.maps[0, :, :height, :width], features.unit[None], missing, weight[None]])
    maps = _window(maps, window, rng)
    maps = transform_maps(maps, int(rng.integers(4)), flipped=rng.random() < 0.5, conjugated=rng.random() < 0.5)
    channels = features.maps.shape[1]
    if not bool((maps.abs() < DIVERGED).all()):  # a diverged state has no weight in the loss
        maps, power = torch.zeros_like(maps), torch.ones_like(power)
    parts = torch.split(maps[None], [channels, 1, 2, 1], 1)
    return StateBatch(maps=parts[0], unit=parts[1], missing=parts[2], weight=parts[3], power=power[None])


def align_truth(truth: Object, image: Object, weight: Tensor, *, ramp: bool) -> Object:
    """Return the truth with the global phase, and on request the phase ramp, of an image."""
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
    """Crop a window that starts at a multiple of `STRIDE`, as tiles of the solver do."""
    top, left = (STRIDE * int(rng.integers(0, (size - edge) // STRIDE + 1)) for size in maps.shape[-2:])
    return maps[:, top : top + edge, left : left + edge]


def transform_maps(maps: Tensor, turns: int, *, flipped: bool, conjugated: bool) -> Tensor:
    """Rotate, flip and conjugate the maps, under all of which the physics of the canvas is invariant.

    Args:
        maps: Input of the network, unit, missing, weight, (map, height, width).
        turns: Quarter turns.
        flipped: Flip left and right.
        conjugated: Replace object and probe by their complex conjugates.
    """
    maps = torch.rot90(maps, turns, (-2, -1))
    maps = maps.flip(-1) if flipped else maps
    return (maps * IMAGINARY[:, None, None] if conjugated else maps).contiguous()


IMAGINARY = torch.tensor([1.0, -1.0] * 4 + [1.0] * (CHANNELS - 8) + [1.0, 1.0, -1.0, 1.0])
"""Sign of every map under complex conjugation."""
