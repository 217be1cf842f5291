"""Rounds of the learned solver: a few physical passes over the data, then the network's correction on the canvas."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ptypinn.models.canvas_features import CanvasMaps, canvas_maps, change_of
from ptypinn.models.unrolled import Maps
from ptypinn.physics.optics import probe_photons
from ptypinn.solvers.quasi_newton.data_terms import AMPLITUDE
from ptypinn.solvers.quasi_newton.objective import Objective
from ptypinn.solvers.quasi_newton.preconditioner import FLOOR, Preconditioner
from ptypinn.solvers.quasi_newton.unknowns import Unknowns, scale_to_power
from ptypinn.types import Object, Probe

PASSES = 2
"""Passes over the data per round."""
REFRESH = 2
"""Rounds between updates of the preconditioner while the probe changes."""

MAX_MOVE = 0.5
"""Largest move in one pass: of a pixel, in units of the object's amplitude; of the probe, of its own norm."""
MAX_CORRECTION = 1.0
"""Largest correction of a pixel, in units of the object's amplitude: where data and probe guess determine nothing, the
network does not make it worse without end."""
ORIENTATIONS = ((0, False), (2, True), (2, False), (0, True), (1, False), (3, True), (3, False), (1, True))
"""Quarter turns, and whether left and right change places, of what the network sees, round by round."""


@dataclass(frozen=True)
class StepSchedule:
    """How far a pass goes."""

    step: float
    """Share of the preconditioned step."""
    momentum: float
    """Share of the last move that is added."""
    steady_rounds: int
    """First rounds that fit variance-stabilised amplitudes, whatever the data term: far from the solution the
    likelihood asks for long steps where little light was expected; near it, it wastes no photon."""


KNOWN_PROBE_STEPS, UNKNOWN_PROBE_STEPS = StepSchedule(1.0, 0.6, 2), StepSchedule(0.8, 0.9, 9)
"""Object and probe trade off along shallow valleys, which take more momentum; it also keeps the joint step stable."""


@dataclass(frozen=True)
class Iterate:
    """Where the solver is."""

    at: Unknowns
    """Object, and the probe where it is solved for."""
    velocity: Unknowns | None = None
    """The last move by the physics."""
    rounds: int = 0
    """Rounds so far."""
    loss: float = float("nan")
    """Data term before the last move."""
    held_out_loss: float = float("nan")
    """Loss on the held-out pixels before the round, which is that of the state that the round started from."""


