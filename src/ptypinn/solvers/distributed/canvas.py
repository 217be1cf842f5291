"""The part of a canvas that a process solves: all of it, or a band of rows beside those of other processes.

Solvers call the same methods on either. What one process computes on the whole canvas, several compute on their bands:
patterns add to rows that neighbours share, sums and means run over all patterns, Fourier transforms over all rows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Complex, Float, Int64
from torch import Tensor, nn

from ptypinn.utils.progress import IterateCallback
from ptypinn.utils.ranks import Reduction

Real = Float[Tensor, "*map height width"]
Waves = Complex[Tensor, "*map height width"]
Answer = TypeVar("Answer")
Frame = tuple[tuple[int, int], tuple[int, int]]
"""Origin of a canvas in the coordinates of the scan's positions, and its height and width, pixels."""


@runtime_checkable
class CanvasPart(Protocol):
    """The rows of a canvas that a process holds: its own, and a halo that its patterns reach into."""

    @property
    def frame(self) -> Frame | None:
        """Frame of these rows; None where they are the whole canvas of the scan."""

    @property
    def frames(self) -> Int64[Tensor, " patterns"] | None:
        """Index in the scan of the patterns that belong to them; None where all do."""

    @property
    def whole_extent(self) -> tuple[int, int] | None:
        """Height and width of the whole canvas; None where the rows are all of it."""

    def add_shared(self, *canvases: Tensor) -> None:
        """Add, in place, what the patterns of others have put on these rows of canvases."""

    def add_up(self, *totals: Tensor) -> None:
        """Replace totals over these patterns, or over own rows, by those over all."""

    def reduce(self, values: Tensor, operation: Reduction) -> Tensor:
        """Return the sum, largest or least values of all processes."""

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean of values along their first axis, and along that of all processes."""

    def own(self, canvas: Tensor, after: int = 0) -> Tensor:
        """Return the rows that no other process has as its own, and some after them where there are any."""

    def refresh(self, canvas: Tensor) -> Tensor:
        """Return a canvas whose rows in the halo are those of the processes that own them."""

    def widen(self, own: Tensor) -> Tensor:
        """Return a canvas with these own rows, and the nearest ones of the neighbours."""

    def map_whole(self, function: Callable[..., Tensor], *canvases: Tensor) -> Tensor:
        """Return these rows of a function of whole canvases."""

    def gather(self, canvas: Tensor) -> Tensor:
        """Return the whole canvas in the first process, anything in others."""

    def gather_frames(self, values: Tensor) -> Tensor:
        """Return values of all patterns of the scan, in their order."""

    def take_coordinates(self, values: Tensor) -> Tensor:
        """Return the rows of these patterns, two for each, of those of the scan."""

    def to_whole(self, corners: Tensor) -> Tensor:
        """Return corners (y, x) on these rows as those on the whole canvas."""

    def columns(self, count: int) -> slice:
        """Return which columns of a spectrum `filter_waves` and `filter_reals` multiply here."""

    def filter_waves(self, canvas: Waves, padded: tuple[int, int], multiply: Callable[[Tensor], Tensor]) -> Waves:
        """Return a canvas, padded with zeros, whose spectrum is multiplied.

        Args:
            canvas: Complex canvas.
            padded: Height and width to pad to, pixels.
            multiply: Multiplies columns of the spectrum.
        """

    def filter_reals(self, canvas: Real, padded: tuple[int, int], multiply: Callable[[Tensor], Tensor]) -> Real:
        """Return a real canvas, padded with zeros, whose half spectrum is multiplied, as `filter_waves` does."""

    def joined(self, network: nn.Module, orientation: tuple[int, bool]) -> contextlib.AbstractContextManager[None]:
        """While the context lasts, a network of 3 x 3 convolutions sees the rows of the neighbours beside own ones.

        Args:
            network: The network.
            orientation: Quarter turns of its input, and True where it is flipped left and right after them.
        """

    def agree(self, decide: Callable[[], Answer]) -> Answer:
        """Return the decision of the first process."""

    def offer(self, watch: IterateCallback[Answer] | None, make: Callable[[], Answer]) -> None:
        """Call `watch`, where there is one, with a function that returns what all processes make together."""


class WholeCanvas:
    """The whole canvas, in this process alone."""

    frame = frames = whole_extent = None

    def add_shared(self, *canvases: Tensor) -> None:
        """Leave canvases as they are."""

    def add_up(self, *totals: Tensor) -> None:
        """Leave totals as they are."""

    def reduce(self, values: Tensor, operation: Reduction) -> Tensor:
        """Return values."""
        return values

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean along the first axis."""
        return values.mean(0)

    def own(self, canvas: Tensor, after: int = 0) -> Tensor:
        """Return the canvas."""
        return canvas

    def refresh(self, canvas: Tensor) -> Tensor:
        """Return the canvas."""
        return canvas

    def widen(self, own: Tensor) -> Tensor:
        """Return the canvas."""
        return own

    def map_whole(self, function: Callable[..., Tensor], *canvases: Tensor) -> Tensor:
        """Return the function of canvases."""
        return function(*canvases)

    def gather(self, canvas: Tensor) -> Tensor:
        """Return the canvas."""
        return canvas

    def gather_frames(self, values: Tensor) -> Tensor:
        """Return the values."""
        return values

    def take_coordinates(self, values: Tensor) -> Tensor:
        """Return the values."""
        return values

    def to_whole(self, corners: Tensor) -> Tensor:
        """Return the corners."""
        return corners

    def columns(self, count: int) -> slice:
        """Return all columns."""
        return slice(count)

    def filter_waves(self, canvas: Waves, padded: tuple[int, int], multiply: Callable[[Tensor], Tensor]) -> Waves:
        """Return a complex canvas, padded with zeros, whose spectrum is multiplied."""
        height, width = canvas.shape[-2:]
        return torch.fft.ifft2(multiply(torch.fft.fft2(canvas, s=padded)))[..., :height, :width]

    def filter_reals(self, canvas: Real, padded: tuple[int, int], multiply: Callable[[Tensor], Tensor]) -> Real:
        """Return a real canvas, padded with zeros, whose half spectrum is multiplied."""
        height, width = canvas.shape[-2:]
        spectrum = multiply(torch.fft.rfft2(canvas, s=padded))
        return torch.fft.irfft2(spectrum, s=padded)[..., :height, :width]

    @contextlib.contextmanager
    def joined(self, network: nn.Module, orientation: tuple[int, bool]) -> Iterator[None]:
        """Leave the network as it is."""
        yield

    def agree(self, decide: Callable[[], Answer]) -> Answer:
        """Return the decision."""
        return decide()

    def offer(self, watch: IterateCallback[Answer] | None, make: Callable[[], Answer]) -> None:
        """Call `watch`, where there is one, with a function."""
        if watch is not None:
            watch(make)


WHOLE = WholeCanvas()
