"""Steps of unknowns that every frame has of its own, flux and position, and of the object that compensates them.

Where the flux is a smooth function of the position, an object that is as much less transparent there predicts nearly
the same counts; where the errors of the positions are, an object that is warped as much does. The curvature of the
likelihood along both valleys falls as that of slow phases, so their steps are amplified by the same filter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Complex, Float, Float64
from torch import Tensor

from ptypinn.physics.optics import probe_photons
from ptypinn.physics.patches import add_patches, extract_patches
from ptypinn.solvers.distributed.canvas import WHOLE, CanvasPart
from ptypinn.solvers.quasi_newton.unknowns import Unknowns
from ptypinn.types import Corners, Probe, Sample

FRAME_BATCH = 256
"""Patches in memory at once while values of frames are spread over the canvas."""

Level = Float64[Tensor, ""]
LogFlux = Float[Tensor, " positions"]
Canvas = Float[Tensor, "height width"]
Smooth = Callable[[Canvas], Canvas]
"""Inverse curvature of a slow phase, on the canvas."""


class FrameSteps:
    """Steps of flux and positions on one canvas, refreshed with the preconditioner.

    Args:
        corners: Integer patch corners, (1, positions, 2).
        extent: Canvas height and width, pixels.
        canvas: Rows of the canvas that these are.
    """

    def __init__(self, corners: Corners, extent: tuple[int, int], canvas: CanvasPart = WHOLE) -> None:
        self.corners, self.extent, self._canvas = corners, extent, canvas
        self._held: Tensor | None = None
        self.slow: Float[Tensor, "positions order"] | None = None
        """Orthonormal functions of time that moves of the positions are limited to; free moves where None."""

    def refresh(
        self, point: Unknowns, probe: Probe, illumination: Canvas, object_power: Level, half_width: Level
    ) -> None:
        """Take profile of the probe, and slopes of the object, from a point.

        Args:
            point: The point.
            probe: Modes, (mode, y, x), sqrt(photons).
            illumination: Photons on every object pixel.
            object_power: Mean squared amplitude of the object.
            half_width: Root mean square distance of the probe's power from its centre along one axis, pixels.
        """
        self._probe_known = point.probe is None
        power, photons = probe.abs().square().sum(0), probe_photons(probe).float()
        self._profile = (power / power.sum())[None]
        self._flux_inverse = 1 / (photons * object_power.float())
        self._beam_inverse = self._flux_inverse * ((power.shape[-1] / (2 * torch.pi * half_width)) ** 2).float()
        if point.shifts is not None:
            self._slopes = object_slopes(point.object)
            slope_power = mean_slope_power(self._slopes, illumination)
            self._shift_inverse, self._warp_gain = 1 / (photons * slope_power.float()), object_power / slope_power

    def add_flux(self, move: Unknowns, gradient: Unknowns, point: Unknowns, smooth: Smooth) -> Unknowns:
        """Add the step of the flux, and the one along the valley in which slow flux and slow amplitude compensate.

        With `log_flux` smooth, the object has minus half of it in its log-amplitude, of which slices have even shares.

        Args:
            move: Step of the other unknowns.
            gradient: Gradient of the data term.
            point: Where it was taken.
            smooth: Inverse curvature of slow phases.
        """
        assert gradient.log_flux is not None
        share = 0.5 if point.object.ndim == 2 else 0.5 / len(point.object)
        density = self._spread(gradient.log_flux)
        slow = smooth(density - share * add_slices((point.object.conj() * gradient.object).real))
        flux = gradient.log_flux * self._flux_inverse + self._gather(slow)
        return replace(move, object=move.object - point.object * (share * slow), log_flux=flux)

    def beam_step(self, gradient: Float[Tensor, "positions 2"]) -> Float[Tensor, "positions 2"]:
        """Return the step of the beam: a ramp across the probe changes the wave in proportion to its half-width.

        What phases of object and probe explain as well is held: the mean over the frames, and with a probe that is
        solved for more.
        """
        if self._probe_known:
            return (gradient - self._canvas.mean(gradient)) * self._beam_inverse
        if self._held is None:
            from ptypinn.physics.slow_freedoms import held_motions

            positions = self._canvas.gather_frames(self._canvas.to_whole(self.corners[0]))
            self._held = self._canvas.take_coordinates(held_motions(positions.double()))
        basis = self._held
        held = basis @ self._canvas.reduce(basis.T @ gradient.double().reshape(-1), "sum")
        return (gradient - held.reshape(gradient.shape).float()) * self._beam_inverse

    def add_positions(self, move: Unknowns, gradient: Unknowns, smooth: Smooth) -> Unknowns:
        """Add the step of the positions, and the one along the valley in which slow warps of both compensate.

        A single position is determined by the slopes of the object alone: a displaced exit wave has the same
        diffraction pattern. With moves `u(r)` that are smooth, the object moves along: `-u . grad O`.

        Args:
            move: Step of the other unknowns.
            gradient: Gradient of the data term.
            smooth: Inverse curvature of slow phases.
        """
        assert gradient.shifts is not None
        canvas, shifts = move.object, list[Tensor]()
        for axis, slope in enumerate(self._slopes):
            along = self._limit(gradient.shifts[:, axis])
            slow = smooth(self._spread(along) - add_slices((slope.conj() * gradient.object).real)) * self._warp_gain
            canvas = canvas - slow * slope
            shifts.append(self._limit(self.shift_steps(along) + self._gather(slow)))
        return replace(move, object=canvas, shifts=torch.stack(shifts, 1))

    def shift_steps(self, gradient: Tensor) -> Tensor:
        """Return the steps of single positions, the object as it is."""
        return gradient * self._shift_inverse

    def _limit(self, moves: Float[Tensor, " positions"]) -> Float[Tensor, " positions"]:
        return moves if self.slow is None else self.slow @ (self.slow.T @ moves)

    def _spread(self, values: LogFlux) -> Canvas:
        """Return one value per position as a density on the canvas, with the profile of the probe's power."""
        density = values.new_zeros((1, *self.extent))
        for part in torch.split(torch.arange(len(values), device=values.device), FRAME_BATCH):
            add_patches(density, (values[part, None, None] * self._profile)[None], self.corners[:, part])
        self._canvas.add_shared(density)
        return density[0]

    def _gather(self, image: Canvas) -> LogFlux:
        """Return the mean of an image under the probe at every position: the adjoint of `_spread`."""
        parts = torch.split(self.corners, FRAME_BATCH, dim=1)
        patches = (extract_patches(image[None], part, self._profile.shape[-1])[0] for part in parts)
        return torch.cat([(patch * self._profile).sum((1, 2)) for patch in patches])


