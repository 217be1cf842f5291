"""Building blocks of convolutional networks: a U-Net on images of any size, and the scale that counts alone give."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

STRIDE = 16
"""Edge of the coarsest feature's pixels: canvases are padded to multiples, and windows start at multiples."""
Maps = Float[Tensor, "batch channel height width"]
"""Features on canvases padded to multiples of `STRIDE`."""


class UNet(nn.Module):
    """U-Net at half resolution without any norm across pixels.

    Args:
        channels: Input maps.
        outputs: Output maps, 0 before training.
        widths: Channels at 1/2, 1/4, 1/8 and 1/16 of the canvas' resolution.
    """

    def __init__(self, channels: int, outputs: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        if len(widths) != 4 or min(channels, outputs, *widths) < 1:
            raise ValueError(f"widths {widths} for {channels} channels; four positive widths are needed")
        self.widths = tuple(widths)
        self.stem = nn.Conv2d(4 * channels, widths[0], 3, padding=1)
        self.down = nn.ModuleList(Residual(width) for width in widths)
        self.downsample = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairwise(widths))
        self.upsample = nn.ModuleList(nn.Conv2d(b, 4 * a, 1) for a, b in pairwise(widths))
        self.up = nn.ModuleList(Residual(width) for width in widths[:-1])
        self.head = nn.Conv2d(widths[0], 4 * outputs, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in the stubs

    def forward(self, maps: Maps) -> Float[Tensor, "batch output height width"]:
        """Map features to corrections, (batch, outputs, height, width); the edges are multiples of `STRIDE`."""
        x = self.stem(functional.pixel_unshuffle(maps, 2).contiguous(memory_format=torch.channels_last))
        levels = []
        for block, downsample in zip(self.down, self.downsample, strict=False):
            x = block(x)
            levels.append(x)
            x = downsample(x)
        x = self.down[-1](x)
        for block, upsample in zip(reversed(self.up), reversed(self.upsample), strict=True):
            x = block(levels.pop() + functional.pixel_shuffle(upsample(x), 2))
        return functional.pixel_shuffle(self.head(x), 2)


class Residual(nn.Module):
    """`x + conv(gelu(conv(norm(x))))`, the norm taken over the channels of every pixel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Maps) -> Maps:
        """Map features to the same shape."""
        y = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return x + self.second(functional.gelu(self.first(y)))


def transmitted_amplitude(
    photons: Float[Tensor, "*batch"], vacuum_photons: Float[Tensor, ""] | float
) -> Float[Tensor, "*batch"]:
    """Return the mean transmission that counts alone give, `a_j = sqrt(sum I_j / sum |P|^2)`.

    Args:
        photons: Photons on the good pixels of each pattern.
        vacuum_photons: Photons that the probe alone puts on the same pixels.

    >>> float(transmitted_amplitude(torch.tensor(25.0), 100.0))
    0.5
    """
    return torch.sqrt(photons / vacuum_photons)
