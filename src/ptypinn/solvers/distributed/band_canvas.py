"""A band of a canvas beside those of other processes: what `CanvasPart` asks of it, by messages between neighbours.

Fourier transforms run over rows first, then over columns, by a transposition that sends every number once. Rows of
zeros, which pad the canvas, are neither transformed nor sent.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import TypeVar

import torch
from jaxtyping import Complex
from torch import Tensor, nn

from ptypinn.models.unrolled import POOL
from ptypinn.solvers.distributed.bands import Band
from ptypinn.solvers.distributed.canvas import Frame, Real, Waves
from ptypinn.solvers.distributed.network_edges import NetworkEdges
from ptypinn.utils.progress import IterateCallback
from ptypinn.utils.ranks import Ranks, Reduction

Answer = TypeVar("Answer")
Rows = Complex[Tensor, "row column"]


class CanvasBand:
    """The band of this process.

    Args:
        ranks: All processes.
        bands: Their bands, from top to bottom.
        frame: Origin and extent of the whole canvas.
        device: Device of the canvas.
        watched: The first process watches the iterates.
    """

    def __init__(
        self, ranks: Ranks, bands: Sequence[Band], frame: Frame, device: torch.device, *, watched: bool = False
    ) -> None:
        self._watched = watched
        self.ranks, self.bands, self._whole_frame = ranks, bands, frame
        band = bands[ranks.rank]
        self._above, self._below, self._rows = band.top - band.low, band.high - band.bottom, band.bottom - band.top
        self.frames = torch.from_numpy(band.patterns).to(device)
        self._total = sum(len(each.patterns) for each in bands)
        self._transform = PencilTransform(ranks, [band[:4] for band in bands], frame[1])
        self._edges = NetworkEdges(ranks)

    @property
    def frame(self) -> Frame:
        """Frame of the rows that are held."""
        band, ((top, left), (_, width)) = self.bands[self.ranks.rank], self._whole_frame
        return (top + band.low, left), (band.high - band.low, width)

    @property
    def whole_extent(self) -> tuple[int, int]:
        """Height and width of the whole canvas."""
        return self._whole_frame[1]

    def add_shared(self, *canvases: Tensor) -> None:
        """Add, in place, what the patterns of the neighbours have put on rows that both hold."""
        for canvas in canvases:
            up, down = 2 * self._above, 2 * self._below
            shared = (canvas[..., :up, :] if up else None, canvas[..., canvas.shape[-2] - down :, :] if down else None)
            for rows, others in zip(shared, self.ranks.exchange(*shared), strict=True):
                if rows is not None and others is not None:
                    rows += others

    def add_up(self, *totals: Tensor) -> None:
        """Replace totals by those over all processes: of every number type at once."""
        for precision in (torch.float32, torch.float64):
            real = [torch.view_as_real(each) if each.is_complex() else each for each in totals]
            parts = [each for each in real if each.dtype == precision]
            if parts:
                together = self.ranks.reduce(torch.cat([part.reshape(-1) for part in parts]))
                for part, values in zip(parts, torch.split(together, [part.numel() for part in parts]), strict=True):
                    part.copy_(values.view(part.shape))

    def reduce(self, values: Tensor, operation: Reduction) -> Tensor:
        """Return the sum, largest or least values of all processes."""
        return self.ranks.reduce(values.clone(), operation)

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean of values along their first axis, and along that of all processes."""
        count = torch.tensor(len(values), dtype=torch.float64, device=values.device)
        total = values.sum(0, dtype=torch.float64)
        self.add_up(count, total)
        return (total / count).to(values.dtype)

    def own(self, canvas: Tensor, after: int = 0) -> Tensor:
        """Return the own rows, with those that pad the whole canvas, and some of the neighbour below."""
        end = self._above + self._rows + min(after, self._below) if self._below else None
        return canvas[..., self._above : end, :]

    def refresh(self, canvas: Tensor) -> Tensor:
        """Return a canvas with the rows of the halo as their owners have them."""
        return self._with_edges(self.own(canvas), self._above, self._below)

    def widen(self, own: Tensor) -> Tensor:
        """Return a canvas with own rows and the nearest ones of the neighbours; rows beyond are 0."""
        wide = self._with_edges(own, min(self._above, POOL), min(self._below, POOL))
        beyond = [max(0, halo - POOL) for halo in (self._above, self._below)]
        return torch.nn.functional.pad(wide, (0, 0, *beyond))

    def _with_edges(self, own: Tensor, above: int, below: int) -> Tensor:
        up, down = (own[..., :above, :] if above else None), (own[..., own.shape[-2] - below :, :] if below else None)
        first, last = self.ranks.exchange(up, down)
        return torch.cat([part for part in (first, own, last) if part is not None], -2)

    def map_whole(self, function: Callable[..., Tensor], *canvases: Tensor) -> Tensor:
        """Return these rows of a function of whole canvases, which every process computes."""
        heights = [band.bottom - band.top for band in self.bands]
        whole = function(*(self.ranks.gather_all(self.own(canvas), heights) for canvas in canvases))
        band = self.bands[self.ranks.rank]
        return whole[..., band.low : band.high, :]

    def gather(self, canvas: Tensor) -> Tensor:
        """Return the whole canvas in the first process, the rows of this one in others."""
        whole = self.ranks.gather(self.own(canvas), [band.bottom - band.top for band in self.bands])
        return canvas if whole is None else whole

    def gather_frames(self, values: Tensor) -> Tensor:
        """Return values of all patterns of the scan, in their order."""
        scattered = values.new_zeros((self._total, *values.shape[1:]))
        scattered[self.frames] = values
        return self.ranks.reduce(scattered)

    def take_coordinates(self, values: Tensor) -> Tensor:
        """Return the rows of these patterns, two for each, of those of the scan."""
        return values.reshape(self._total, 2, -1)[self.frames].flatten(0, 1)

    def to_whole(self, corners: Tensor) -> Tensor:
        """Return corners (y, x) on the rows that are held as those on the whole canvas."""
        return corners + corners.new_tensor([self.bands[self.ranks.rank].low, 0])

    def columns(self, count: int) -> slice:
        """Return which columns of a spectrum this process multiplies."""
        return split_evenly(count, self.ranks.count)[self.ranks.rank]

    def filter_waves(self, canvas: Waves, padded: tuple[int, int], multiply: Callable[[Tensor], Tensor]) -> Waves:
        """Return a complex canvas, padded with zeros, whose spectrum is multiplied."""
        rows = torch.fft.fft(self.own(canvas), n=padded[1])
        return torch.fft.ifft(self._transform(rows, padded[0], multiply))[:, : canvas.shape[-1]]

    def filter_reals(self, canvas: Real, padded: tuple[int, int], multiply: Callable[[Tensor], Tensor]) -> Real:
        """Return a real canvas, padded with zeros, whose half spectrum is multiplied."""
        rows = torch.fft.rfft(self.own(canvas), n=padded[1])
        return torch.fft.irfft(self._transform(rows, padded[0], multiply), n=padded[1])[:, : canvas.shape[-1]]

    @contextlib.contextmanager
    def joined(self, network: nn.Module, orientation: tuple[int, bool]) -> Iterator[None]:
        """While the context lasts, a network sees the rows of the neighbours beside own ones."""
        with self._edges.joined(network, *orientation):
            yield

    def agree(self, decide: Callable[[], Answer]) -> Answer:
        """Return the decision of the first process; the others do not decide."""
        return self.ranks.say(decide() if self.ranks.leads else None)

    def offer(self, watch: IterateCallback[Answer] | None, make: Callable[[], Answer]) -> None:
        """Let `watch`, of the first process, call for what all make together; the others wait for its call."""
        if not self._watched:
            return
        if not self.ranks.leads or watch is None:
            while self.ranks.say():
                make()
            return

        def make_together() -> Answer:
            self.ranks.say(True)
            return make()

        watch(make_together)
        self.ranks.say(False)


