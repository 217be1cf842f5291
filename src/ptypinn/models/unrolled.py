"""The network of the learned solver: what a data step leaves undone, seen on the canvas.

It sees no probe and no pattern, only what the physics makes of them on the canvas, in units that have no scale: so it
carries over to other probes, detectors, doses and canvas sizes. Every operation is local, so that a tile of the canvas
gives what the whole canvas gives there.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

Maps = Float[Tensor, "batch channel height width"]
"""Features on canvases padded to multiples of `STRIDE`."""

STRIDE = 16
"""The network works on tiles of so many pixels: canvases are padded to multiples, and windows start at multiples."""


class UnrolledCorrection(nn.Module):
    """U-Net at half resolution without any norm across pixels.

    Args:
        channels: Maps that come in.
        outputs: Maps that go out, 0 before training: the solver starts as its physical steps alone.
        widths: Channels at 1/2, 1/4, 1/8 and 1/16 of the canvas' resolution.
    """

    def __init__(self, channels: int = 11, outputs: int = 2, widths: tuple[int, ...] = (32, 48, 64, 96)) -> None:
        super().__init__()
        if len(widths) != 4 or min(channels, outputs, *widths) < 1:
            raise ValueError(f"widths {widths} for {channels} channels; four positive widths are needed")
        self.widths = tuple(widths)
        self.enter = nn.Conv2d(4 * channels, widths[0], 3, padding=1)
        self.down = nn.ModuleList(Residual(width) for width in widths)
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairwise(widths))
        self.grow = nn.ModuleList(nn.Conv2d(b, 4 * a, 1) for a, b in pairwise(widths))
        self.up = nn.ModuleList(Residual(width) for width in widths[:-1])
        self.leave = nn.Conv2d(widths[0], 4 * outputs, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in the stubs

    def forward(self, maps: Maps) -> Float[Tensor, "batch output height width"]:
        """Maps in, corrections out, (batch, outputs, height, width); the edges are multiples of `STRIDE`."""
        x = self.enter(functional.pixel_unshuffle(maps, 2).contiguous(memory_format=torch.channels_last))
        kept = []
        for block, shrink in zip(self.down, self.shrink, strict=False):
            x = block(x)
            kept.append(x)
            x = shrink(x)
        x = self.down[-1](x)
        for block, grow in zip(reversed(self.up), reversed(self.grow), strict=True):
            x = block(kept.pop() + functional.pixel_shuffle(grow(x), 2))
        return functional.pixel_shuffle(self.leave(x), 2)


class Residual(nn.Module):
    """`x + conv(gelu(conv(norm(x))))`, the norm taken over the channels of every pixel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Maps) -> Maps:
        """Same shape in and out."""
        y = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return x + self.second(functional.gelu(self.first(y)))
