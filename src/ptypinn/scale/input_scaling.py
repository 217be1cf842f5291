"""Input scaling: from counts to network input, and from predicted amplitudes back to counts.

For a scan with mean pattern energy `E = mean_j(sum I_j)` the network's input amplitude is `x = sqrt(I) / s` with
`s = sqrt(E) / (N/2)`, so that `mean(sum x**2) = (N/2)**2`. E is computed once, on the training split, in float64.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


def compute_input_scale(mean_pattern_energy: float, size: int) -> float:
    """Return the square root of counts per unit of network input, `s = sqrt(E) / (N/2)`.

    Args:
        mean_pattern_energy: Mean photons per pattern on good pixels, E.
        size: Edge N of a pattern, pixels.

    >>> compute_input_scale(mean_pattern_energy=1e6, size=64)
    31.25
    """
    return math.sqrt(mean_pattern_energy) / (size / 2)


class IntensityScaler(nn.Module):
    """One factor, used both ways: counts to network input, and predicted amplitude back to counts.

    Args:
        scale: Initial factor s, sqrt(photons).
        trainable: Learn `log_scale` with the network; it then absorbs an error of the recorded probe photons.
    """

    def __init__(self, scale: float, trainable: bool = False) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)), requires_grad=trainable)
        self.initial_scale = scale

    @property
    def scale(self) -> Tensor:
        """The factor s, sqrt(photons)."""
        return torch.exp(self.log_scale)

    @property
    def drift(self) -> float:
        """Learned over initial factor: 1 unless `log_scale` was trained away from the measured energy."""
        return math.exp(float(self.log_scale.detach()) - math.log(self.initial_scale))

    def to_input(self, counts: Float[Tensor, "*batch y x"]) -> Float[Tensor, "*batch y x"]:
        """Return the network input amplitude `sqrt(I) / s` of counts."""
        return torch.sqrt(counts) / self.scale

    def to_counts(self, intensity: Float[Tensor, "*batch y x"]) -> Float[Tensor, "*batch y x"]:
        """Return the expected counts `(s x)**2` of predicted intensities `x**2` in network units."""
        return intensity * self.scale.square()
