"""An approximate inverse Hessian of the likelihood, in two levels.

The first level divides by the illumination: a change of the object costs as many photons as illuminate it. It also
damps fine detail by how smooth objects are expected to be, so that what the sample shows comes before the counting
noise, which is fine-grained; detail that the data insist on still comes, later. The second level mends what the first
cannot see: one pattern says little about a phase that varies slowly across its probe. The curvature for a phase ripple
of wave number k falls as `(k w)**2`, w being the rms half-width of the probe's power: a uniform phase changes no
pattern and a slow one only shifts it a little. So the smooth part of the phase gradient is amplified by its inverse.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from scipy.fft import next_fast_len
from torch import Tensor

from ptypinn.physics.illumination import illumination_of
from ptypinn.solvers.quasi_newton.unknowns import Unknowns
from ptypinn.types import Corners, Object, Probe

FLOOR = 0.05
"""Illumination below this share of its maximum does not make steps larger."""
CAP = 100.0
"""Amplification of slow phases that every scan bears."""
EVEN = 20.0
"""Amplification that the light bears per square of the length over which it is even, in half-widths of the probe: a
phase that follows the gaps between sparse positions is not as slow as it seems, and longer steps diverge."""
PIXEL_VARIANCE = 1 / 12
"""Mean squared distance of a pixel's area from its centre along one axis, pixels squared."""
WELL_LIT = 0.3
"""Share of the largest illumination above which a pixel counts in `Levels`."""


Light = Float[Tensor, "height width"]


def rms_half_width(power: Float[Tensor, "y x"]) -> float:
    """Root mean square distance of the probe's power from its centre along one axis, pixels; at least a pixel's own."""
    share = (power / power.sum()).double()
    variance = 0.0
    for axis in (0, 1):
        marginal = share.sum(1 - axis)
        place = torch.arange(len(marginal), device=power.device, dtype=torch.float64)
        mean = (marginal * place).sum()
        variance += float((marginal * (place - mean).square()).sum()) / 2
    return max(variance, PIXEL_VARIANCE) ** 0.5


@dataclass(frozen=True)
class Levels:
    """Overall light and transmission: units of the preconditioner, which a window of a scan takes from the whole."""

    peak: float
    """Largest illumination, photons per pixel."""
    light: float
    """Mean illumination where it is above `WELL_LIT` of the peak, photons per pixel."""
    object_power: float
    """Mean squared amplitude of the object there."""
    even_px2: float
    """Square of the length over which the light is even, as `even_sums` has it, pixels."""


def levels_of(illumination: Light, canvas: Object, brightest: float) -> Levels:
    """The levels of a scan.

    Args:
        illumination: Photons on every object pixel over the scan.
        canvas: Object, (height, width).
        brightest: Largest intensity of the probe, photons per pixel.
    """
    peak = illumination.max()
    lit = illumination > WELL_LIT * peak
    held, uneven = even_sums(illumination, brightest)
    even = float(held / uneven.clamp(min=1e-30))
    return Levels(float(peak), mean_light(illumination), float(canvas[lit].abs().square().mean()), even)


def mean_light(illumination: Light) -> float:
    """Mean illumination where it is above `WELL_LIT` of its peak, photons per pixel."""
    return float(illumination[illumination > WELL_LIT * illumination.max()].mean())


def taper_of(illumination: Light, brightest: float) -> Light:
    """1 where enough light falls, less elsewhere: what the phase is tapered by."""
    return (2 * illumination / brightest).clamp(max=1)


def even_sums(illumination: Light, brightest: float, rows: int | None = None) -> tuple[Tensor, Tensor]:
    """Sums of light times the taper squared and of light times its slope squared: their ratio is a length squared.

    Args:
        illumination: Photons on every object pixel.
        brightest: Largest intensity of the probe, photons per pixel.
        rows: The first rows that are summed over; all where None. The one after them, where there is one, tells the
            slope of the last.
    """
    taper = taper_of(illumination, brightest)
    light, height = illumination.double(), len(illumination) if rows is None else rows
    down = ((light[1:] + light[:-1]) * (taper[1:] - taper[:-1]).square())[:height]
    across = ((light[:, 1:] + light[:, :-1]) * (taper[:, 1:] - taper[:, :-1]).square())[:height]
    return (light * taper.square())[:height].sum(), (down.sum() + across.sum()) / 2


