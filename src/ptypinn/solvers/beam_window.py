"""The window of near-field patterns that holds their beam: what a solve begins on, for a fraction of the work.

Patterns and probe share their pixels with the object, so that a dark rim around the beam is left out at first. The few
photons in it are fitted in the end, on whole patterns.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Num
from scipy.fft import next_fast_len

from ptypinn.data.beam_centre import mean_pattern
from ptypinn.data.positions import canvas_frame
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import Counts, ScanData

DARK_FRACTION = 0.02
"""Maximum fraction of the photons beyond the beam itself: the window has room for what is scattered beside it."""
MIN_EDGE = 16
"""Smallest edge of a window, pixels."""


class WindowedCounts:
    """The middle of patterns, cut out when they are read.

    Args:
        counts: Whole patterns.
        part: Rows, and columns, of the middle.
    """

    def __init__(self, counts: Counts, part: slice) -> None:
        self._counts, self._part = counts, part

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of patterns, rows, columns."""
        edge = self._part.stop - self._part.start
        return (self._counts.shape[0], edge, edge)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Stored number type."""
        return self._counts.dtype

    def __getitem__(self, key: Any) -> Num[np.ndarray, "patterns y x"]:
        """Read patterns by slice or by index array."""
        return self._counts[key][..., self._part, self._part]


@dataclass(frozen=True)
class BeamWindow:
    """A square in the middle of patterns.

    >>> window = BeamWindow(72, 100)
    >>> window.first, window.part
    (14, slice(14, 86, None))
    """

    edge: int
    """Its edge, pixels."""
    size: int
    """Edge of the patterns, pixels."""

    @classmethod
    def of(cls, scan: ScanData) -> BeamWindow:
        """Return the smallest window that holds the beam of a near-field scan, of an edge that suits its transforms."""
        assert scan.fresnel_number is not None
        mean = np.where(scan.good, mean_pattern(scan), 0.0)
        windows = [cls(edge, scan.size) for edge in range(MIN_EDGE, scan.size, 2)]
        beams = (one.edge for one in windows if mean[one.part, one.part].sum() >= (1 - DARK_FRACTION) * mean.sum())
        edge = next(beams, scan.size) + 1 / scan.fresnel_number  # light at the limit of the pixels goes that far aside
        fast = (one for one in windows if one.edge >= edge and next_fast_len(one.edge) == one.edge)
        return next(fast, cls(scan.size, scan.size))

    @property
    def first(self) -> int:
        """First row, and column: the width of the rim, for both edges are even."""
        return (self.size - self.edge) // 2

    @property
    def part(self) -> slice:
        """Rows, and columns."""
        return slice(self.first, self.first + self.edge)

    def cut(self, scan: ScanData) -> ScanData:
        """Return a scan of the middle of its patterns; the scan itself where that is all of them."""
        if self.edge == self.size:
            return scan
        counts = WindowedCounts(scan.counts, self.part)
        images = {name: getattr(scan, name) for name in ("probe", "mask", "background", "probe_variation")}
        return scan.replace(
            counts=counts[:] if isinstance(scan.counts, np.ndarray) else counts,
            positions_px=scan.positions_px + self.first,
            **{name: None if image is None else image[..., self.part, self.part] for name, image in images.items()},
        )

    def widen(self, recon: Reconstruction, part: ScanData, scan: ScanData) -> Reconstruction:
        """Return a reconstruction of whole patterns, to go on from: with no light in the rim of the probe.

        Args:
            recon: Reconstruction of the window.
            part: What `cut` returns of the scan.
            scan: The scan.
        """
        if self.edge == self.size:
            return recon
        origin, shape = canvas_frame(scan)
        if scan.truth is None or recon.object.shape != scan.truth.shape:
            origin = (recon.origin_px[0] - self.first, recon.origin_px[1] - self.first)
            shape = (recon.object.shape[0] + 2 * self.first, recon.object.shape[1] + 2 * self.first)
        moves = [ours - theirs for ours, theirs in zip(recon.origin_px, origin, strict=True)]
        pads = [(move, whole - move - own) for move, whole, own in zip(moves, shape, recon.object.shape, strict=True)]
        rim = ((0, 0), (self.first, self.first), (self.first, self.first))
        images, background = recon.probe_variation, recon.background
        if background is not None:
            background = scan.background if background is part.background else np.pad(background, rim[1:], mode="edge")
        return replace(
            recon,
            object=np.pad(recon.object, pads, constant_values=1),
            illumination=np.pad(recon.illumination, pads),
            probe=np.pad(recon.probe, rim),
            probe_variation=None if images is None else np.pad(images, ((0, 0), *rim)),
            background=background,
            positions_px=recon.positions_px + moves - self.first,
            origin_px=origin,
        )
