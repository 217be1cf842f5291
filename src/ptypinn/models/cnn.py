"""Patch network: a group of diffraction amplitudes and their places in, one complex object patch per pattern out."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor, nn

from ptypinn.models.blocks import STRIDE, UNet
from ptypinn.models.group_canvas import GroupCanvas, canvas_edge, measure_spread
from ptypinn.physics.propagation import to_fft_order
from ptypinn.types import Probe

CHANNELS = 5
"""Input maps of the U-Net."""
COVERED = 0.1
"""Fraction of the probe's peak intensity by which a pixel counts half for the correction."""


class PtychoCNN(nn.Module):
    """Data steps on the canvas of a group with learned lengths, then one learned correction.

    Every pattern is encoded alike, by projections onto its measured modulus (the physics-informed idea of PtychoPINN,
    Hoidn et al., Sci. Rep. 2023, with the physics as the encoder), and joins its neighbours where it lies among them,
    sub-pixel rest included. A U-Net on the joint canvas corrects what so few patterns and steps leave open. Nothing
    depends on the size of the patterns or on their number.

    Args:
        size: Edge N of a pattern, a multiple of 16 from 32.
        gridsize: Patterns per group are `gridsize**2`.
        width: Channels of the finest level, a multiple of 8; coarser levels have up to three times as many.
        steps: Data steps before the correction.

    Raises:
        ValueError: Where the size is not such a multiple, or there is no step.
    """

    def __init__(self, size: int, gridsize: int = 1, width: int = 16, steps: int = 4) -> None:
        super().__init__()
        if size < 2 * STRIDE or size % STRIDE:
            raise ValueError(f"size {size} is not a multiple of {STRIDE} from {2 * STRIDE}")
        if steps < 1 or gridsize < 1:
            raise ValueError(f"{steps} steps with gridsize {gridsize}; both are at least 1")
        self.lengths = nn.Parameter(torch.ones(steps))
        self.momenta = nn.Parameter(torch.full((steps,), 0.5))
        self.correction = UNet(CHANNELS, 2, (width, width * 3 // 2, width * 2, width * 3))

    def forward(
        self,
        amplitudes: Float[Tensor, "group channel y x"],
        probe: Probe,
        offsets: Float[Tensor, "group channel 2"],
        mask: Bool[Tensor, "y x"],
    ) -> Complex[Tensor, "group channel y x"]:
        """Return the patches relative to the transmitted amplitude of their group, in the frames of their probes.

        Args:
            amplitudes: Centred amplitudes in any scale, (group, gridsize**2, N, N).
            probe: Probe modes in any scale, (mode, N, N).
            offsets: Positions (y, x) within each group, pixels, (group, gridsize**2, 2).
            mask: Good pixels, centred, (N, N).
        """
        arguments = to_fft_order(amplitudes), offsets, probe, to_fft_order(mask)
        if amplitudes.shape[1] == 1:
            return self._solve(*arguments, amplitudes.shape[-1])
        return self._solve_by_spread(*arguments)

    def _solve_by_spread(self, amplitudes: Tensor, offsets: Tensor, probe: Tensor, mask: Tensor) -> Tensor:
        """Solve groups on canvases of their own width each, so that no group depends on others of its batch."""
        size, spread = amplitudes.shape[-1], measure_spread(offsets)
        patches = torch.empty_like(amplitudes, dtype=probe.dtype)
        for narrow, wide in ((-1, size // 2), (size // 2, int(spread.amax()))):
            chosen = (spread > narrow) & (spread <= wide)
            edge = canvas_edge(size, max(1, wide))
            if chosen.all():
                return self._solve(amplitudes, offsets, probe, mask, edge)
            if chosen.any():
                solved = self._solve(amplitudes[chosen], offsets[chosen], probe, mask, edge)
                patches = patches.index_put((chosen,), solved)
        return patches

    def _solve(self, amplitudes: Tensor, offsets: Tensor, probe: Tensor, mask: Tensor, edge: int) -> Tensor:
        """Return the patches of groups on canvases of one edge; amplitudes and mask are in FFT order."""
        group = GroupCanvas(amplitudes, probe, offsets, mask, edge)
        canvases, velocity = group.start(), torch.zeros_like(group.start())
        for length, momentum in zip(self.lengths, self.momenta, strict=True):
            velocity = momentum * velocity + group.descend(canvases)
            canvases = canvases + length * velocity
        covered = group.illumination / (group.illumination + COVERED * group.peak)
        maps = torch.stack([canvases.real - 1, canvases.imag, velocity.real, velocity.imag, covered], 1)
        change = self.correction(maps).float() * covered[:, None]
        return group.to_probe_frames(correct(canvases, change))


def correct(
    canvases: Complex[Tensor, "group height width"], change: Float[Tensor, "group 2 height width"]
) -> Complex[Tensor, "group height width"]:
    """Add the network's output, real and imaginary part, to the canvases; nothing bounds the sum."""
    return canvases + torch.complex(change[:, 0], change[:, 1])
