"""An approximate inverse Hessian of the likelihood, in two levels.

The first level divides by the illumination: a change of the object costs as many photons as illuminate it. It also
damps fine detail by the expected smoothness of objects, so that the sample comes before the counting noise, which is
fine-grained; detail that the data demand still comes, later. The second level corrects slow phases, which the first
treats as any other: one pattern hardly determines a phase that varies slowly across its probe. The curvature for a
phase ripple of wave number k falls as `(k w)**2`, w being the rms half-width of the probe's power: a uniform phase
changes no pattern and a slow one only shifts it a little. So the smooth part of the phase gradient is amplified by its
inverse. In the near field it is the phase delay of the ripple on its way, `k**2 / (4 pi F)` with the Fresnel number F
of a pixel, in place of `k w`: its sine is the contrast that propagation makes of a phase.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Float64
from scipy.fft import next_fast_len
from torch import Tensor

from ptypinn.data.pattern_batches import PatternBatches
from ptypinn.physics.patches import compute_illumination
from ptypinn.physics.probe_variation import Images
from ptypinn.solvers.distributed.canvas import WHOLE, CanvasPart
from ptypinn.solvers.quasi_newton.background import BackgroundSteps
from ptypinn.solvers.quasi_newton.frame_steps import FrameSteps
from ptypinn.solvers.quasi_newton.slice_steps import SliceSteps
from ptypinn.solvers.quasi_newton.unknowns import Background, Unknowns
from ptypinn.solvers.quasi_newton.variation_steps import VariationSteps
from ptypinn.types import Corners, Probe, Sample, Scalar

FLOOR = 0.05
"""Illumination below this fraction of its maximum does not make steps larger."""
CAP = 100.0
"""Amplification of slow phases that is stable on every scan."""
UNIFORMITY_CAP = 20.0
"""Stable amplification per square of the length over which the illumination is uniform, in half-widths of the probe: a
phase that follows the gaps between sparse positions is not as slow as it seems, and longer steps diverge."""
MIN_MODE_POWER = 0.01
"""Power of a mode, over that of the strongest one, below which its steps are not made longer."""
PIXEL_VARIANCE = 1 / 12
"""Mean squared distance of a pixel's area from its centre along one axis, pixels squared."""
WELL_ILLUMINATED = 0.3
"""Fraction of the largest illumination above which a pixel counts in `IlluminationStats`: the interior of a scan, whose
mean is the dose, not its faint rim."""


Illumination = Float[Tensor, "height width"]
Level = Float64[Tensor, ""]


def rms_half_width(power: Float[Tensor, "y x"]) -> Level:
    """Return the rms distance of the probe's power from its centre along one axis, pixels; at least a pixel's own.

    >>> line = torch.zeros(8, 8)
    >>> line[:, 3] = 1.0
    >>> round(float(rms_half_width(line)), 3)
    1.62
    """
    fraction = (power / power.sum()).double()
    variance = fraction.new_zeros(())
    for axis in (0, 1):
        marginal = fraction.sum(1 - axis)
        place = torch.arange(len(marginal), device=power.device, dtype=torch.float64)
        mean = (marginal * place).sum()
        variance = variance + (marginal * (place - mean).square()).sum() / 2
    return variance.clamp(min=PIXEL_VARIANCE).sqrt()


def gain_modes(probe: Probe) -> Float[Tensor, "mode 1 1"]:
    """Return factors by which the steps of weaker modes are longer than those of the strongest.

    What a mode changes of the counts is in proportion to its field, so that the curvature along a change of its size is
    in proportion to its share of the power; along one that mixes it with stronger modes it is not. The root lies
    between. Measured to save iterations in the near field, and none in the far field.

    >>> gain_modes(torch.tensor([[[2.0 + 0j]], [[1.0 + 0j]]])).flatten().tolist()
    [1.0, 2.0]
    """
    power = probe.abs().square().sum((1, 2), keepdim=True)
    return (power / power.max()).clamp(min=MIN_MODE_POWER).rsqrt()


