"""The exposure of a real experiment: optics, flux, motion and detector beside their ideal, as pure functions.

The expected counts of a frame are `D(g sum_m |propagate(P_m(t) O(r + p(t)))|^2 + B)`, averaged over the exposure: flux
g, probe modes that vary, positions p(t) during the exposure, background B, point spread D.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ptypinn.physics.detector import point_spread
from ptypinn.physics.forward import FAR_FIELD, ForwardModel, beam_ramp
from ptypinn.physics.patches import extract_patches, phase_ramp, split_positions
from ptypinn.physics.propagation import to_centred
from ptypinn.types import Object, Positions, Probe, Probes

Frames = Float[Tensor, "batch y x"]
"""Expected counts in the order of the detector, zero frequency at `N//2`."""


@dataclass(frozen=True)
class Exposure:
    """Deviations of frames from the ideal exposure; None where there is none."""

    flux: Float64[Tensor, " batch"] | None = None
    """Factor on the photons of every frame."""
    path_px: Float64[Tensor, "batch 2"] | None = None
    """Motion (y, x) during every exposure, object pixels, its middle at the frame's position."""
    aberrations_rad: Float64[Tensor, "batch 3"] | None = None
    """Defocus and tilts (y, x) of the probe: phases at the rim of the pupil, radians."""
    beam_px: Float64[Tensor, "batch 2"] | None = None
    """Direct beam (y, x) from the centre of the pattern, detector pixels."""
    background: Float64[Tensor, "y x"] | None = None
    """Photons of the background per pixel."""
    point_spread_px: float = 0.0
    """Standard deviation of the detector's point spread, detector pixels."""

    def take(self, part: slice) -> Exposure:
        """Return the deviations of some of the frames."""
        names = ("flux", "path_px", "aberrations_rad", "beam_px")
        chosen = {name: None if (value := getattr(self, name)) is None else value[part] for name in names}
        return Exposure(**chosen, background=self.background, point_spread_px=self.point_spread_px)

    @property
    def steps(self) -> int:
        """Number of positions that stand for the motion during an exposure."""
        longest = 0.0 if self.path_px is None else float(self.path_px.norm(dim=1).max())
        return 1 if longest == 0 else math.ceil(longest - 1e-6) + 3


def expose_frames(
    canvas: Object, probe: Probe, positions: Positions, exposure: Exposure, model: ForwardModel = FAR_FIELD
) -> Frames:
    """Return the expected counts of frames of a real experiment.

    Args:
        canvas: Object, (height, width), complex128 for double precision.
        probe: True modes, (mode, y, x), sqrt(photons).
        positions: Coordinates (y, x) of the probe array's pixel (0, 0), (batch, 2); motion must stay on the canvas.
        exposure: Deviations of these frames, one entry per position.
        model: Forward model of the ideal exposure.
    """
    places, weights = sample_motion(positions, exposure.path_px, exposure.steps)
    corners, _ = split_positions(places.flatten(0, 1))
    patches = extract_patches(canvas[None], corners, probe.shape[-1])[0]
    modes = probe[None] if exposure.aberrations_rad is None else aberrate_probe(probe, exposure.aberrations_rad)
    modes = modes.expand(len(positions), -1, -1, -1).repeat_interleave(len(weights), 0)
    moves = phase_ramp(places.flatten(0, 1) - corners[0], probe.shape[-1])
    probes = torch.fft.ifft2(torch.fft.fft2(modes) * moves[:, None])
    if exposure.beam_px is not None:
        turns = beam_ramp(exposure.beam_px, probe.shape[-1]).repeat_interleave(len(weights), 0)
        probes = probes * turns[:, None]
    counts = to_centred(model.predict_counts(patches, probes))
    frames = torch.einsum("bsyx,s->byx", counts.view(len(positions), len(weights), *counts.shape[1:]), weights)
    if exposure.flux is not None:
        frames = frames * exposure.flux[:, None, None]
    if exposure.background is not None:
        frames = frames + exposure.background
    return spread_points(frames, exposure.point_spread_px)


