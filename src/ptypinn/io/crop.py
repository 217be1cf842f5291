"""Cropping of patterns, and its effect on all quantities in object pixels.

The object pixel is `wavelength * distance / (N * detector_pixel)`: of fewer detector pixels come larger object pixels,
while the stage moved by the same metres and the probe's array covers the same part of the sample.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Complex64, Float64

from ptypinn.config.load import CORNER, LoadConfig
from ptypinn.data.pattern_form import is_corner_centred
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.io.safe.hdf5_chunks import read_part

CUT_FROM = "cut_from_px"
"""Key of the record of the rows and columns that were cropped."""
DOUBTS = "doubts"
"""Key of the record of sentences about a file that deserves a second look."""
CORNER_BEAM = "patterns are brightest at all four corners: --centre-px [0,0] rolls their zero frequency to the middle"
CORNER_SAMPLE = 8
"""Number of patterns whose mean is searched for the direct beam."""
LEFT_OUT = "left_out"
"""Key of the record of the contents of a file that its scan lacks."""


@dataclass(frozen=True)
class Window:
    """Part of every stored pattern that is read."""

    rows: slice
    """Rows of the crop."""
    columns: slice
    """Columns of the crop."""
    rolled: bool = False
    """True if patterns have their zero frequency in the corner and are rolled by half their size before."""

    def __iter__(self) -> Iterator[slice]:
        return iter((self.rows, self.columns))

    def covers(self, rows: int, columns: int) -> bool:
        """Return True if nothing of patterns of this shape is cut off."""
        return (self.rows, self.columns) == (slice(0, rows), slice(0, columns))


def window_of(source: str, shape: tuple[int, ...], config: LoadConfig) -> Window | None:
    """Return the square that `centre_px` and `crop_px` ask for, its zero frequency at N//2; None for the whole pattern.

    Args:
        source: Name of the data for messages.
        shape: Shape of the patterns; the last two axes count.
        config: Reading options. Without `crop_px`, the largest square around the centre.

    Raises:
        InputError: Where the square does not fit into the patterns.
    """
    if config.centre_px is None and config.crop_px is None:
        return None
    rolled, middle = config.centre_px == CORNER, (shape[-2] // 2, shape[-1] // 2)
    centre = middle if rolled or config.centre_px is None else config.centre_px
    largest = 2 * min(min(c, n - c) for c, n in zip(centre, shape[-2:], strict=True))
    if largest <= 0:
        actual = f"{tuple(centre)} in patterns of {shape[-2]} x {shape[-1]}"
        raise InputError(source, "--centre-px", actual, "a pixel inside them")
    edge = config.crop_px or largest
    if edge > largest:
        actual = f"{edge} pixels around {tuple(centre)} in patterns of {shape[-2]} x {shape[-1]}"
        raise InputError(source, "--crop-px", actual, "a square inside them")
    rows, columns = (slice(c - edge // 2, c + edge // 2) for c in centre)
    return Window(rows, columns, rolled)


def note_corner_beam(scan: ScanData, config: LoadConfig) -> ScanData:
    """Warn of patterns whose direct beam is in their corners, and record it; return the scan."""
    if config.centre_px == CORNER:
        return scan
    index = np.unique(np.linspace(0, scan.n_patterns - 1, min(scan.n_patterns, CORNER_SAMPLE)).astype(np.int64))
    frames = np.nan_to_num(np.where(scan.good, scan.counts[index], 0).astype(np.float64))
    if not is_corner_centred(frames.mean(0)):
        return scan
    warnings.warn(f"{scan.source}: {CORNER_BEAM}", stacklevel=2)
    return scan.replace(provenance={**scan.provenance, DOUBTS: [*scan.provenance.get(DOUBTS, []), CORNER_BEAM]})


def cut(values: np.ndarray, window: Window | None) -> np.ndarray:
    """Crop patterns or a mask, whose last two axes are rows and columns; those of a rolled window are a copy."""
    if window is None:
        return values
    if window.rolled:
        values = np.fft.fftshift(values, axes=(-2, -1))
    return values[(..., window.rows, window.columns)]


def read_cut(dataset: Any, lead: tuple[Any, ...], window: Window | None) -> np.ndarray:
    """Read patterns from a dataset on disk and crop them; only the crop is read, unless patterns are rolled.

    Args:
        dataset: HDF5 dataset or memory map, (..., rows, columns).
        lead: Index of the axes before rows and columns.
        window: Rows and columns of the crop.
    """
    if window is None or window.rolled:
        return cut(read_part(dataset, lead), window)
    return read_part(dataset, (*lead, window.rows, window.columns))


@dataclass(frozen=True)
class Crop:
    """Window of every pattern, and the size of the patterns that a file's object pixels refer to."""

    source: str
    """Name of the data for messages."""
    stored: tuple[int, int]
    """Rows and columns of the patterns in the file."""
    window: Window | None
    """Rows and columns of the crop; None where nothing is cut off."""
    edge: int | None = None
    """Edge N of the patterns that the file's object pixel and its positions in pixels belong to: that of its probe or
    of its square patterns; None where patterns are oblong and there is no probe."""

    @classmethod
    def of(cls, source: str, shape: tuple[int, ...], config: LoadConfig, probe: np.ndarray | None = None) -> Crop:
        """Return the crop of the reading options.

        Args:
            source: Name of the data for messages.
            shape: Shape of the stored patterns; the last two axes count.
            config: Reading options.
            probe: The file's probe, (modes, N, N).
        """
        rows, columns = (int(n) for n in shape[-2:])
        edge = probe.shape[-1] if probe is not None else rows if rows == columns else None
        window = window_of(source, shape, config)
        whole = window is None or window.covers(rows, columns)
        return cls(source, (rows, columns), None if whole else window, edge)

    @property
    def size(self) -> int:
        """Edge of the cropped patterns, pixels."""
        return self.stored[-1] if self.window is None else self.window.columns.stop - self.window.columns.start

    @property
    def scale(self) -> float:
        """Ratio of the cropped edge to the file's edge, at most 1: positions scale by it.

        Raises:
            InputError: Where patterns are oblong, so that the object pixel is ambiguous.
        """
        if self.window is None:
            return 1.0
        if self.edge is None:
            actual = f"object pixels of patterns of {self.stored[0]} x {self.stored[1]} pixels"
            raise InputError(self.source, "positions", actual, "lengths, or square patterns")
        return self.size / self.edge

    @property
    def table_scale(self) -> float:
        """The same for a separate table; its pixels are those of the cropped patterns where the file's are oblong."""
        return 1.0 if self.edge is None else self.scale

    def pixel_size_m(self, of_file: float | None) -> float | None:
        """Return the object pixel of the cropped patterns, metres, from that of the file."""
        return None if of_file is None else of_file / self.scale

    def positions(self, of_file: Float64[np.ndarray, "patterns 2"]) -> Float64[np.ndarray, "patterns 2"]:
        """Convert positions (y, x) of the probe's pixel (0, 0) to object pixels of the cropped patterns."""
        return of_file * self.scale

    def probe(self, modes: Complex64[np.ndarray, "mode y x"]) -> Complex64[np.ndarray, "mode row column"]:
        """Resample probe modes to the object pixels of the cropped patterns, without the far field outside.

        Raises:
            InputError: Where the probe has fewer pixels than the cropped patterns.
        """
        if self.window is None or modes.shape[-1] == self.size:
            return modes
        if modes.shape[-2] != modes.shape[-1] or modes.shape[-1] < self.size:
            expected = f"square modes of at least {self.size} pixels, the edge of the cropped patterns"
            raise InputError(self.source, "probe", f"shape {modes.shape}", expected)
        return coarser(modes, self.size)

    def notes(self, truth: np.ndarray | None = None) -> dict[str, Any]:
        """Return records for the provenance: the crop, and that the true object is left out."""
        if self.window is None:
            return {}
        lost = "the true object, whose pixels are smaller than those of patterns cut by --crop-px or --centre-px"
        return {CUT_FROM: list(self.stored), **({} if truth is None else {LEFT_OUT: [lost]})}

    def truth(self, of_file: np.ndarray | None) -> np.ndarray | None:
        """Return the true object, (H, W); None where patterns are cropped, whose object pixels differ."""
        return of_file if self.window is None else None


def coarser(modes: Complex64[np.ndarray, "mode y x"], size: int) -> Complex64[np.ndarray, "mode row column"]:
    """Crop the far field of waves to its middle: fewer, larger object pixels, about pixel N//2.

    Args:
        modes: Waves, (modes, N, N).
        size: Edge of the remaining part of the far field, pixels.
    """
    axes, first = (-2, -1), modes.shape[-1] // 2 - size // 2
    field = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(modes, axes), norm="ortho"), axes)
    middle = field[:, first : first + size, first : first + size]
    return np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(middle, axes), norm="ortho"), axes).astype(np.complex64)
