"""Checks that every `ScanData` passes when it is built."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING

import numpy as np

from ptypinn.config.load import MAX_CANVAS_PIXELS
from ptypinn.data.ranges import advise_selection, list_ranges
from ptypinn.errors import InputError

if TYPE_CHECKING:
    from ptypinn.data.scan import ScanData

SQUARE = "square patterns; --crop-px cuts them so"
MTF_TABLE = "frequencies that increase from 0, and values of at least 0"
EVEN = "an even edge of at least 8 pixels; --crop-px cuts it so"
_deferred: ContextVar[bool] = ContextVar("checks_deferred", default=False)


@contextlib.contextmanager
def deferred_checks(deferred: bool = True) -> Iterator[None]:
    """Accept values that are no counts, and far positions, within the context: a survey masks or leaves them out."""
    token = _deferred.set(deferred)
    try:
        yield
    finally:
        _deferred.reset(token)


def validate_scan(scan: ScanData) -> None:
    """Raise `InputError` for the first contradiction in a scan: shapes, finiteness, signs, pairing, canvas."""
    _check_mask(scan)
    _check_counts(scan)
    _check_positions(scan)
    _check_probe(scan)
    _check_truth(scan)
    _check_numbers(scan)
    _check_terms(scan)
    _check_background(scan)


def check_shape(source: str, shape: tuple[int, ...]) -> None:
    """Raise `InputError` where counts are no stack of square patterns of a sane size."""
    if len(shape) != 3:
        raise InputError(source, "counts", f"shape {shape}", "three axes (patterns, N, N)")
    if shape[0] == 0:
        raise InputError(source, "counts", "0 patterns", "at least one")
    if shape[1] != shape[2]:
        raise InputError(source, "counts", f"patterns of {shape[1]} x {shape[2]} pixels", SQUARE)
    if shape[1] % 2 or shape[1] < 8:
        raise InputError(source, "counts", f"patterns of {shape[1]} pixels", EVEN)
    if shape[1] ** 2 > MAX_CANVAS_PIXELS:
        actual = f"patterns of {shape[1]} x {shape[2]} pixels"
        raise InputError(source, "counts", actual, f"at most {MAX_CANVAS_PIXELS:.3g} in all; --crop-px cuts them")


def check_patterns(
    source: str,
    patterns: np.ndarray,
    good: np.ndarray | None = None,
    numbers: np.ndarray | None = None,
    total: int | None = None,
) -> None:
    """Raise `InputError` where counts of good pixels are not finite or negative.

    Args:
        source: Name of the data for the message.
        patterns: Counts, (patterns, y, x).
        good: Good pixels, (y, x); bad ones may hold anything.
        numbers: Index of each pattern in the scan for the message; counted from 0 where None.
        total: Count of the patterns in the file; None where these are a part of those that are read.
    """
    if patterns.dtype.kind == "u" or _deferred.get():
        return
    bad = ~np.isfinite(patterns) | (patterns < 0)
    if good is not None:
        bad &= good
    if bad.any():
        j, y, x = (int(i) for i in np.argwhere(bad)[0])
        numbers = np.arange(len(patterns)) if numbers is None else numbers
        actual = f"{patterns[j, y, x]} at pattern {numbers[j]}, pixel ({y}, {x})"
        faulty = numbers[bad.any((1, 2))]
        if len(faulty) > 1:
            actual += f", and alike in patterns {list_ranges(faulty)}" + (f" of {total}" if total else "")
        advice = "--select leaves patterns out, --mask pixels"
        if total is not None and 2 * len(faulty) < len(numbers):
            advice = advise_selection(faulty, numbers, total)
        raise InputError(source, "counts", actual, f"finite, non-negative counts; {advice}")


def check_canvas(source: str, positions_px: np.ndarray, size: int, max_pixels: int = MAX_CANVAS_PIXELS) -> None:
    """Raise `InputError` where positions span a canvas of more than `max_pixels` pixels."""
    height, width = (np.ptp(positions_px, axis=0) + size).tolist()
    if height * width > max_pixels and not _deferred.get():
        raise InputError(
            source,
            "positions",
            f"a span that needs a canvas of {height:.3g} x {width:.3g} pixels",
            f"at most {max_pixels:.3g} pixels in all; check the unit of the positions, or raise --max-canvas-pixels",
        )


def _check_counts(scan: ScanData) -> None:
    if isinstance(scan.counts, np.ndarray):
        if scan.counts.dtype.kind not in "uif":
            raise InputError(scan.source, "counts", f"type {scan.counts.dtype}", "real numbers")
        check_patterns(scan.source, scan.counts, scan.mask)


def _check_positions(scan: ScanData) -> None:
    positions = scan.positions_px
    if positions.shape != (scan.n_patterns, 2):
        actual = f"shape {positions.shape} for {scan.n_patterns} patterns"
        raise InputError(scan.source, "positions", actual, f"({scan.n_patterns}, 2)")
    if positions.dtype != np.float64:
        raise InputError(scan.source, "positions", f"type {positions.dtype}", "float64")
    if not np.isfinite(positions).all():
        bad = np.flatnonzero(~np.isfinite(positions).all(1))
        actual = f"values that are not finite in positions {list_ranges(bad)} of {len(positions)}"
        raise InputError(scan.source, "positions", actual, "finite coordinates")
    check_canvas(scan.source, positions, scan.size, scan.option("max_canvas_pixels", MAX_CANVAS_PIXELS))


def _check_mask(scan: ScanData) -> None:
    if scan.good.shape != tuple(scan.counts.shape[1:]) or scan.good.dtype != bool:
        actual = f"{scan.good.dtype} of shape {scan.good.shape}"
        raise InputError(scan.source, "mask", actual, f"bool of shape {tuple(scan.counts.shape[1:])}")
    if not scan.good.any():
        raise InputError(scan.source, "mask", "no good pixel", "at least one good pixel")


def _check_probe(scan: ScanData) -> None:
    if scan.probe is None:
        return
    expected = f"complex64 of shape (modes, {scan.size}, {scan.size})"
    if scan.probe.ndim != 3 or scan.probe.shape[1:] != (scan.size, scan.size) or scan.probe.dtype != np.complex64:
        raise InputError(scan.source, "probe", f"{scan.probe.dtype} of shape {scan.probe.shape}", expected)
    if not np.isfinite(scan.probe).all():
        raise InputError(scan.source, "probe", "a value that is not finite", "finite values")
    if not np.any(scan.probe):
        raise InputError(scan.source, "probe", "zeros only", "a probe that carries photons")
    if scan.probe_gauge not in ("calibrated", "relative"):
        raise InputError(scan.source, "probe_gauge", repr(scan.probe_gauge), "'calibrated' or 'relative'")


def _check_truth(scan: ScanData) -> None:
    if scan.truth is None:
        return
    if scan.truth.ndim != 2 or scan.truth.dtype != np.complex64 or not np.isfinite(scan.truth).all():
        raise InputError(
            scan.source, "truth", f"{scan.truth.dtype} of shape {scan.truth.shape}", "finite complex64 image"
        )
    if not patches_lie_inside(scan.positions_px, scan.size, scan.truth.shape):
        low, high = np.round(scan.positions_px.min(0)), np.round(scan.positions_px.max(0)) + scan.size
        actual = f"positions that reach {low.tolist()} to {high.tolist()}"
        raise InputError(scan.source, "truth", actual, f"patches inside the object of {scan.truth.shape} pixels")


def patches_lie_inside(positions_px: np.ndarray, size: int, shape: tuple[int, ...]) -> bool:
    """Return True if all patches, cut at the nearest whole pixel, lie on a canvas.

    >>> patches_lie_inside(np.array([[-0.4, 2.0]]), 8, (8, 10)), patches_lie_inside(np.array([[0.0, 3.0]]), 8, (8, 10))
    (True, False)
    """
    corners = np.round(positions_px)
    return bool((corners >= 0).all() and (corners + size <= shape).all())


def _check_numbers(scan: ScanData) -> None:
    for name in ("pixel_size_m", "energy_eV", "detector_distance_m", "detector_pixel_m", "fresnel_number"):
        value = getattr(scan, name)
        if value is not None and not (np.isfinite(value) and value > 0):
            raise InputError(scan.source, name, str(value), "a positive number")


def _check_gaps(scan: ScanData) -> None:
    gaps = scan.gap_fresnel_numbers
    if gaps is not None and not (gaps.ndim == 1 and gaps.size and (np.isfinite(gaps) & (gaps > 0)).all()):
        raise InputError(scan.source, "gap_fresnel_numbers", str(gaps.tolist()), "a positive number for every gap")
    tilt = scan.sample_tilt
    if tilt is None:
        return
    if tilt.shape != (2,) or not np.isfinite(tilt).all():
        raise InputError(scan.source, "sample_tilt", str(tilt.tolist()), "two finite numbers")
    if gaps is not None and leaves_array(tilt, gaps, scan.size):
        walk = float(np.abs(tilt).max() * np.sum(1 / gaps))
        actual = f"a way of {walk:.4g} pixels aside from the first slice to the last"
        raise InputError(
            scan.source, "sample_tilt", actual, f"at most {scan.size / 2:g}, for the wave leaves its array"
        )


def leaves_array(tilt: np.ndarray, gaps: np.ndarray, size: int) -> bool:
    """Return True if a wave goes aside by more than half of its array between the faces of a tilted sample.

    Args:
        tilt: Tilt (y, x), cycles per object pixel.
        gaps: Fresnel numbers of the gaps between slices.
        size: Edge of the array, pixels.
    """
    return bool(np.abs(tilt).max() * np.sum(1 / gaps) > size / 2)


def _check_terms(scan: ScanData) -> None:
    flux, beam = scan.flux, scan.beam_px
    if flux is not None and (flux.shape != (scan.n_patterns,) or not (np.isfinite(flux) & (flux > 0)).all()):
        actual = f"{flux.dtype} of shape {flux.shape}"
        raise InputError(scan.source, "flux", actual, f"{scan.n_patterns} positive numbers, one per frame")
    if beam is not None and (beam.shape != (scan.n_patterns, 2) or not np.isfinite(beam).all()):
        actual = f"{beam.dtype} of shape {beam.shape}"
        raise InputError(scan.source, "beam_px", actual, f"{scan.n_patterns} finite pairs, one per frame")
    _check_variation(scan)
    _check_gaps(scan)
    spread = scan.point_spread_px
    if spread is not None and not 0 < spread < scan.size:
        raise InputError(scan.source, "point_spread_px", str(spread), "more than 0, less than the edge of a pattern")
    _check_mtf(scan)


def _check_mtf(scan: ScanData) -> None:
    if scan.mtf is not None and not is_mtf_table(scan.mtf):
        raise InputError(scan.source, "mtf", f"values of shape {scan.mtf.shape}", MTF_TABLE)


def is_mtf_table(table: np.ndarray) -> bool:
    """Return True for a modulation transfer function: columns of frequencies that increase from 0, and of values."""
    sound = table.ndim == 2 and table.shape[1:] == (2,) and len(table) > 1 and bool(np.isfinite(table).all())
    return sound and bool(table[0, 0] == 0 and (np.diff(table[:, 0]) > 0).all() and (table >= 0).all())


def _check_variation(scan: ScanData) -> None:
    images, weights = scan.probe_variation, scan.probe_weights
    if images is None and weights is None:
        return
    if images is None or weights is None:
        raise InputError(scan.source, "probe_variation", "images or weights alone", "both or none")
    modes = images.shape[1] if images.ndim == 4 else 1
    shapes = (len(images), modes, scan.size, scan.size), (scan.n_patterns, len(images))
    for name, values, shape in zip(("probe_variation", "probe_weights"), (images, weights), shapes, strict=True):
        if values.shape != shape or not np.isfinite(values).all():
            actual = f"{values.dtype} of shape {values.shape}"
            raise InputError(scan.source, name, actual, f"finite values of shape {shape}")


def _check_background(scan: ScanData) -> None:
    if scan.background is None:
        return
    shape, good = (scan.size, scan.size), scan.good
    if scan.background.shape != shape or scan.background.dtype != np.float32:
        actual = f"{scan.background.dtype} of shape {scan.background.shape}"
        raise InputError(scan.source, "background", actual, f"float32 of shape {shape}, counts per pixel")
    values = scan.background[good]
    if not (np.isfinite(values) & (values >= 0)).all():
        least = "a value that is not finite" if not np.isfinite(values).all() else f"{values.min():.3g}"
        raise InputError(scan.source, "background", least, "finite counts of at least 0 on good pixels")