def sample_motion(
    positions: Positions, path_px: Float64[Tensor, "batch 2"] | None, steps: int
) -> tuple[Float64[Tensor, "batch step 2"], Float64[Tensor, " step"]]:
    """Return positions during the exposure and their weights, which sum to 1 (Gauss-Legendre quadrature).

    Args:
        positions: Position in the middle of the exposure, (batch, 2), pixels.
        path_px: Motion from start to end, (batch, 2), pixels; None for none.
        steps: Number of positions.

    >>> places, weights = sample_motion(torch.zeros(1, 2).double(), torch.tensor([[0.0, 6.0]]).double(), 2)
    >>> [round(x, 3) for x in places[0, :, 1].tolist()], weights.tolist()
    ([-1.732, 1.732], [0.5, 0.5])
    """
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    times, shares = torch.from_numpy(nodes / 2), torch.from_numpy(weights / 2)
    if path_px is None:
        return positions.double()[:, None], torch.ones(1, dtype=torch.float64)
    return positions.double()[:, None] + times[:, None] * path_px[:, None], shares


def aberrate_probe(probe: Probe, aberrations_rad: Float[Tensor, "batch 3"]) -> Probes:
    """Return the probe of every frame, defocused and tilted in its pupil; every mode keeps its power.

    Args:
        probe: Modes, (mode, y, x).
        aberrations_rad: Phases of defocus and of tilts (y, x) at the rim of the pupil, radians, (batch, 3). A tilt of
            the wave in the pupil moves the beam on the sample.
    """
    spectrum = torch.fft.fft2(probe)
    frequency = torch.fft.fftfreq(probe.shape[-1], dtype=torch.float64) / pupil_rim(probe)
    y, x = frequency[:, None].expand(probe.shape[-2:]), frequency.expand(probe.shape[-2:])
    terms = torch.stack([y.square() + x.square(), y, x]).to(aberrations_rad.dtype)
    phase = torch.einsum("bk,kyx->byx", aberrations_rad, terms)
    return torch.fft.ifft2(spectrum * torch.polar(torch.ones_like(phase), phase)[:, None].to(spectrum.dtype))


def pupil_rim(probe: Probe) -> float:
    """Return the radius of the uniform pupil with the spread of a probe's spectrum, cycles per pixel.

    >>> round(pupil_rim(torch.fft.ifft2(torch.ones(1, 64, 64) + 0j)), 2)  # a point fills the detector
    0.58
    """
    power = torch.fft.fft2(probe.to(torch.complex128)).abs().square().sum(0)
    frequency = torch.fft.fftfreq(probe.shape[-1], dtype=torch.float64)
    weights = [power.sum(1) / power.sum(), power.sum(0) / power.sum()]
    spread = sum(float((weight * (frequency - (weight * frequency).sum()).square()).sum()) for weight in weights)
    return math.sqrt(2 * spread)


def tilt_object(canvas: Object, deflection_px: tuple[float, float], size: int) -> Object:
    """Return a sample with a wedge, which deflects the beam on detectors of `size` pixels, (height, width).

    Args:
        canvas: Object, (height, width).
        deflection_px: Deflection (y, x), detector pixels.
        size: Edge of the patterns, pixels.
    """
    axes = [torch.arange(n, dtype=torch.float64) - n // 2 for n in canvas.shape]
    turns = [2 * torch.pi / size * step * axis for step, axis in zip(deflection_px, axes, strict=True)]
    phase = turns[0][:, None] + turns[1]
    return (canvas * torch.polar(torch.ones_like(phase), phase)).to(canvas.dtype)


def spread_points(frames: Frames, spread_px: float) -> Frames:
    """Blur frames by a Gaussian point spread; light that leaves the detector is lost.

    Args:
        frames: Expected counts, (batch, y, x), zero frequency at `N//2`.
        spread_px: Standard deviation, pixels; 0 for none.
    """
    if spread_px == 0:
        return frames
    blur = torch.fft.fftshift(point_spread(frames.shape[-1], spread_px)).to(frames.dtype)
    return blur @ frames @ blur
