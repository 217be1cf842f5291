"""A network on bands of a canvas: every convolution gets the lines of the neighbours that it reaches into.

One line of pixels is exchanged while the convolution runs, and what it adds to the line beside it is added after. To
compute a halo as wide as the whole network reaches would take as long as a band of more than a hundred rows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ptypinn.utils.ranks import Neighbours, Ranks

Item = TypeVar("Item")


class NetworkEdges:
    """Lines at the edges of bands, of all layers of a network.

    Args:
        ranks: All processes; those before and after are the neighbours.
    """

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._has_before, self._has_after = ranks.rank > 0, ranks.rank < ranks.count - 1

    @contextlib.contextmanager
    def joined(self, network: nn.Module, turns: int, flipped: bool) -> Iterator[None]:
        """While the context lasts, let 3 x 3 convolutions see the neighbours.

        Args:
            network: Network whose input is turned by quarter turns, then flipped left and right.
            turns: Number of the quarter turns.
            flipped: True where it is flipped.
        """
        axis, reversed_order = place_rows(turns, flipped)
        has_before, has_after = _order(self._has_before, self._has_after, reversed_order)
        pending = list[Callable[[], Neighbours]]()

        def send_lines(layer: nn.Module, inputs: tuple[Tensor]) -> None:
            (image,) = inputs
            first = image.narrow(axis, 0, 1) if has_before else None
            last = image.narrow(axis, image.shape[axis] - 1, 1) if has_after else None
            pending.append(self._ranks.begin_exchange(*_order(first, last, reversed_order)))

        def add_lines(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
            assert isinstance(layer, nn.Conv2d)
            lines, ends = _order(*pending.pop()(), reversed_order), (0, output.shape[axis] - 1)
            for line, end, row in zip(lines, ends, (0, 2), strict=True):
                if line is not None:
                    padding = (0, 1) if axis == -2 else (1, 0)
                    weights = layer.weight.narrow(axis, row, 1)
                    output.narrow(axis, end, 1).add_(functional.conv2d(line, weights, padding=padding))

        with contextlib.ExitStack() as hooks:
            for layer in network.modules():
                if isinstance(layer, nn.Conv2d) and layer.padding == (1, 1):
                    hooks.callback(layer.register_forward_pre_hook(send_lines).remove)
                    hooks.callback(layer.register_forward_hook(add_lines).remove)
            yield


def _order(before: Item, after: Item, reversed_order: bool) -> tuple[Item, Item]:
    return (after, before) if reversed_order else (before, after)


def place_rows(turns: int, flipped: bool) -> tuple[int, bool]:
    """Return the axis that rows of an image lie along once it is turned and flipped, and whether in reversed order.

    >>> place_rows(0, False), place_rows(1, False), place_rows(2, True), place_rows(3, True)
    ((-2, False), (-1, False), (-2, True), (-1, False))
    """
    rows = torch.tensor([[0, 0], [1, 1]]).rot90(turns, (-2, -1))
    rows = rows.flip(-1) if flipped else rows
    axis = -2 if rows[0, 0] != rows[1, 0] else -1
    return axis, bool(rows[0, 0] > rows[1, 1])