class PencilTransform:
    """Transforms along the columns of a canvas whose rows are transformed already.

    Args:
        ranks: All processes.
        bands: First row and row after the last that each owns, and that each holds.
        extent: Height and width of the whole canvas, pixels.
    """

    def __init__(self, ranks: Ranks, bands: Sequence[tuple[int, int, int, int]], extent: tuple[int, int]) -> None:
        self._ranks, self._bands, self._height = ranks, bands, extent[0]

    def __call__(self, rows: Rows, padded: int, multiply: Callable[[Tensor], Tensor]) -> Rows:
        """Return the rows that this process holds of a canvas whose spectrum is multiplied.

        Args:
            rows: Rows that it owns, transformed.
            padded: Height to pad to with zeros, pixels.
            multiply: Multiplies its columns of the spectrum.
        """
        columns = split_evenly(rows.shape[1], self._ranks.count)
        widths, mine = [part.stop - part.start for part in columns], self._ranks.rank
        owned = [(bottom - top, widths[mine]) for top, bottom, _, _ in self._bands]
        pencil = torch.cat(self._ranks.transpose([rows[:, part] for part in columns], owned))
        pencil = torch.fft.ifft(multiply(torch.fft.fft(pencil, n=padded, dim=0)), dim=0)
        _, _, low, high = self._bands[mine]
        parts = [pencil[first:last] for _, _, first, last in self._bands]
        return torch.cat(self._ranks.transpose(parts, [(high - low, width) for width in widths]), 1)


def split_evenly(count: int, parts: int) -> list[slice]:
    """Return nearly equal parts of a number of columns.

    >>> split_evenly(5, 2)
    [slice(0, 2, None), slice(2, 5, None)]
    """
    return [slice(*ends) for ends in pairwise(count * part // parts for part in range(parts + 1))]