class UnrolledSolver:
    """One scan, or a window of it, with a network; without one, the physical steps alone."""

    def __init__(
        self,
        objective: Objective,
        preconditioner: Preconditioner,
        photons: float,
        network: nn.Module | None,
        *,
        half: bool = False,
    ) -> None:
        """Prepare to solve.

        Args:
            objective: Data term with the scan, its probe and its positions.
            preconditioner: Of the same scan, refreshed.
            photons: Power of the probe, held while it is solved for.
            network: Correction on the canvas; None for none.
            half: Let the network compute in bfloat16.
        """
        self.objective, self.preconditioner = objective, preconditioner
        self.photons, self.network, self.half = photons, network, half
        self.amplitude = 1.0

    def begin(self, start: Unknowns, amplitude: float | None = None) -> Iterate:
        """The state before the first round.

        Args:
            start: Where to start.
            amplitude: Overall amplitude of the object, the unit of what the network sees; that of the start where None.
        """
        light = self.preconditioner.illumination
        self.amplitude = rms_amplitude(start.object, light) if amplitude is None else amplitude
        return Iterate(start)

    def pace_at(self, state: Iterate) -> StepSchedule:
        """How far a pass from a state goes."""
        return KNOWN_PROBE_STEPS if state.at.probe is None else UNKNOWN_PROBE_STEPS

    def round(self, state: Iterate) -> Iterate:
        """One round."""
        state, seen = self.physics(state)
        return state if self.network is None else self.correct(state, seen)

    def physics(self, state: Iterate) -> tuple[Iterate, CanvasMaps]:
        """The physical passes of a round, and what the network sees after them."""
        if state.at.probe is not None and state.rounds % REFRESH == 0:
            self.preconditioner.refresh(state.at, state.at.probe)
        judged, held_out_loss = self.objective.held_out is not None, state.held_out_loss
        for number in range(PASSES):
            state, descent = self._pass(state, loss=number == PASSES - 1 or (judged and number == 0))
            held_out_loss = state.held_out_loss if number == 0 else held_out_loss
        assert state.velocity is not None
        probe = self.objective.probe if state.at.probe is None else state.at.probe
        seen = canvas_maps(
            state.at.object,
            descent,
            state.velocity.object,
            self.preconditioner.illumination,
            _peak(probe),
            self.amplitude,
        )
        return Iterate(state.at, state.velocity, state.rounds + 1, state.loss, held_out_loss), seen

    def correct(self, state: Iterate, seen: CanvasMaps) -> Iterate:
        """Add the network's correction to the object."""
        assert self.network is not None
        with torch.autocast(seen.maps.device.type, torch.bfloat16, enabled=self.half):
            answer = apply_network(self.network, seen.maps, state.rounds)
        return apply_correction(state, seen, answer.float(), self.amplitude)

    def _pass(self, state: Iterate, *, loss: bool) -> tuple[Iterate, Object]:
        """One pass: evaluate, precondition, move; also the descent direction before preconditioning."""
        pace = self.pace_at(state)
        objective = with_amplitude_loss(self.objective) if state.rounds < pace.steady_rounds else self.objective
        here = objective(state.at, loss=loss)
        velocity = self.preconditioner(here.gradient, state.at).scaled(-pace.step)
        if state.velocity is not None:
            velocity = velocity.plus(state.velocity, pace.momentum)
        moved = state.at.plus(self._bounded(velocity))
        if moved.probe is not None:
            moved = Unknowns(moved.object, scale_to_power(moved.probe, self.photons), moved.shifts)
        velocity = Unknowns(moved.object - state.at.object, velocity.probe, velocity.shifts)
        floor = FLOOR * self.preconditioner.levels.peak
        descent = here.gradient.object / -(self.preconditioner.illumination + floor)
        return Iterate(moved, velocity, state.rounds, here.loss, here.held_out_loss), descent

    def _bounded(self, velocity: Unknowns) -> Unknowns:
        """The move, where it is larger than the object itself shortened to that."""
        move = clip_modulus(velocity.object, MAX_MOVE * self.amplitude)
        probe = velocity.probe
        if probe is not None:
            length = torch.sqrt(probe_photons(probe) / self.photons)
            probe = probe * (MAX_MOVE / length.clamp(min=MAX_MOVE)).float()
        return Unknowns(move, probe, velocity.shifts)


def apply_network(network: nn.Module, maps: Maps, rounds: int) -> Float[Tensor, "batch output height width"]:
    """What a network answers in a round: to the maps turned and flipped as `ORIENTATIONS` has it, and turned back.

    The physics of the canvas prefers no orientation. What a network does otherwise in one of them is a mistake, and
    mistakes of different rounds do not add up (Terris et al., Equivariant plug-and-play image reconstruction, CVPR
    2024).

    Args:
        network: The correction.
        maps: What it sees.
        rounds: Number of the round, from 1.
    """
    turns, flipped = ORIENTATIONS[(rounds - 1) % len(ORIENTATIONS)]
    maps = torch.rot90(maps, turns, (-2, -1))
    answer: Tensor = network(maps.flip(-1) if flipped else maps)
    return torch.rot90(answer.flip(-1) if flipped else answer, -turns, (-2, -1))


def apply_correction(state: Iterate, seen: CanvasMaps, answer: Maps, amplitude: float) -> Iterate:
    """A state with what a network answers to what it sees of it.

    Args:
        state: After the physical passes.
        seen: What the network saw.
        answer: What it answers.
        amplitude: Overall amplitude of the object.
    """
    change = clip_modulus(change_of(answer, seen.unit), MAX_CORRECTION * amplitude)
    return replace(state, at=Unknowns(state.at.object + change, state.at.probe, state.at.shifts))


def clip_modulus(change: Object, largest: float) -> Object:
    """A change whose pixels are no larger than `largest`."""
    return change * (largest / change.abs().clamp(min=1e-30)).clamp(max=1)


def with_amplitude_loss(objective: Objective) -> Objective:
    """The same data with the data term of the first rounds."""
    return replace(objective, term=AMPLITUDE)


def rms_amplitude(canvas: Object, illumination: Float[Tensor, "height width"]) -> float:
    """Root mean square amplitude of an object, weighted by its illumination."""
    probe_photons = (illumination * canvas.abs().square()).sum() / illumination.sum()
    return float(torch.sqrt(probe_photons).clamp(min=1e-6))


def _peak(probe: Probe) -> float:
    return float(probe.abs().square().sum(0).max())
