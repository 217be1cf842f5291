"""Rounds of the unrolled solver: a few steps on the likelihood of the counts, then the network's correction."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ptypinn.losses import Amplitude
from ptypinn.models.blocks import Maps
from ptypinn.models.unrolled import CanvasFeatures, compute_canvas_features, to_object_update
from ptypinn.physics.optics import probe_photons
from ptypinn.solvers.distributed.canvas import WHOLE, CanvasPart
from ptypinn.solvers.quasi_newton.objective import Objective
from ptypinn.solvers.quasi_newton.preconditioner import FLOOR, Preconditioner
from ptypinn.solvers.quasi_newton.unknowns import Unknowns, centre_flux, scale_to_power
from ptypinn.types import Object, Scalar
from ptypinn.utils.device import read_scalars

PASSES = 2
"""Passes over the data per round."""
REFRESH_INTERVAL = 2
"""Rounds between updates of the preconditioner while the probe changes."""

MAX_MOVE = 0.5
"""Largest move in one pass: of a pixel, in units of the object's amplitude; of the probe, of its own norm."""
MAX_CORRECTION = 1.0
"""Largest correction of a pixel, in units of the object's amplitude: where data and probe guess determine nothing,
errors of the network stay bounded."""
ORIENTATIONS = ((0, False), (2, True), (2, False), (0, True), (1, False), (3, True), (3, False), (1, True))
"""Quarter turns, and True for a flip of left and right, of the network's input, round by round."""


@dataclass(frozen=True)
class StepSchedule:
    """Length of the data steps."""

    step: float
    """Fraction of the preconditioned step."""
    momentum: float
    """Fraction of the last move that is added."""
    amplitude_rounds: int
    """First rounds that fit variance-stabilised amplitudes, whatever the data term: far from the solution the
    likelihood demands long steps where few photons were expected; near it, it wastes no photon."""
    background_rounds: int
    """First rounds that hold the background: what it would take in there are errors of object and probe."""


KNOWN_PROBE_STEPS, UNKNOWN_PROBE_STEPS = StepSchedule(1.0, 0.6, 2, 3), StepSchedule(0.8, 0.9, 9, 12)
"""Object and probe trade off along shallow valleys, which take more momentum; it also keeps the joint step stable."""
UNKNOWN_FLUX_STEPS = StepSchedule(0.7, 0.8, 2, 3)
"""Flux and object explain the same excess of photons, so that a whole step of both would be twice too long."""


@dataclass(frozen=True)
class Iterate:
    """Point that the solver has reached, and its history as far as the next round needs it."""

    point: Unknowns
    """Object, and the probe where it is solved for."""
    velocity: Unknowns | None = None
    """Last move by a data step."""
    rounds: int = 0
    """Rounds so far."""
    loss: Scalar = float("nan")
    """Data term before the last move."""
    held_out_loss: Scalar = float("nan")
    """Loss on the held-out pixels before the round, which is that of the iterate that the round started from."""

    def read_losses(self) -> Iterate:
        """Return the same iterate with its losses read from the device: the only wait for it in a round."""
        loss, held_out_loss = read_scalars(self.loss, self.held_out_loss)
        return replace(self, loss=loss, held_out_loss=held_out_loss)

    @property
    def schedule(self) -> StepSchedule:
        """Length of the data steps from here."""
        if self.point.probe is not None:
            return UNKNOWN_PROBE_STEPS
        return KNOWN_PROBE_STEPS if self.point.log_flux is None else UNKNOWN_FLUX_STEPS