@dataclass(frozen=True)
class IlluminationStats:
    """Overall illumination and transmission: units of the preconditioner, which a tile takes from the whole scan."""

    peak: Scalar
    """Largest illumination, photons per pixel."""
    mean: Scalar
    """Mean illumination where it is above `WELL_ILLUMINATED` of the peak, photons per pixel."""
    object_power: Scalar
    """Mean squared amplitude of the object there."""
    uniform_px2: Scalar
    """Square of the length over which the illumination is uniform, from `sum_uniformity`, pixels."""

    def levels(self, device: torch.device) -> tuple[Level, Level, Level, Level]:
        """Return the values on a device, in the order of the fields."""
        values = (self.peak, self.mean, self.object_power, self.uniform_px2)
        peak, mean, power, uniform = (torch.as_tensor(each, dtype=torch.float64, device=device) for each in values)
        return peak, mean, power, uniform


def compute_illumination_stats(
    illumination: Illumination, canvas: Sample, brightest: Scalar, part: CanvasPart = WHOLE
) -> IlluminationStats:
    """Compute the overall illumination and transmission of a scan.

    Args:
        illumination: Photons on every object pixel over the scan.
        canvas: Object, (height, width), or its slices.
        brightest: Largest intensity of the probe, photons per pixel.
        part: Rows of the canvas that these are.
    """
    peak, own = part.reduce(illumination.max(), "max"), part.own(illumination)
    interior = own > WELL_ILLUMINATED * peak
    tapered, slopes = sum_uniformity(part.own(illumination, after=1), brightest, len(own))
    part.add_up(tapered, slopes)
    uniform = tapered / slopes.clamp(min=1e-30)
    power = _mean_where(interior, part.own(canvas).abs().square(), part)
    return IlluminationStats(peak.double(), _mean_where(interior, own, part), power, uniform)


def mean_illumination(illumination: Illumination) -> Level:
    """Return the mean illumination where it is above `WELL_ILLUMINATED` of its peak, photons per pixel.

    >>> float(mean_illumination(torch.tensor([[100.0, 80.0, 1.0]])))
    90.0
    """
    return _mean_where(illumination > WELL_ILLUMINATED * illumination.max(), illumination)


