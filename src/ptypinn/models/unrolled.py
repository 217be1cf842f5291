"""Network of the unrolled solver, a correction on the canvas after every data step, and its input features.

Its input holds no probe and no pattern, only dimensionless features on the canvas: so it
generalises to other probes, detectors, doses and canvas sizes. Every operation is local, so that a tile of the canvas
gives the same result as the whole canvas there.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn
from torch.nn import functional

from ptypinn.models.blocks import STRIDE, Maps, UNet
from ptypinn.types import Object, Scalar

CHANNELS = 11
"""Maps that `canvas_maps` makes."""
POOL = 8
"""Edge of the tiles over which the local error is averaged, pixels; divides `STRIDE`."""
BAND, TAPS = 0.3, 11
"""Finest detail of a correction, cycles per pixel, and length of the filter that removes the rest; finer detail hardly
changes any pattern, so that the data steps would not correct a mistake of the network."""
NOISE_FRACTION = 0.25
"""Fraction of the counting noise that the unit has where the object no longer changes."""
MIN_UNIT = 1e-4
"""Relative to the object's amplitude: float32 resolves no less in a solution."""

Real = Float[Tensor, "height width"]
EARLIER_LAYERS = {"enter": "stem", "leave": "head", "shrink": "downsample", "grow": "upsample"}
"""Names of layers in weights and checkpoints of earlier versions, the shipped weights among them."""


class CanvasFeatures(NamedTuple):
    """Input of the network, and the unit of its output."""

    maps: Maps
    """(1, `CHANNELS`, height, width), the edges multiples of `STRIDE`."""
    unit: Float[Tensor, "height width"]
    """Change of the object that an output of 1 stands for, transmission; 0 where there is no illumination."""


def compute_canvas_features(
    canvas: Object, descent: Object, velocity: Object, illumination: Real, peak: Scalar, amplitude: float
) -> CanvasFeatures:
    """Return the solver's iterate as dimensionless feature maps.

    Args:
        canvas: Object after a data step, (height, width).
        descent: Descent direction of the data term at the point before, divided by the illumination, (height, width).
        velocity: The data step, (height, width).
        illumination: Photons on every object pixel over the scan, (height, width).
        peak: Largest intensity of the probe, photons per pixel: the unit of coverage.
        amplitude: Overall amplitude of the object.
    """
    height, width = canvas.shape
    padding = (0, -width % STRIDE, 0, -height % STRIDE)
    moving = functional.pad(_real(torch.stack([canvas, descent, velocity])) / amplitude, padding, mode="replicate")
    photons = functional.pad(illumination[None], padding, mode="replicate")[0]
    covered = photons / (photons + 0.1 * peak)
    noise = torch.rsqrt(photons + 0.02 * peak) / amplitude
    smooth = _smooth(torch.cat([moving[:2], moving[2:].square().sum(0)[None], noise.square()[None]]))
    unit = torch.sqrt(smooth[2] + (NOISE_FRACTION**2) * smooth[3]).clamp(min=MIN_UNIT)
    detail = asinh((moving[:2] - smooth[:2]) / unit)
    about = torch.stack([covered, torch.log10(unit) + 2, torch.log10(noise / unit)])
    start = torch.stack([moving[0] - 1, moving[1]])
    maps = torch.cat([start, detail, asinh(moving[2:] / unit), about])
    return CanvasFeatures(maps[None], (amplitude * unit * covered)[:height, :width])


def to_object_update(output: Float[Tensor, "1 part rows columns"], unit: Real) -> Object:
    """Return the update of the object that an output of the network stands for, (height, width), transmission.

    It has no detail beyond `BAND`, and is 0 where the unit is.
    """
    height, width = unit.shape
    change = band_limited(output[0, :2, :height, :width] * unit) * (unit > 0)
    return torch.complex(change[0], change[1])


def band_limited(images: Float[Tensor, "*image height width"]) -> Float[Tensor, "*image height width"]:
    """Remove the detail beyond `BAND`: a windowed sinc along both axes, which reaches half its length."""
    leading = images.shape[:-2]
    weights, reach = band_taps(), TAPS // 2
    images = functional.pad(images.flatten(0, -3)[None], (reach, reach, reach, reach), mode="replicate")[0]
    for axis in (-2, -1):  # shifted sums: a convolution of one channel takes several times the memory
        length = images.shape[axis] - 2 * reach
        total = images.narrow(axis, 0, length) * weights[0]
        for shift, weight in enumerate(weights[1:], 1):
            total = torch.add(total, images.narrow(axis, shift, length), alpha=weight)
        images = total
    return images.reshape(*leading, *images.shape[-2:])


@functools.cache
def band_taps() -> tuple[float, ...]:
    """Return the filter of `band_limited` along one axis, `TAPS` weights of sum 1."""
    place = torch.arange(TAPS, dtype=torch.float64) - TAPS // 2
    taps = torch.sinc(2 * BAND * place) * torch.hann_window(TAPS + 2, periodic=False, dtype=torch.float64)[1:-1]
    return tuple((taps / taps.sum()).tolist())


def asinh(x: Tensor) -> Tensor:
    """Return `torch.asinh` by vector operations: ten times as fast on a CPU.

    >>> round(float(asinh(torch.tensor(-1.5))), 4)
    -1.1948
    """
    size = x.abs()
    square = size.square()
    return torch.copysign(torch.log1p(size + square / (1 + torch.sqrt(1 + square))), x)


def _real(images: Complex[Tensor, "image height width"]) -> Float[Tensor, "map height width"]:
    return torch.view_as_real(images).movedim(-1, 1).flatten(0, 1)


def _smooth(maps: Float[Tensor, "map height width"]) -> Float[Tensor, "map height width"]:
    """Return means over tiles, interpolated between their centres: a local average."""
    pooled = functional.avg_pool2d(maps[None], POOL)
    return functional.interpolate(pooled, scale_factor=POOL, mode="bilinear", align_corners=False)[0]


class UnrolledCorrection(UNet):
    """U-Net that corrects the canvas after every data step.

    Args:
        channels: Input maps.
        outputs: Output maps, 0 before training: an untrained network leaves the data steps unchanged.
        widths: Channels at 1/2, 1/4, 1/8 and 1/16 of the canvas' resolution.
    """

    def __init__(self, channels: int = 11, outputs: int = 2, widths: tuple[int, ...] = (32, 48, 64, 96)) -> None:
        super().__init__(channels, outputs, widths)
        self.register_load_state_dict_pre_hook(_rename_earlier_layers)  # type: ignore[no-untyped-call]  # in torch


def _rename_earlier_layers(module: nn.Module, state_dict: dict[str, Any], prefix: str, *unused: Any) -> None:
    """Rename the layers of a state to be loaded; the weights stay as they are."""
    for name in [name for name in state_dict if name.startswith(prefix)]:
        layer, dot, rest = name.removeprefix(prefix).partition(".")
        if layer in EARLIER_LAYERS:
            state_dict[f"{prefix}{EARLIER_LAYERS[layer]}{dot}{rest}"] = state_dict.pop(name)
