"""What cutting patterns does to all that is counted in object pixels.

The object pixel is `wavelength * distance / (N * detector_pixel)`: of fewer detector pixels come larger object pixels,
while the stage moved by the same metres and the probe's array covers the same part of the sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Complex64, Float64

from ptypinn.config.load import LoadConfig
from ptypinn.errors import InputError

CUT_FROM = "cut_from_px"
"""Record of the rows and columns of patterns that were cut."""
LEFT_OUT = "left_out"
"""Record of what a file holds and its scan does not, a few words each."""


@dataclass(frozen=True)
class Crop:
    """The window that is kept of every pattern, and the patterns whose object pixels a file counts in."""

    source: str
    """Name of the data for messages."""
    stored: tuple[int, int]
    """Rows and columns of the patterns in the file."""
    window: Window | None
    """What is kept of them; None for all."""
    edge: int | None = None
    """Edge N of the patterns that the file's object pixel and its positions in pixels belong to: that of its probe or
    of its square patterns; None where patterns are oblong and there is no probe."""

    @classmethod
    def of(cls, source: str, shape: tuple[int, ...], config: LoadConfig, probe: np.ndarray | None = None) -> Crop:
        """The crop that options ask for.

        Args:
            source: Name of the data for messages.
            shape: Shape of the stored patterns; the last two axes count.
            config: Reading options.
            probe: The file's probe, (modes, N, N).
        """
        rows, columns = (int(n) for n in shape[-2:])
        edge = probe.shape[-1] if probe is not None else rows if rows == columns else None
        window = window_of(source, shape, config)
        whole = window is not None and all(part == slice(0, n) for part, n in zip(window, (rows, columns), strict=True))
        return cls(source, (rows, columns), None if whole else window, edge)

    @property
    def kept(self) -> int:
        """Edge of the patterns that are kept, pixels."""
        return self.stored[-1] if self.window is None else self.window[1].stop - self.window[1].start

    @property
    def scale(self) -> float:
        """Object pixels of the file per object pixel of what is kept, turned over: at most 1.

        Raises:
            InputError: Where patterns are oblong, so that nothing tells which object pixels are meant.
        """
        if self.window is None:
            return 1.0
        if self.edge is None:
            found = f"object pixels of patterns of {self.stored[0]} x {self.stored[1]} pixels"
            raise InputError(self.source, "positions", found, "lengths, or square patterns")
        return self.kept / self.edge

    @property
    def table_scale(self) -> float:
        """The same for a table beside the file; its pixels are those of what is kept where patterns are oblong."""
        return 1.0 if self.edge is None else self.scale

    def pixel_size_m(self, of_file: float | None) -> float | None:
        """The object pixel of what is kept, metres, by that of the file."""
        return None if of_file is None else of_file / self.scale

    def positions(self, of_file: Float64[np.ndarray, "patterns 2"]) -> Float64[np.ndarray, "patterns 2"]:
        """Positions (y, x) of the probe's pixel (0, 0), in object pixels of what is kept; the same in metres."""
        return of_file * self.scale

    def probe(self, modes: Complex64[np.ndarray, "mode y x"]) -> Complex64[np.ndarray, "mode row column"]:
        """Probe modes on the object pixels of what is kept, without the light that misses it.

        Raises:
            InputError: Where the probe has fewer pixels than what is kept.
        """
        if self.window is None or modes.shape[-1] == self.kept:
            return modes
        if modes.shape[-2] != modes.shape[-1] or modes.shape[-1] < self.kept:
            expected = f"square modes of {self.kept} pixels or more, the edge of what is kept of the patterns"
            raise InputError(self.source, "probe", f"shape {modes.shape}", expected)
        return coarser(modes, self.kept)

    def notes(self, truth: np.ndarray | None = None) -> dict[str, Any]:
        """Records for the provenance: from what patterns were cut, and that the true object is left out."""
        if self.window is None:
            return {}
        lost = "the true object, whose pixels are smaller than those of patterns cut by --crop_px or --centre_px"
        return {CUT_FROM: list(self.stored), **({} if truth is None else {LEFT_OUT: [lost]})}

    def truth(self, of_file: np.ndarray | None) -> np.ndarray | None:
        """The true object, (H, W); None where patterns are cut, for its pixels are not theirs."""
        return of_file if self.window is None else None


def coarser(modes: Complex64[np.ndarray, "mode y x"], kept: int) -> Complex64[np.ndarray, "mode row column"]:
    """Waves whose far field is the middle of another's: on fewer, larger pixels, about pixel N//2.

    Args:
        modes: Waves, (modes, N, N).
        kept: Edge of the part of the far field that is kept, pixels.
    """
    axes, first = (-2, -1), modes.shape[-1] // 2 - kept // 2
    field = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(modes, axes), norm="ortho"), axes)
    middle = field[:, first : first + kept, first : first + kept]
    return np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(middle, axes), norm="ortho"), axes).astype(np.complex64)


Window = tuple[slice, slice]
"""Rows and columns that are kept."""


def window_of(source: str, shape: tuple[int, ...], config: LoadConfig) -> Window | None:
    """The square that `centre_px` and `crop_px` ask for, its zero frequency at N//2; None for the whole pattern.

    Args:
        source: Name of the data for messages.
        shape: Shape of the patterns; the last two axes count.
        config: Reading options. Without `crop_px` the largest square around the centre is kept.

    Raises:
        InputError: Where the square does not fit into the patterns.
    """
    if config.centre_px is None and config.crop_px is None:
        return None
    centre = config.centre_px or (shape[-2] // 2, shape[-1] // 2)
    largest = 2 * min(min(c, n - c) for c, n in zip(centre, shape[-2:], strict=True))
    if largest <= 0:
        found = f"{tuple(centre)} in patterns of {shape[-2]} x {shape[-1]}"
        raise InputError(source, "--centre_px", found, "a pixel inside them")
    edge = config.crop_px or largest
    if edge > largest:
        found = f"{edge} pixels around {tuple(centre)} in patterns of {shape[-2]} x {shape[-1]}"
        raise InputError(source, "--crop_px", found, "a square inside them")
    rows, columns = (slice(c - edge // 2, c + edge // 2) for c in centre)
    return rows, columns


def cut(values: np.ndarray, window: Window | None) -> np.ndarray:
    """The window of patterns or of a mask, whose last two axes are rows and columns."""
    return values if window is None else values[(..., *window)]