def add_slices(values: Float[Tensor, "*slice height width"]) -> Canvas:
    """Return the sum over the slices of a thick sample; values of a thin one as they are."""
    return values.sum(0) if values.ndim == 3 else values


def object_slopes(canvas: Sample) -> Complex[Tensor, "2 *slice height width"]:
    """Return the derivatives of an object by y and x, per pixel, by central differences; 0 at the edges.

    >>> ramp = torch.arange(4.0)[:, None].expand(4, 3) + 0j
    >>> object_slopes(ramp)[:, 1, 1].tolist()
    [(1+0j), 0j]
    """
    slopes = canvas.new_zeros((2, *canvas.shape))
    slopes[0, ..., 1:-1, :] = (canvas[..., 2:, :] - canvas[..., :-2, :]) / 2
    slopes[1, ..., 1:-1] = (canvas[..., 2:] - canvas[..., :-2]) / 2
    return slopes


def mean_slope_power(slopes: Complex[Tensor, "2 *slice height width"], illumination: Canvas) -> Level:
    """Return the mean squared slope of an object along one axis, weighted by its illumination, per pixel squared.

    Args:
        slopes: Derivatives by y and x, of all slices.
        illumination: Photons on every object pixel.
    """
    power = (add_slices(slopes.abs().square().sum(0)) * illumination).sum() / (2 * illumination.sum())
    return power.clamp(min=1e-12).double()