def _mean_where(
    chosen: Bool[Tensor, "height width"], values: Float[Tensor, "*slice height width"], part: CanvasPart = WHOLE
) -> Level:
    """Return the mean of the chosen pixels; other devices than the CPU would have to be waited for to select them."""
    if values.device.type == "cpu":
        return part.mean(values[..., chosen].flatten()).double()
    total = torch.where(chosen, values, 0.0).sum(dtype=torch.float64)
    count = (chosen.sum() * (values.numel() // chosen.numel())).double()
    part.add_up(total, count)
    return total / count


def phase_taper(illumination: Illumination, brightest: Scalar) -> Illumination:
    """Return the taper of the phase: 1 where the illumination suffices, less elsewhere."""
    return (2 * illumination / brightest).clamp(max=1)


def sum_uniformity(illumination: Illumination, brightest: Scalar, rows: int | None = None) -> tuple[Tensor, Tensor]:
    """Sum illumination times the taper squared, and times its slope squared: their ratio is a length squared.

    Args:
        illumination: Photons on every object pixel.
        brightest: Largest intensity of the probe, photons per pixel.
        rows: Number of first rows to sum over; all where None. The one after them, where there is one, gives the slope
            of the last.
    """
    taper = phase_taper(illumination, brightest)
    photons, height = illumination.double(), len(illumination) if rows is None else rows
    down = ((photons[1:] + photons[:-1]) * (taper[1:] - taper[:-1]).square())[:height]
    across = ((photons[:, 1:] + photons[:, :-1]) * (taper[:, 1:] - taper[:, :-1]).square())[:height]
    return (photons * taper.square())[:height].sum(), (down.sum() + across.sum()) / 2


@dataclass(frozen=True)
class Smoothness:
    """Expected spectrum of the object: `1 / (1 + (k / corner)**power) + floor`, k in radians per pixel."""

    corner: float
    power: float
    floor: float


class Preconditioner:
    """Symmetric, positive approximation of the inverse Hessian, refreshed when the probe has changed."""

    def __init__(
        self,
        corners: Corners,
        extent: tuple[int, int],
        smoothness: Smoothness,
        size: int,
        cap: float = CAP,
        fresnel_number: float | None = None,
        gaps: Float[Tensor, " gap"] | None = None,
        tilt: tuple[float, float] = (0.0, 0.0),
        gains_modes: bool = False,
        canvas: CanvasPart = WHOLE,
    ) -> None:
        """Prepare for a scan.

        Args:
            corners: Integer patch corners, (1, positions, 2).
            extent: Canvas height and width, pixels.
            smoothness: Expected spectrum of the object.
            size: Edge of a pattern, pixels: more than the reach of the damping.
            cap: Upper bound of the amplification of slow phases, where the illumination is uniform enough for it.
            fresnel_number: Of an object pixel, for a near-field scan; None for the far field.
            gaps: Inverse Fresnel numbers of an object pixel over the gaps between slices; None for a thin sample.
            tilt: Direction (y, x) of the axis along which slices follow each other, cycles per object pixel.
            gains_modes: Make the steps of weaker modes longer, as `gain_modes` has it.
            canvas: Rows of the canvas that `extent` has.
        """
        self._canvas = canvas
        self._gains_modes = gains_modes
        self._fresnel_number = fresnel_number
        self.corners, self.extent, self.max_cap = corners, extent, cap
        whole = canvas.whole_extent or extent
        self.padded = tuple(next_fast_len(2 * edge, real=True) for edge in whole)
        self._around = tuple(next_fast_len(edge + size) for edge in whole)
        self._spectrum = self._expected_spectrum(smoothness)
        self.frames = FrameSteps(corners, extent, canvas)
        self.background: BackgroundSteps | None = None
        self._slices = None if gaps is None else SliceSteps(gaps, self._around, self.padded, tilt)

    def refresh(self, point: Unknowns, probe: Probe, stats: IlluminationStats | None = None) -> None:
        """Take illumination, probe width and overall levels from a point.

        Args:
            point: The point.
            probe: Modes, (mode, y, x), sqrt(photons).
            stats: Those of the whole scan, where this is a tile of it; computed on the canvas where None.
        """
        power = probe.abs().square().sum(0)
        brightest, half_width = power.max().double(), rms_half_width(power)
        self.illumination = compute_illumination(probe, self.corners, *self.extent)
        self._canvas.add_shared(self.illumination)
        if stats is None:
            stats = compute_illumination_stats(self.illumination, point.object, brightest, self._canvas)
        self.stats = stats
        peak, mean, object_power, uniform = stats.levels(self.illumination.device)
        self.cap = (UNIFORMITY_CAP * uniform / half_width**2).clamp(min=CAP).clamp(max=self.max_cap)
        self._root = torch.rsqrt(self.illumination + FLOOR * peak)
        self._taper = phase_taper(self.illumination, brightest)
        self._smoothing = self._phase_filter(half_width) / (mean * object_power)
        if self._slices is not None:
            self._slices.refresh(probe)
        patterns = self._canvas.reduce(torch.full_like(object_power, self.corners.shape[1]), "sum")
        self._probe_inverse = 1 / (patterns * object_power)
        self._mode_gains = gain_modes(probe) if self._gains_modes and len(probe) > 1 else None
        if point.variation is not None and point.probe is not None:
            self._variation_steps = VariationSteps(point.probe, hold_shifts=point.shifts is not None)
        self.frames.refresh(point, probe, self.illumination, object_power, half_width)

    def __call__(self, gradient: Unknowns, point: Unknowns) -> Unknowns:
        """Approximate inverse Hessian times gradient."""
        step = self._damp(gradient.object * self._root) * self._root
        relative = point.object.conj() * gradient.object
        phase = self._smooth(relative.imag)
        move = Unknowns(
            torch.complex(step.real - point.object.imag * phase, step.imag + point.object.real * phase),
            None if gradient.probe is None else self._probe_step(gradient.probe),
            background=self._background_step(gradient.background),
            beam_px=None if gradient.beam_px is None else self.frames.beam_step(gradient.beam_px),
            variation=self._variation_step(gradient.variation),
        )
        if gradient.shifts is not None:
            move = self.frames.add_positions(move, gradient, self._smooth)
        if gradient.log_flux is not None:
            move = self.frames.add_flux(move, gradient, point, self._smooth)
        return move

    def add_background(self, point: Unknowns, stack: PatternBatches, start: Background | None) -> Unknowns:
        """Return a point with a background to solve for, whose steps are those of a scan from here on.

        Args:
            point: The point.
            stack: Patterns of the scan.
            start: Background to start from; nearly nothing where None.
        """
        self.background = BackgroundSteps(stack, start, self._canvas)
        return replace(point, background=self.background.start if point.background is None else point.background)

    def _probe_step(self, gradient: Probe) -> Probe:
        step = gradient * self._probe_inverse
        return step if self._mode_gains is None else step * self._mode_gains

    def _variation_step(self, gradient: Images | None) -> Images | None:
        if gradient is None:
            return None
        return self._variation_steps(gradient) * self._probe_inverse

    @property
    def probe_curvature(self) -> Level:
        """Curvature of the data term along the probe: photons of the object over all frames."""
        return 1 / self._probe_inverse

    def _background_step(self, gradient: Background | None) -> Background | None:
        return None if gradient is None or self.background is None else self.background(gradient)

    def _damp(self, image: Sample) -> Sample:
        def multiply(spectrum: Tensor) -> Tensor:
            spectrum.mul_(self._spectrum)
            return spectrum if self._slices is None else self._slices.mix_waves(spectrum)

        return self._canvas.filter_waves(image, self._around, multiply)

    def _expected_spectrum(self, smoothness: Smoothness) -> Float[Tensor, "ky kx"]:
        ky, kx = (2 * torch.pi * torch.fft.fftfreq(edge, device=self.corners.device) for edge in self._around)
        kx = kx[self._canvas.columns(len(kx))]
        k = torch.sqrt(ky[:, None].square() + kx.square())
        return 1 / (1 + (k / smoothness.corner) ** smoothness.power) + smoothness.floor

    def _smooth(self, phase: Float[Tensor, "*slice height width"]) -> Float[Tensor, "*slice height width"]:
        def multiply(spectrum: Tensor) -> Tensor:
            spectrum.mul_(self._smoothing)
            return spectrum if self._slices is None or phase.ndim == 2 else self._slices.mix_phases(spectrum)

        return self._canvas.filter_reals(phase * self._taper, self.padded, multiply) * self._taper

    def _phase_filter(self, half_width: Level) -> Float[Tensor, "ky kx"]:
        device = self.corners.device
        ky = 2 * torch.pi * torch.fft.fftfreq(self.padded[0], device=device)[:, None]
        kx = 2 * torch.pi * torch.fft.rfftfreq(self.padded[1], device=device)
        kx = kx[self._canvas.columns(len(kx))]
        k2 = ky.square() + kx.square()
        if self._fresnel_number is None:
            return 1 / (k2 * half_width**2 + 1 / self.cap)
        delay = k2 / (4 * torch.pi * self._fresnel_number)
        return 1 / (delay.square() + 1 / self.max_cap)
