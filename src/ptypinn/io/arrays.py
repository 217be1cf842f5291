"""Checked arrays of files, and the scans and reconstructions that they make up.

Patterns are paired with positions here, those of `--select` are selected, and the ones that cannot be used are named.
All formats pass here: readers call `build_scan` in place of `ScanData`. Patterns and positions are numbered from 0 as
they are in the file. Where the file has unequal numbers of them, a selection counts by the longer of the two. The
shorter is selected by the same numbers, or, where it has not that many, used whole if it is as long as the selection.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Complex64, Float64, Int64

from ptypinn.config.load import LoadConfig
from ptypinn.data.corrected_counts import PickedCounts
from ptypinn.data.ranges import advise_selection, format_ranges, list_ranges, parse_ranges
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import FRAME_TERMS, Counts, ScanData
from ptypinn.data.validation import check_canvas, check_patterns, check_shape
from ptypinn.errors import InputError

SELECTED = "selected"
"""Key of the record of the patterns that were selected."""


def as_probe(source: str, name: str, values: np.ndarray) -> Complex64[np.ndarray, "mode y x"]:
    """Return probe modes, (modes, N, N), from one or several of them.

    Args:
        source: Name of the file for messages.
        name: Where in it they lie.
        values: Modes, (N, N) or (modes, N, N).
    """
    if values.ndim not in (2, 3) or values.dtype.kind not in "uifc" or not values.size:
        actual = f"{values.dtype} of shape {values.shape}"
        raise InputError(source, name, actual, "numbers of shape (N, N) or (modes, N, N)")
    return values.reshape(-1, *values.shape[-2:]).astype(np.complex64)


def as_image(source: str, name: str, values: np.ndarray) -> Complex64[np.ndarray, "height width"]:
    """Return an object, (H, W).

    Args:
        source: Name of the file for messages.
        name: Where in it the object lies.
        values: The object, (H, W).
    """
    if values.ndim != 2 or values.dtype.kind not in "uifc":
        raise InputError(source, name, f"{values.dtype} of shape {values.shape}", "an image of numbers")
    return values.astype(np.complex64)


def as_positions(
    source: str, name: str, values: np.ndarray, axes: str = "y, x"
) -> Float64[np.ndarray, "patterns axes"]:
    """Return coordinates, one line per pattern, in the unit of the file.

    Args:
        source: Name of the file for messages.
        name: Where in it they lie.
        values: Coordinates, (M, axes).
        axes: Names of the coordinates, separated by commas, and their unit where the format has one.
    """
    wanted = len(axes.split(","))
    if values.ndim != 2 or values.shape[1] != wanted or values.dtype.kind not in "uif":
        actual = f"{values.dtype} of shape {values.shape}"
        raise InputError(source, name, actual, f"numbers of shape (patterns, {wanted}): {axes}")
    return np.ascontiguousarray(values, np.float64)


def foreign_reconstruction(
    source: str,
    image: np.ndarray,
    probe: np.ndarray,
    positions_px: Float64[np.ndarray, "patterns 2"],
    **others: Any,
) -> Reconstruction:
    """Check the arrays of a file and add the illumination that they imply.

    Args:
        source: Name of the file for messages.
        image: The object, (H, W), or (1, H, W) for the only layer of several.
        probe: Modes, (modes, N, N), or one, (N, N).
        positions_px: (y, x) of the probe's pixel (0, 0) on the object, pixels.
        others: Further fields of `Reconstruction`.

    Raises:
        InputError: Where arrays have the wrong shape or are not finite.
    """
    image = image[0] if image.ndim == 3 and len(image) == 1 else image
    probe = probe[None] if probe.ndim == 2 else probe
    _check(source, image, probe, positions_px)
    image, probe = image.astype(np.complex64), probe.astype(np.complex64)
    from ptypinn.physics.patches import compute_illumination_at

    illumination = compute_illumination_at(positions_px, probe, (image.shape[0], image.shape[1]))
    return Reconstruction(
        object=image, illumination=illumination.astype(np.float32), probe=probe, positions_px=positions_px, **others
    )


def _check(source: str, image: np.ndarray, probe: np.ndarray, positions_px: np.ndarray) -> None:
    for name, array, ndim, expected in (
        ("object", image, 2, "one layer (H, W)"),
        ("probe", probe, 3, "modes of N x N"),
    ):
        if array.ndim != ndim or array.dtype.kind not in "uifc" or 0 in array.shape:
            raise InputError(source, name, f"{array.dtype} of shape {array.shape}", expected)
        if not np.isfinite(array).all():
            raise InputError(source, name, "a value that is not finite", "finite values")
    if probe.shape[1] != probe.shape[2]:
        raise InputError(source, "probe", f"shape {probe.shape}", "square modes")
    if not len(positions_px):
        raise InputError(source, "positions", "none", "one per pattern")
    if not np.isfinite(positions_px).all():
        raise InputError(source, "positions", "a value that is not finite", "finite coordinates")
    check_canvas(source, positions_px, probe.shape[-1])


def build_scan(
    config: LoadConfig,
    *,
    counts: Counts,
    positions_px: Float64[np.ndarray, "positions 2"],
    provenance: dict[str, Any],
    **fields: Any,
) -> ScanData:
    """Return a scan of the selected patterns and their positions.

    Args:
        config: Reading options with `select`.
        counts: All patterns of the file, (M, N, N).
        positions_px: All positions of the file, (y, x) object pixels.
        provenance: Records of the file.
        fields: Further fields of `ScanData`; those with a value per pattern are selected too.

    Raises:
        InputError: Where patterns and positions do not match, or a selected one is not finite; it names their numbers
            and the selection without them.
    """
    source = str(provenance.get("file", "scan"))
    check_shape(source, tuple(counts.shape))
    patterns, positions = _pair(source, int(counts.shape[0]), len(positions_px), config)
    total = max(int(counts.shape[0]), len(positions_px))
    numbers = patterns if int(counts.shape[0]) == total else positions
    if config.select:
        counts, positions_px = _select_counts(counts, patterns, config), positions_px[positions]
        fields = {name: _select_field(name, value, patterns) for name, value in fields.items()}
        provenance = {**provenance, SELECTED: {"patterns": format_ranges(numbers), "of": total}}
    _require_finite_positions(source, positions_px, numbers, total)
    if isinstance(counts, np.ndarray) and counts.dtype.kind in "if":
        check_patterns(source, counts, fields.get("mask"), numbers, total)
    return ScanData(counts=counts, positions_px=positions_px, provenance=provenance, **fields)


def _select_field(name: str, value: Any, patterns: Int64[np.ndarray, " numbers"]) -> Any:
    """Return the part of a field that belongs to selected patterns; the field itself where it belongs to all."""
    if value is not None and name in FRAME_TERMS:
        return value[patterns]
    return value.subset(patterns) if hasattr(value, "subset") else value


def _pair(source: str, patterns: int, positions: int, config: LoadConfig) -> tuple[np.ndarray, np.ndarray]:
    """Indexes of the patterns and of the positions that belong together."""
    shorter, total = min(patterns, positions), max(patterns, positions)
    if not config.select:
        if patterns != positions:
            actual = f"{positions} positions for {patterns} patterns"
            raise InputError(source, "positions", actual, f"as many of both; {_advise_pairing(patterns, positions)}")
        return np.arange(total), np.arange(total)
    numbers = _parse(source, config.select, total)
    if numbers[-1] < shorter:
        return numbers, numbers
    if len(numbers) != shorter:
        actual = f"{len(numbers)} numbers up to {numbers[-1]}, for {patterns} patterns and {positions} positions"
        expected = f"numbers below {shorter}, or {shorter} numbers in all"
        raise InputError(source, "--select", actual, expected)
    whole = np.arange(shorter)
    return (whole, numbers) if patterns < positions else (numbers, whole)


def _advise_pairing(patterns: int, positions: int) -> str:
    shorter, total = min(patterns, positions), max(patterns, positions)
    longer = "patterns" if patterns > positions else "positions"
    if not shorter:
        return f"there are no {'positions' if patterns > positions else 'patterns'} at all"
    first, last = format_ranges(range(shorter)), format_ranges(range(total - shorter, total))
    return f'--select "{first}" takes the first {longer}, --select "{last}" the last'


def _require_finite_positions(source: str, positions_px: np.ndarray, numbers: np.ndarray, total: int) -> None:
    bad = ~np.isfinite(positions_px).all(1)
    if not bad.any():
        return
    of = numbers[bad]
    actual = f"positions {list_ranges(of)} of {total}" if len(of) > 1 else f"position {of[0]} of {total}"
    verb = "that are not finite" if len(of) > 1 else "that is not finite"
    raise InputError(source, "positions", f"{actual} {verb}", f"finite ones; {advise_selection(of, numbers, total)}")


def select_patterns(scan: ScanData, config: LoadConfig) -> ScanData:
    """Return the selected part of a scan whose reader did not use `build_scan`, as those of other packages."""
    if not config.select or SELECTED in scan.provenance:
        return scan
    fields = {name: getattr(scan, name) for name in scan.__dataclass_fields__}
    return build_scan(config, **{**fields, "provenance": dict(scan.provenance)})


def _parse(source: str, text: str, total: int) -> Int64[np.ndarray, " numbers"]:
    try:
        numbers = parse_ranges(text, total)
    except ValueError as error:
        raise InputError(source, "--select", f"{error} in {text}", f"numbers from 0 to {total - 1}") from None
    if not len(numbers):
        raise InputError(source, "--select", f"no pattern in {text}", f"some of {total}")
    return numbers


def _select_counts(counts: Counts, index: np.ndarray, config: LoadConfig) -> Counts:
    """Selected patterns: in memory where all are, or where they fit into the memory budget."""
    if isinstance(counts, np.ndarray):
        return counts[index]
    picked = PickedCounts(counts, index)
    size = float(np.prod(picked.shape, dtype=object)) * picked.dtype.itemsize
    return picked[:] if size <= config.memory_budget_gib * 2**30 else picked
