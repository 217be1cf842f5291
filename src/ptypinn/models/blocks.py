"""Building blocks of convolutional networks: encoder, decoder, token mixer, and the head that gives textures."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn

CHANNELS_PER_GROUP = 8


class ConvBlock(nn.Module):
    """Two 3x3 convolutions, each with group norm and GELU; samples of a batch do not mix.

    Args:
        inputs: Input channels.
        outputs: Output channels, a multiple of 8.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        groups = outputs // CHANNELS_PER_GROUP
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.GroupNorm(groups, outputs),
            nn.GELU(),
            nn.Conv2d(outputs, outputs, 3, padding=1),
            nn.GroupNorm(groups, outputs),
            nn.GELU(),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map features (batch, inputs, y, x) to (batch, outputs, y, x)."""
        return self.layers(features)


class TokenMixer(nn.Module):
    """A learned linear map over all positions of a coarse feature map, added to its input.

    Every object pixel depends on every detector pixel; a few convolutions do not reach that far.

    Args:
        channels: Feature channels.
        edge: Edge of the feature map, pixels.
    """

    def __init__(self, channels: int, edge: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, channels)
        self.mix = nn.Linear(edge * edge, edge * edge)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (batch, channels, edge, edge) to the same shape."""
        return features + self.mix(self.norm(features).flatten(2)).view(features.shape)


class Encoder(nn.Module):
    """From images to ever coarser features: a pixel unshuffle, then blocks with average pooling between them.

    Args:
        inputs: Input images.
        widths: Channels from fine to coarse.
    """

    def __init__(self, inputs: int, widths: Sequence[int]) -> None:
        super().__init__()
        sizes = zip([4 * inputs, *widths[:-1]], widths, strict=True)
        self.blocks = nn.ModuleList(ConvBlock(i, o) for i, o in sizes)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map images (batch, inputs, y, x) to the features of every level, finest first."""
        features = nn.functional.pixel_unshuffle(images, 2).contiguous(memory_format=torch.channels_last)
        levels = [self.blocks[0](features)]
        for block in self.blocks[1:]:
            levels.append(block(nn.functional.avg_pool2d(levels[-1], 2)))
        return levels


class Decoder(nn.Module):
    """From coarse features to images: blocks after nearest-neighbour up-sampling, then a pixel shuffle.

    It starts at zero output.

    Args:
        inputs: Channels of the coarsest features.
        widths: Channels of the following levels, coarse to fine.
        skips: Channels that join each of those levels from the encoder; 0 for none.
        outputs: Images to produce.
    """

    def __init__(self, inputs: int, widths: Sequence[int], skips: Sequence[int], outputs: int) -> None:
        super().__init__()
        sizes = zip([inputs, *widths[:-1]], skips, widths, strict=True)
        self.blocks = nn.ModuleList(ConvBlock(i + skip, o) for i, skip, o in sizes)
        self.out = nn.Conv2d(widths[-1], 4 * outputs, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        assert self.out.bias is not None
        nn.init.zeros_(self.out.bias)

    def forward(self, features: Tensor, skips: Sequence[Tensor | None]) -> Tensor:
        """Map coarse features and encoder features, coarse to fine, to images (batch, outputs, y, x)."""
        for block, skip in zip(self.blocks, skips, strict=True):
            features = nn.functional.interpolate(features, scale_factor=2, mode="nearest")
            features = block(features if skip is None else torch.cat([features, skip], 1))
        return nn.functional.pixel_shuffle(self.out(features), 2)


LN2 = math.log(2.0)


def texture(modulus: Float[Tensor, "*batch y x"], phase: Float[Tensor, "*batch y x"]) -> Complex[Tensor, "*batch y x"]:
    """Return a complex texture around 1: `softplus(m) / log(2)` without a ceiling, and a phase without bounds, radians.

    Zero outputs give exactly 1, and no finite output saturates.

    Args:
        modulus: Network outputs m, (..., y, x).
        phase: Network outputs, radians, (..., y, x).
    """
    return torch.polar(torch.nn.functional.softplus(modulus) / LN2, phase)


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