class UnrolledSolver:
    """Rounds on one scan, or one tile of it.

    Args:
        objective: Data term with the scan, its probe and its positions.
        preconditioner: Of the same scan, refreshed.
        photons: Power of the probe, held while it is solved for.
        network: Correction on the canvas; None for the data steps alone.
        amplitude: Overall amplitude of the object, the unit of the network's input.
        bf16: Let the network compute in bfloat16.
    """

    def __init__(
        self,
        objective: Objective,
        preconditioner: Preconditioner,
        photons: float,
        network: nn.Module | None,
        *,
        amplitude: float,
        bf16: bool = False,
    ) -> None:
        self.objective, self.preconditioner = objective, preconditioner
        self.photons, self.network = photons, network
        self.amplitude, self.bf16 = amplitude, bf16

    def with_objective(self, objective: Objective) -> UnrolledSolver:
        """Return the same solver with another data term of the same scan, such as one without held-out pixels."""
        solver = copy.copy(self)
        solver.objective = objective
        return solver

    def round(self, iterate: Iterate) -> Iterate:
        """Run one round; nothing in it waits for the device."""
        iterate, features = self.data_steps(iterate)
        return iterate if self.network is None else self.correct(iterate, features)

    def data_steps(self, iterate: Iterate) -> tuple[Iterate, CanvasFeatures]:
        """Run the data steps of a round; return the network's input after them too."""
        if iterate.point.probe is not None and iterate.rounds % REFRESH_INTERVAL == 0:
            self.preconditioner.refresh(iterate.point, iterate.point.probe)
        holds_out, held_out_loss = self.objective.held_out is not None, iterate.held_out_loss
        for number in range(PASSES):
            iterate, descent = self._data_step(iterate, loss=number == PASSES - 1 or (holds_out and number == 0))
            held_out_loss = iterate.held_out_loss if number == 0 else held_out_loss
        assert iterate.velocity is not None
        probe = self.objective.probe if iterate.point.probe is None else iterate.point.probe
        features = compute_canvas_features(
            iterate.point.object,
            descent,
            iterate.velocity.object,
            self.preconditioner.illumination,
            probe.abs().square().sum(0).max().double(),
            self.amplitude,
        )
        return Iterate(iterate.point, iterate.velocity, iterate.rounds + 1, iterate.loss, held_out_loss), features

    def correct(self, iterate: Iterate, features: CanvasFeatures) -> Iterate:
        """Add the network's correction to the object."""
        assert self.network is not None
        canvas, orientation = self.objective.canvas, choose_orientation(iterate.rounds)
        with (
            torch.autocast(features.maps.device.type, torch.bfloat16, enabled=self.bf16),
            canvas.joined(self.network, orientation),
        ):
            output = apply_network(self.network, canvas.own(features.maps), iterate.rounds)
        iterate = apply_correction(iterate, features, canvas.widen(output.float()), self.amplitude)
        return replace(iterate, point=replace(iterate.point, object=canvas.refresh(iterate.point.object)))

    def _data_step(self, iterate: Iterate, *, loss: bool) -> tuple[Iterate, Object]:
        """Evaluate, precondition, move; also return the descent direction before preconditioning."""
        point, schedule = iterate.point, iterate.schedule
        amplitudes = iterate.rounds < schedule.amplitude_rounds
        objective = with_amplitude_loss(self.objective) if amplitudes else self.objective
        value = objective(point, loss=loss)
        velocity = self.preconditioner(value.gradient, point).scaled(-schedule.step)
        if iterate.velocity is not None:
            velocity = velocity.plus(iterate.velocity, schedule.momentum)
        end = point.plus(self._clip(velocity))
        end = centre_flux(scale_to_power(end, self.photons), self.objective.canvas)
        velocity = replace(velocity, object=end.object - point.object)
        if self.preconditioner.background is not None:
            held = iterate.rounds < schedule.background_rounds
            end = replace(end, background=point.background) if held else self.preconditioner.background.project(end)
            velocity = replace(velocity, background=end.minus(point).background)
        floor = FLOOR * self.preconditioner.stats.peak
        descent = value.gradient.object / -(self.preconditioner.illumination + floor)
        return Iterate(end, velocity, iterate.rounds, value.loss, value.held_out_loss), descent

    def _clip(self, velocity: Unknowns) -> Unknowns:
        """Shorten a move where it is larger than `MAX_MOVE`."""
        move = clip_modulus(velocity.object, MAX_MOVE * self.amplitude)
        probe = velocity.probe
        if probe is not None:
            length = torch.sqrt(probe_photons(probe) / self.photons)
            probe = probe * (MAX_MOVE / length.clamp(min=MAX_MOVE)).float()
        return replace(velocity, object=move, probe=probe)


def choose_orientation(rounds: int) -> tuple[int, bool]:
    """Return the quarter turns of the network's input in a round, from 1, and whether it is flipped after them."""
    return ORIENTATIONS[(rounds - 1) % len(ORIENTATIONS)]


def apply_network(network: nn.Module, maps: Maps, rounds: int) -> Float[Tensor, "batch output height width"]:
    """Run a network on maps that are turned and flipped as `ORIENTATIONS` has it for the round; turn its output back.

    The physics of the canvas prefers no orientation. A difference between orientations is an error of the network, and
    errors of different rounds do not add up (Terris et al., Equivariant plug-and-play image reconstruction, CVPR
    2024).

    Args:
        network: The correction.
        maps: Its input.
        rounds: Number of the round, from 1.

    >>> maps = torch.arange(12.0).reshape(1, 1, 3, 4)
    >>> torch.equal(apply_network(nn.Identity(), maps, 6), maps)
    True
    """
    turns, flipped = choose_orientation(rounds)
    maps = torch.rot90(maps, turns, (-2, -1))
    output: Tensor = network(maps.flip(-1) if flipped else maps)
    return torch.rot90(output.flip(-1) if flipped else output, -turns, (-2, -1))


def apply_correction(iterate: Iterate, features: CanvasFeatures, output: Maps, amplitude: float) -> Iterate:
    """Return an iterate with the network's correction of the object.

    Args:
        iterate: Iterate after the data steps.
        features: Input of the network, with the unit of its output.
        output: Output of the network.
        amplitude: Overall amplitude of the object.
    """
    point = iterate.point
    change = clip_modulus(to_object_update(output, features.unit), MAX_CORRECTION * amplitude)
    return replace(iterate, point=replace(point, object=point.object + change))


def clip_modulus(change: Object, limit: float) -> Object:
    """Shorten the pixels of a change that are larger than a limit.

    >>> clip_modulus(torch.tensor([[3 + 4j, 1j]]), 1.0).abs()
    tensor([[1., 1.]])
    """
    return change * (limit / change.abs().clamp(min=1e-30)).clamp(max=1)


def with_amplitude_loss(objective: Objective) -> Objective:
    """Return the same data with the data term of the first rounds."""
    return replace(objective, likelihood=Amplitude())


def rms_amplitude(canvas: Object, illumination: Float[Tensor, "height width"], part: CanvasPart = WHOLE) -> float:
    """Return the root mean square amplitude of an object, weighted by its illumination.

    Args:
        canvas: The object.
        illumination: Photons on every object pixel.
        part: Rows of the canvas that these are.
    """
    weights = part.own(illumination)
    transmitted, photons = (weights * part.own(canvas).abs().square()).sum(), weights.sum()
    part.add_up(transmitted, photons)
    return float(torch.sqrt(transmitted / photons).clamp(min=1e-6))
