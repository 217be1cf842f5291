"""One pass over the data: the likelihood of the counts and its gradient, patterns in cache-sized batches.

On CPU the batches are dealt out to threads, one per core: batches this small are too short for threads to share.

A pass costs two FFTs per pattern and mode for integer positions, and for others too where the probe is known; with an
unknown probe or unknown positions, a sub-pixel shift of the probe adds one, and its adjoint another.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from ptypinn.data.pattern_batches import BatchSequence, FrameTerms, PatternBatches
from ptypinn.losses import HELD_OUT_DEVIANCE, Likelihood
from ptypinn.physics.forward import (
    Diffraction,
    ForwardModel,
    ObjectPatches,
    beam_gradient,
    beam_ramp,
)
from ptypinn.physics.interaction import (
    CanvasPatches,
    add_modes,
    add_object_directions,
    detect,
    to_probe_directions,
    weigh_fields,
)
from ptypinn.physics.patches import add_patches
from ptypinn.physics.probe_variation import ProbeVariation, VariationAdjoint, VaryingProbe
from ptypinn.physics.ramps import Ramps, add_unramped
from ptypinn.solvers.distributed.canvas import WHOLE, CanvasPart
from ptypinn.solvers.quasi_newton.held_out import HeldOutPixels
from ptypinn.solvers.quasi_newton.moved_probes import HeldProbes, move_spectra
from ptypinn.solvers.quasi_newton.unknowns import Background, Unknowns
from ptypinn.types import Corners, Fractions, Patterns, Probe, Probes, Sample, Scalar, Waves
from ptypinn.utils.device import map_threads, read_scalars
from ptypinn.utils.solve_meter import count_pass


@dataclass(frozen=True)
class ObjectiveValue:
    """Value and gradient of the data term at one point."""

    loss: Scalar
    """Sum over all fitted pixels; 0 where it was not asked for."""
    held_out_loss: Scalar
    """Sum over the held-out pixels; 0 where none are held out, or where it was not asked for."""
    gradient: Unknowns
    """The loss changes by `2 Re<gradient, step>` to first order."""

    def read_losses(self) -> ObjectiveValue:
        """Return the same value with its losses read from the device, with one wait for it."""
        loss, held_out_loss = read_scalars(self.loss, self.held_out_loss)
        return replace(self, loss=loss, held_out_loss=held_out_loss)


@dataclass(frozen=True)
class Objective:
    """The data term of a scan as a function of the unknowns."""

    stack: PatternBatches
    corners: Corners
    likelihood: Likelihood
    probe: Probe
    """Used where the probe is not among the unknowns."""
    shifts: Fractions | None = None
    """Used where the shifts are not among the unknowns; None for integer positions."""
    terms: FrameTerms = FrameTerms()  # noqa: RUF009 - frozen
    """Terms of the experiment, used where they are not among the unknowns."""
    held_out: HeldOutPixels | None = None
    held_probes: HeldProbes = field(default_factory=HeldProbes, compare=False, repr=False)
    """The probe at sub-pixel positions, where neither is among the unknowns."""
    canvas: CanvasPart = WHOLE
    """Rows of the canvas that the patterns lie on."""

    @property
    def model(self) -> ForwardModel:
        """The forward model of the geometry."""
        return self.terms.model

    def __call__(self, at: Unknowns, *, loss: bool = True) -> ObjectiveValue:
        """Evaluate the gradient, and the loss where asked for, at one point."""
        self._count(at, 2)
        totals = self._pass(at, functools.partial(self._add_descent, with_loss=loss))
        totals.add_others(self.canvas)
        return totals.evaluation()

    def loss(self, at: Unknowns) -> float:
        """The loss alone, for half the work."""
        self._count(at, 1)
        totals = self._pass(at, self._add_loss)
        self.canvas.add_up(totals.loss)
        return float(totals.loss)

    def _count(self, at: Unknowns, directions: int) -> None:
        """Count a pass, with a transform per pattern, mode, slice and direction."""
        scan, probe = self.stack.scan, self.probe if at.probe is None else at.probe
        count_pass(scan.n_patterns, directions * self.model.slices * len(probe), scan.size, directions / 2)

    def _add_descent(
        self, totals: _Totals, batch: _Batch, part: slice, counts: Patterns, *, with_loss: bool = True
    ) -> None:
        fields = batch.diffraction.fields
        if self._compares_fields and totals.background is None and totals.log_flux is None:
            totals.loss += self.likelihood.weigh(fields, counts, self.stack.good, with_loss=with_loss)
        else:
            weigh_fields(fields, self._residual(totals, batch, counts, part, with_loss))
        self._descend(totals, batch, part)

    @property
    def _compares_fields(self) -> bool:
        """True where the intensities of the fields are the expected counts, and all good pixels are fitted."""
        return self.terms.blur is None and self.terms.background is None and self.held_out is None

    def _add_loss(self, totals: _Totals, batch: _Batch, part: slice, counts: Patterns) -> None:
        self._residual(totals, batch, counts, part, True)

    def _pass(self, at: Unknowns, add: Callable[[_Totals, _Batch, slice, Patterns], None]) -> _Totals:
        parts = self.stack.split(torch.get_num_threads() if self.stack.device.type == "cpu" else 1)
        first, *others = map_threads(functools.partial(self._sum, at, self._waves(at), add), parts)
        for totals in others:
            first.add(totals)
        return first

    def _sum(
        self,
        at: Unknowns,
        waves: _ProbeWaves,
        add: Callable[[_Totals, _Batch, slice, Patterns], None],
        batches: BatchSequence,
    ) -> _Totals:
        totals = _Totals(at, waves)
        for part, counts in batches:
            add(totals, self._forward(at, waves, part), part, counts)
        return totals

    def _waves(self, at: Unknowns) -> _ProbeWaves:
        probe, held = self.probe if at.probe is None else at.probe, self.terms.variation
        variation = held if held is None or at.variation is None else ProbeVariation(at.variation, held.weights)
        are_spectra = at.shifts is not None or self.shifts is not None
        if are_spectra:
            probe = torch.fft.fft2(probe)
            variation = variation and variation._replace(images=torch.fft.fft2(variation.images))
        return _ProbeWaves(probe, variation and VaryingProbe.of(probe, variation), are_spectra)

    def _forward(self, at: Unknowns, waves: _ProbeWaves, part: slice) -> _Batch:
        beam_px = self.terms.beam_px if at.beam_px is None else at.beam_px
        turns = None if beam_px is None else beam_ramp(beam_px[part], self.stack.scan.size)
        patches = self._patches(at.object, part, turns)
        modes = waves.probe[None] if waves.varying is None else waves.varying.compute_modes(part)
        probes, ramps = modes, None
        if waves.are_spectra:
            shifts = self.shifts if at.shifts is None else at.shifts
            assert shifts is not None
            if at.probe is None and at.shifts is None and waves.varying is None:
                probes, ramps = self.held_probes.move(self.probe, modes, shifts, part)
            else:
                probes, ramps = move_spectra(modes, shifts[part])
        diffraction = self.model.diffract(patches, probes, ramps)
        roots = self._flux_roots(at, part)
        if roots is not None:
            diffraction.fields.mul_(roots[:, None])
        background = self.terms.background if at.background is None else at.background
        return _Batch(diffraction, modes, ramps, turns, roots, background)

    def _patches(
        self, canvas: Sample, part: slice, turns: Complex[Tensor, "batch y x"] | None
    ) -> ObjectPatches | CanvasPatches:
        """Return the patches of a batch: on the canvas where nothing is to be done to them."""
        if canvas.ndim == 2 and self.model.gaps is None and turns is None:
            return CanvasPatches(canvas, self.corners[0, part])
        canvases = canvas if canvas.ndim == 3 else canvas[None]
        patches = self.model.cut(canvases, self.corners[:, part], self.stack.scan.size)
        if turns is not None:
            patches.mul_(turns) if patches.ndim == 3 else patches[-1].mul_(turns)
        return patches

    def _flux_roots(self, at: Unknowns, part: slice) -> Float[Tensor, "batch 1 1"] | None:
        if at.log_flux is not None:
            return torch.exp(at.log_flux[part] / 2)[:, None, None]
        flux = self.terms.flux
        return None if flux is None else flux[part].sqrt()[:, None, None]

    def _residual(self, totals: _Totals, batch: _Batch, counts: Patterns, part: slice, with_loss: bool) -> Patterns:
        diffracted, blur = detect(batch.diffraction.fields), self.terms.blur
        expected = diffracted if blur is None else blur.spread(diffracted)
        expected = expected if batch.background is None else expected + batch.background
        residual = self.likelihood.residual(expected, counts)
        if not self.stack.all_good:
            residual.mul_(self.stack.good)
        if self.held_out is not None:
            pixels, weights = self.held_out.select(part)
            if with_loss:
                held, measured = (image.flatten(1).gather(1, pixels)[:, None] for image in (expected, counts))
                deviance = HELD_OUT_DEVIANCE.loss(held, HELD_OUT_DEVIANCE.residual(held, measured))
                totals.held_out += (deviance[:, 0] * weights).sum(dtype=torch.float64)
            residual.view(len(residual), -1).scatter_(1, pixels, 0.0)
        if with_loss:
            totals.loss += self.likelihood.total_loss(expected, residual)
        if totals.background is not None:
            totals.background += residual.sum(0) / 2
        residual = residual if blur is None else blur.adjoint(residual)
        if totals.log_flux is not None:
            totals.log_flux[part] = (residual * diffracted).sum((1, 2)) / 2
        return residual

    def _descend(self, totals: _Totals, batch: _Batch, part: slice) -> None:
        """Add a batch's part of the descent direction.

        Args:
            totals: The sums.
            batch: The forward pass, its fields times the residual of the counts before the point spread; overwritten.
            part: Patterns of the batch.
        """
        if batch.roots is not None:
            batch.diffraction.fields.mul_(batch.roots[:, None])
        moves, spectra = totals.shifts, batch.diffraction.spectra

        def move_detector(directions: Waves) -> None:
            if moves is not None and spectra is not None:
                moves[part] -= _shift_gradient(directions, spectra)

        waves = self.model.exit_residual(batch.diffraction, move_detector)
        moves_probe = totals.probe is not None or totals.shifts is not None
        patches = batch.diffraction.patches
        if isinstance(patches, CanvasPatches):
            add_object_directions(waves, batch.diffraction.incident[0], patches.corners, totals.object)
            waves = to_probe_directions(waves, patches) if moves_probe else waves
        else:
            directions, waves = self.model.sample_adjoint(batch.diffraction, waves, with_probe=moves_probe)
            if totals.beam_px is not None:
                last = (one if one.ndim == 3 else one[-1] for one in (patches, directions))
                totals.beam_px[part] = beam_gradient(*last)
            if batch.turns is not None:
                directions = self.model.turn(directions, batch.turns.conj())
            totals.add_object_gradient(directions, self.corners[:, part])
        if moves_probe:
            totals.add_probe_gradient(waves, batch, part)


class _ProbeWaves(NamedTuple):
    """Modes of the probe; their spectra where they are shifted."""

    probe: Probe
    varying: VaryingProbe | None
    """The modes in every frame, where they vary."""
    are_spectra: bool


class _Batch(NamedTuple):
    """The forward pass of a batch of patterns."""

    diffraction: Diffraction
    modes: Probes
    """Modes of every frame before their shift; their spectra where they are shifted."""
    ramps: Ramps | None
    """Ramps that shift the modes."""
    turns: Complex[Tensor, "batch y x"] | None
    """Ramps on the patches that move the patterns over the detector."""
    roots: Float[Tensor, "batch 1 1"] | None
    """Square root of the flux of every frame, which multiplies its fields."""
    background: Background | None
    """Counts of every frame beside the diffraction."""


class _Totals:
    """Running sums of one pass, on the device; nothing waits for it.

    The sums are of the descent direction; the gradient is their negative.
    """

    def __init__(self, at: Unknowns, waves: _ProbeWaves) -> None:
        self.object = _zeros_like(at.object)
        self.probe = None if at.probe is None else _zeros_like(at.probe)
        self.shifts = None if at.shifts is None else _zeros_like(at.shifts)
        self.log_flux = None if at.log_flux is None else _zeros_like(at.log_flux)
        self.background = None if at.background is None else _zeros_like(at.background)
        self.beam_px = None if at.beam_px is None else _zeros_like(at.beam_px)
        self.loss = torch.zeros((), dtype=torch.float64, device=at.object.device)
        self.held_out = torch.zeros((), dtype=torch.float64, device=at.object.device)
        varying = None if at.probe is None else waves.varying
        self._variation = None if varying is None else VariationAdjoint(varying)
        self._are_spectra, self._solves_variation = waves.are_spectra, at.variation is not None

    def add_object_gradient(self, directions: ObjectPatches, corners: Corners) -> None:
        """Add the descent directions of patches."""
        if directions.ndim == 3:
            add_patches(self.object[None], directions[None], corners)
        else:
            add_patches(self.object, directions, corners.expand(len(directions), -1, -1))

    def add_probe_gradient(self, waves: Waves, batch: _Batch, part: slice) -> None:
        """Add the gradient of probe, variation and shifts.

        Args:
            waves: Residual waves times the conjugate patches.
            batch: The forward pass.
            part: Patterns of the batch.
        """
        if batch.ramps is not None:
            waves = torch.fft.fft2(waves)
            if self.shifts is None and self._variation is None and self.probe is not None:
                add_unramped(waves, batch.ramps, self.probe)
                return
            waves.mul_(batch.ramps.factors().conj()[:, None])
            if self.shifts is not None:
                self.shifts[part] += _shift_gradient(waves, batch.modes)
        if self._variation is not None:
            self._variation.add(waves, part)
        elif self.probe is not None:
            self.probe += waves.sum(0)

    def add(self, other: _Totals) -> None:
        """Add the sums of another share of the patterns."""
        for name in ("object", "probe", "shifts", "log_flux", "background", "beam_px", "loss", "held_out"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine is not None:
                mine += theirs
        if self._variation is not None and other._variation is not None:
            self._variation.merge(other._variation)

    def add_others(self, canvas: CanvasPart) -> None:
        """Add the sums of other processes, whose patterns lie on other parts of the canvas."""
        canvas.add_shared(self.object)
        parts = (self.probe, self.background, self.loss, self.held_out)
        varying = () if self._variation is None else self._variation.totals
        canvas.add_up(*(part for part in parts if part is not None), *varying)

    def evaluation(self) -> ObjectiveValue:
        """Gather the sums."""
        probe, images = (self.probe, None) if self._variation is None else self._variation.evaluate()
        if self._are_spectra:
            probe, images = (block if block is None else torch.fft.ifft2(block) for block in (probe, images))
        images = images if self._solves_variation else None
        descent = Unknowns(self.object, probe, self.shifts, self.log_flux, self.background, self.beam_px, images)
        return ObjectiveValue(self.loss, self.held_out, descent.scaled(-1.0))


def _shift_gradient(moved: Waves, spectrum: Probes) -> Float[Tensor, "batch 2"]:
    """Half the derivative by each shift: the Fourier ramp's derivative is a multiplication by `-2 pi i q`."""
    size = moved.shape[-1]
    q = -2 * torch.pi * torch.fft.fftfreq(size, device=moved.device)
    slope = add_modes(spectrum.conj() * moved).imag / size**2
    return torch.stack([(slope.sum(2) * q).sum(1), (slope.sum(1) * q).sum(1)], 1)


def _zeros_like(block: Tensor) -> Tensor:
    """Return zeros of the shape of a block, contiguous whatever its own strides are: compiled loops add to them."""
    return torch.zeros_like(block, memory_format=torch.contiguous_format)
