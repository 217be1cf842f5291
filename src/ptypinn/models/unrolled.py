"""Network of the unrolled solver: a correction on the canvas after every data step.

Its input holds no probe and no pattern, only dimensionless features on the canvas (`canvas_features`): so it
generalises to other probes, detectors, doses and canvas sizes. Every operation is local, so that a tile of the canvas
gives the same result as the whole canvas there.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

Maps = Float[Tensor, "batch channel height width"]
"""Features on canvases padded to multiples of `STRIDE`."""

STRIDE = 16
"""Edge of the coarsest feature's pixels: canvases are padded to multiples, and windows start at multiples."""


class UnrolledCorrection(nn.Module):
    """U-Net at half resolution without any norm across pixels.

    Args:
        channels: Input maps.
        outputs: Output maps, 0 before training: an untrained network leaves the data steps unchanged.
        widths: Channels at 1/2, 1/4, 1/8 and 1/16 of the canvas' resolution.
    """

    def __init__(self, channels: int = 11, outputs: int = 2, widths: tuple[int, ...] = (32, 48, 64, 96)) -> None:
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
        self.register_load_state_dict_pre_hook(_rename_earlier_layers)  # type: ignore[no-untyped-call]  # in torch
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


EARLIER_LAYERS = {"enter": "stem", "leave": "head", "shrink": "downsample", "grow": "upsample"}
"""Names of layers in weights and checkpoints of earlier versions, the shipped weights among them."""


def _rename_earlier_layers(module: nn.Module, state_dict: dict[str, Any], prefix: str, *unused: Any) -> None:
    """Rename the layers of a state to be loaded; the weights stay as they are."""
    for name in [name for name in state_dict if name.startswith(prefix)]:
        layer, dot, rest = name.removeprefix(prefix).partition(".")
        if layer in EARLIER_LAYERS:
            state_dict[f"{prefix}{EARLIER_LAYERS[layer]}{dot}{rest}"] = state_dict.pop(name)
