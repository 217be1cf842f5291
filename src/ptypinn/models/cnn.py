"""PtychoPINN autoencoder: a group of diffraction amplitudes in, one complex object patch per pattern out."""

import math
from typing import Literal

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn

from ptypinn.models.blocks import Decoder, Encoder, TokenMixer, texture
from ptypinn.models.features import projected_patches, unit_energy
from ptypinn.types import Probe

COARSEST = 8
"""Edge of the coarsest feature map, pixels."""


class PtychoCNN(nn.Module):
    """Autoencoder with separate decoders for modulus and phase, after PtychoPINN (Hoidn et al., Sci. Rep. 2023).

    With `inputs="projection"` the probe's estimate of every patch joins the amplitudes and, being an image of the
    object, reaches the decoders through skip connections. `inputs="amplitude"` is the plain autoencoder, which has to
    learn the probe and the map from detector to object space from examples.

    Args:
        size: Edge N of a pattern, a power of two from 32.
        gridsize: Patterns per group are `gridsize**2`.
        width: Channels of the finest level, a multiple of 16; coarser levels have two and four times as many.
        inputs: Input per pattern.

    Raises:
        ValueError: Where the size is not a power of two from 32.
    """

    def __init__(
        self,
        size: int,
        gridsize: int = 1,
        width: int = 32,
        inputs: Literal["projection", "amplitude"] = "projection",
    ) -> None:
        super().__init__()
        if size < 4 * COARSEST or size & (size - 1):
            raise ValueError(f"size {size} is not a power of two from {4 * COARSEST}")
        channels, self.projects = gridsize**2, inputs == "projection"
        levels = int(math.log2(size // COARSEST))
        widths = [width * min(2**level, 4) for level in range(levels)]
        self.encoder = Encoder(channels * (3 if self.projects else 1), widths)
        self.mixer = TokenMixer(widths[-1], COARSEST)
        skips = widths[-2::-1]
        decoded = [skip // 2 for skip in skips]
        joined = skips if self.projects else [0] * len(skips)
        self.modulus = Decoder(widths[-1], decoded, joined, channels)
        self.phase = Decoder(widths[-1], decoded, joined, channels)

    def forward(
        self, amplitudes: Float[Tensor, "batch channel y x"], probe: Probe
    ) -> Complex[Tensor, "batch channel y x"]:
        """Return the texture of every patch around 1, in the frame of its probe.

        Args:
            amplitudes: Centred amplitudes in any scale, (batch, gridsize**2, N, N).
            probe: Probe modes in any scale, (mode, N, N).
        """
        levels = self.encoder(self._features(amplitudes, probe))
        skips = [level if self.projects else None for level in levels[-2::-1]]
        coarse = self.mixer(levels[-1])
        return texture(self.modulus(coarse, skips).float(), self.phase(coarse, skips).float())

    def _features(self, amplitudes: Tensor, probe: Tensor) -> Tensor:
        amplitudes = unit_energy(amplitudes)
        if not self.projects:
            return amplitudes
        projected = projected_patches(amplitudes, probe)
        return torch.cat([amplitudes, projected.real, projected.imag], 1)