@dataclass(frozen=True)
class Smoothness:
    """Expected spectrum of the object: `1 / (1 + (k / corner)**power) + floor`, k in radians per pixel."""

    corner: float
    power: float
    floor: float


class Preconditioner:
    """Symmetric, positive approximation of the inverse Hessian, refreshed when the probe has changed."""

    def __init__(
        self, corners: Corners, extent: tuple[int, int], smoothness: Smoothness, size: int, cap: float = CAP
    ) -> None:
        """Prepare for a scan.

        Args:
            corners: Integer patch corners, (1, positions, 2).
            extent: Canvas height and width, pixels.
            smoothness: Expected spectrum of the object.
            size: Edge of a pattern, pixels: more than the reach of the damping.
            cap: Largest amplification of slow phases, where the light is even enough for it.
        """
        self.corners, self.extent, self.most = corners, extent, cap
        self.padded = tuple(next_fast_len(2 * edge, real=True) for edge in extent)
        self._around = tuple(next_fast_len(edge + size) for edge in extent)
        self._spectrum = self._expected_spectrum(smoothness)

    def refresh(self, at: Unknowns, probe: Probe, levels: Levels | None = None) -> None:
        """Take illumination, probe width and levels from a point.

        Args:
            at: The point.
            probe: Modes, (mode, y, x), sqrt(photons).
            levels: Those of the whole scan, where this is a window of it; found on the canvas where None.
        """
        power = probe.abs().square().sum(0)
        brightest, half_width = float(power.max()), rms_half_width(power)
        self.illumination = illumination_of(probe, self.corners, *self.extent)
        self.levels = found = levels or levels_of(self.illumination, at.object, brightest)
        self.cap = min(self.most, max(CAP, EVEN * found.even_px2 / half_width**2))
        self._root = torch.rsqrt(self.illumination + FLOOR * found.peak)
        self._taper = taper_of(self.illumination, brightest)
        self._smoothing = self._phase_filter(half_width) / (found.light * found.object_power)
        self._probe_inverse = 1 / (self.corners.shape[1] * found.object_power)
        self._shift_inverse = 1 / (self._slope_power(probe) * found.object_power)

    def __call__(self, gradient: Unknowns, at: Unknowns) -> Unknowns:
        """Approximate inverse Hessian times gradient."""
        step = self._damp(gradient.object * self._root) * self._root
        phase = self._smooth((at.object.conj() * gradient.object).imag)
        return Unknowns(
            torch.complex(step.real - at.object.imag * phase, step.imag + at.object.real * phase),
            None if gradient.probe is None else gradient.probe * self._probe_inverse,
            None if gradient.shifts is None else gradient.shifts * self._shift_inverse,
        )

    def _damp(self, image: Complex[Tensor, "height width"]) -> Complex[Tensor, "height width"]:
        height, width = self.extent
        return torch.fft.ifft2(torch.fft.fft2(image, s=self._around).mul_(self._spectrum))[:height, :width]

    def _expected_spectrum(self, smoothness: Smoothness) -> Float[Tensor, "ky kx"]:
        ky, kx = (2 * torch.pi * torch.fft.fftfreq(edge, device=self.corners.device) for edge in self._around)
        k = torch.sqrt(ky[:, None].square() + kx.square())
        return 1 / (1 + (k / smoothness.corner) ** smoothness.power) + smoothness.floor

    def _smooth(self, phase: Float[Tensor, "height width"]) -> Float[Tensor, "height width"]:
        spectrum = torch.fft.rfft2(phase * self._taper, s=self.padded).mul_(self._smoothing)
        height, width = self.extent
        return torch.fft.irfft2(spectrum, s=self.padded)[:height, :width] * self._taper

    def _phase_filter(self, half_width: float) -> Float[Tensor, "ky kx"]:
        device = self.corners.device
        ky = 2 * torch.pi * torch.fft.fftfreq(self.padded[0], device=device)[:, None]
        kx = 2 * torch.pi * torch.fft.rfftfreq(self.padded[1], device=device)
        return 1 / ((ky.square() + kx.square()) * half_width**2 + 1 / self.cap)

    def _slope_power(self, probe: Probe) -> Tensor:
        q = 2 * torch.pi * torch.fft.fftfreq(probe.shape[-1], device=probe.device)
        spectrum = torch.fft.fft2(probe, norm="ortho").abs().square().sum(0)
        return (spectrum.sum(1) * q.square()).sum() / 2 + (spectrum.sum(0) * q.square()).sum() / 2
