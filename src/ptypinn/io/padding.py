"""Patterns padded with unmeasured pixels, and the effect on all quantities in object pixels.

A detector that ends close to the beam makes object pixels of `wavelength * distance / (N * detector_pixel)` that are
too coarse for what the sample scatters beyond it. More pixels of the same size around it, of which nothing is known,
make object pixels finer: the iterate holds there whatever the measured pixels demand.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Complex64, Num, Shaped

from ptypinn.config.load import LoadConfig
from ptypinn.config.shared import option_name
from ptypinn.data.scan import Counts, ScanData
from ptypinn.errors import InputError
from ptypinn.io.crop import LEFT_OUT
from ptypinn.utils.plain_values import number

PADDED_FROM = "padded_from_px"
"""Key of the record of the rows and columns that were measured."""
LOST_TRUTH = "the true object, whose pixels are larger than those of patterns padded by --pad-px"


class PaddedCounts:
    """Counts with a border of zeros, which stand for no measurement: a mask goes with them. Padded when they are read.

    Args:
        counts: The measured patterns, (M, n, n).
        size: Edge N of the padded ones, pixels.
    """

    def __init__(self, counts: Counts, size: int) -> None:
        self._counts, self._size = counts, size

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of patterns, rows, columns."""
        return (self._counts.shape[0], self._size, self._size)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Stored number type."""
        return self._counts.dtype

    def __getitem__(self, key: Any) -> Num[np.ndarray, "patterns y x"]:
        """Read patterns by slice or by index array."""
        return surround(self._counts[key], self._size)


def pad_scan(scan: ScanData, config: LoadConfig) -> ScanData:
    """Return a scan on the finer object pixels of patterns that `pad_px` pads; the same without that option.

    Metres and photons stay. Patterns are padded when they are read, unless the padded ones fit the memory budget.

    Args:
        scan: Far-field scan as read, its bad pixels masked.
        config: Reading options with `pad_px`.

    Raises:
        InputError: Where patterns are as large already, or of a near-field scan.
    """
    size, edge, measured = config.pad_px, scan.size, measured_edge(scan)
    if PADDED_FROM in scan.provenance and measured == edge:  # of a file with padded patterns, cropped to measured ones
        scan = scan.replace(provenance={name: each for name, each in scan.provenance.items() if name != PADDED_FROM})
    if size is None:
        return scan
    if scan.fresnel_number is not None:
        expected = "patterns of a far field; those of a near field share their pixels with the object"
        raise InputError(scan.source, option_name("pad_px"), str(size), expected)
    if size <= edge:
        raise InputError(scan.source, option_name("pad_px"), str(size), f"more than {edge}, the edge of its patterns")
    canvas = float(np.prod(np.ptp(scan.positions_px, 0) * size / edge + size))
    if canvas > config.max_canvas_pixels:
        expected = f"fewer, for an object of at most {config.max_canvas_pixels} pixels (--max-canvas-pixels)"
        raise InputError(scan.source, option_name("pad_px"), f"{size}, which makes it {canvas:.3g} pixels", expected)
    counts: Counts = PaddedCounts(scan.counts, size)
    stack_bytes = scan.n_patterns * size**2 * counts.dtype.itemsize
    if isinstance(scan.counts, np.ndarray) and stack_bytes <= config.memory_budget_gib * 2**30:
        counts = counts[:]
    scale, gaps, pixel = size / edge, scan.gap_fresnel_numbers, scan.pixel_size_m
    lost = {} if scan.truth is None else {LEFT_OUT: [*scan.provenance.get(LEFT_OUT, []), LOST_TRUTH]}
    return scan.replace(
        counts=counts,
        mask=surround(scan.good, size),
        positions_px=scan.positions_px * scale,
        probe=None if scan.probe is None else finer(scan.probe, size),
        pixel_size_m=None if pixel is None else pixel / scale,
        background=None if scan.background is None else surround(scan.background, size),
        probe_variation=None if scan.probe_variation is None else finer(scan.probe_variation, size),
        gap_fresnel_numbers=None if gaps is None else gaps / scale**2,
        sample_tilt=None if scan.sample_tilt is None else scan.sample_tilt / scale,
        truth=None,
        experiment=None,
        provenance={**scan.provenance, PADDED_FROM: [measured, measured], **lost},
    )


def measured_edge(scan: ScanData) -> int:
    """Return the edge of the measured part of the patterns, pixels, which may have been padded before."""
    record = scan.provenance.get(PADDED_FROM)
    edge = number(record[0]) if isinstance(record, list) and len(record) == 2 else None
    return scan.size if edge is None or not 0 < edge < scan.size else int(edge)


def surround(images: Shaped[np.ndarray, "*batch y x"], size: int) -> Shaped[np.ndarray, "*batch row column"]:
    """Return images in the middle of larger ones that are 0, or False, around them; N//2 stays the middle.

    >>> surround(np.ones((2, 2), int), 4).tolist()
    [[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    """
    rows, columns = images.shape[-2:]
    larger = np.zeros((*images.shape[:-2], size, size), images.dtype)
    first, left = size // 2 - rows // 2, size // 2 - columns // 2
    larger[..., first : first + rows, left : left + columns] = images
    return larger


def finer(modes: Complex64[np.ndarray, "*mode y x"], size: int) -> Complex64[np.ndarray, "*mode row column"]:
    """Extend the far field of waves by zeros: more, smaller object pixels, about pixel N//2; the power stays.

    Args:
        modes: Waves, (..., N, N).
        size: Edge of the extended far field, pixels.
    """
    axes = (-2, -1)
    field = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(modes, axes), norm="ortho"), axes)
    wide = np.fft.ifftshift(surround(field, size), axes)
    return np.fft.fftshift(np.fft.ifft2(wide, norm="ortho"), axes).astype(np.complex64)
