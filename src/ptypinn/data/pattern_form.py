"""Form of stored patterns, by their values: square roots of counts, a zero frequency in the corner, projection images.

Nothing is converted. Readers ask for an option, or warn, where patterns look unlike counts with the zero frequency in
the middle, and solvers refuse projection (near-field) images.

Those are distinguished from far-field patterns by their motion while the sample moves. In a projection the detector
shows a magnified shadow of the sample, which moves across it with the scan. A far-field pattern from a curved probe
does so too, inside its bright field: its cone of C detector pixels is a shadow of the probe's footprint of w object
pixels, so it moves by C / w detector pixels per object pixel of motion. Sampling in the far field has room for a
footprint of N object pixels and no more. A shadow whose motion implies a much larger one is therefore a projection,
whatever the file calls it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Num

from ptypinn.data.positions import find_nearest
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError

MIN_ROOTS = 64
"""Pixels between 1 and `MAX_ROOT` that tell roots from other numbers."""
MAX_ROOT = 500.0
"""Largest root that is checked; above, rounding hides if the square is an integer."""
ROUNDING, RELATIVE_ROUNDING = 1e-3, 3e-7
"""Distance from an integer that single precision explains: absolute, and relative to the number."""
CORNER_FRACTION = 0.75
"""Fraction of the photons in the corners, each a quarter of the edge wide, from which the direct beam is there; an even
pattern has a quarter of them there."""
EACH_CORNER_FRACTION = 0.02
"""Fraction of the photons in every single corner, from which the direct beam is spread over all of them; the zero
frequency itself belongs to one of them, so that they are unequal where the beam is narrow."""
PAIRS = 30
MIN_STEP_PX = 1.0
"""Minimum distance of a pair of positions for its motion to be measured, object pixels."""
BACKGROUND = 0.01
"""Fraction of the mean pattern's peak that is added before dividing by it, so that empty pixels do not count."""
MAX_SIZE = 128
"""Larger patterns are binned to about this edge, which makes the check fast."""
MIN_R_SQUARED = 0.9
"""Minimum fraction of the shadow's motion that the sample's motion explains."""
MIN_STEPS = 8
"""Minimum number of independent steps between patterns for a conclusion."""
MAX_CHANCE = 1e-6
"""Maximum probability that displacements unrelated to the probe's motion agree with it as well."""
MAX_FOOTPRINT = 1.5
"""Maximum footprint that passes, in units of the N object pixels that the far field has room for."""


def are_square_roots(values: Num[np.ndarray, "*pixels"]) -> bool:
    """Return True if numbers are square roots of whole numbers, and few of them whole: amplitudes, no counts.

    >>> photons = np.random.default_rng(0).poisson(40.0, 200)
    >>> are_square_roots(np.sqrt(photons)), are_square_roots(photons.astype(float))
    (True, False)
    """
    roots = values[(values > 1) & (values < MAX_ROOT)].astype(np.float64)
    fractional = np.abs(roots - np.round(roots)) > ROUNDING
    squares = roots**2
    off = np.abs(squares - np.round(squares)) > ROUNDING + RELATIVE_ROUNDING * squares
    return len(roots) >= MIN_ROOTS and bool(fractional.mean() > 0.5) and bool(off.mean() < 0.01)


def is_corner_centred(pattern: Float64[np.ndarray, "y x"]) -> bool:
    """Return True if the direct beam of a mean pattern is spread over its four corners: its zero frequency is there.

    >>> y, x = np.mgrid[-8:8, -8:8]
    >>> beam = np.exp(-(y**2 + x**2) / 8)
    >>> is_corner_centred(beam), is_corner_centred(np.fft.ifftshift(beam)), is_corner_centred(np.ones((16, 16)))
    (False, True, False)
    """
    rows, columns = (edge // 4 for edge in pattern.shape)
    middle = np.fft.fftshift(pattern)
    y, x = (edge // 2 for edge in pattern.shape)
    corners = [
        middle[part_y, part_x].sum()
        for part_y in (slice(y - rows, y), slice(y, y + rows))
        for part_x in (slice(x - columns, x), slice(x, x + columns))
    ]
    total = float(pattern.sum())
    return total > 0 and bool(sum(corners) > CORNER_FRACTION * total and min(corners) > EACH_CORNER_FRACTION * total)


@dataclass(frozen=True)
class ShadowMotion:
    """Motion of the patterns across the detector while the probe steps over the sample."""

    detector_px_per_object_px: float
    """Motion of the shadow per motion of the probe, in far-field object pixels; 0 where it does not move."""
    r_squared: float
    """Fraction of the observed motion that is proportional to the probe's, 0 to 1."""
    footprint_px: float
    """Diameter of the beam on the sample that this motion implies, object pixels; infinite without motion."""
    room_px: int
    """Object pixels that far-field sampling has room for: N."""
    magnification: float | None
    """Shadow to sample, where both pixel sizes are known."""
    steps: int = 0
    """Independent steps between patterns that were followed."""
    made_far_field: bool = False
    """The patterns are of the package's own simulation, which propagates to the far field."""

    @property
    def chance(self) -> float:
        """Return the probability that displacements unrelated to the motion of the probe give this `r_squared` or more.

        Two components of n random displacements, each fitted by two numbers, leave a fraction of their sum of squares
        that is beta distributed with parameters n - 2 and 2.
        """
        rest, free = 1 - self.r_squared, self.steps - 2
        return 1.0 if free < 1 else (free + 1) * rest**free - free * rest ** (free + 1)

    @property
    def is_projection(self) -> bool:
        """True if the patterns can only be a projection."""
        certain = self.steps >= MIN_STEPS and self.r_squared > MIN_R_SQUARED and self.chance < MAX_CHANCE
        return certain and not self.made_far_field and self.footprint_px > MAX_FOOTPRINT * self.room_px


def measure_shadow(scan: ScanData) -> ShadowMotion:
    """Follow the patterns of about 30 pairs of neighbouring positions across the detector.

    Args:
        scan: The scan; about 60 of its patterns are read.

    Returns:
        Least-squares fit of the patterns' displacements by the displacements of the probe.
    """
    first, second, steps = _neighbour_pairs(scan.positions_px)
    if len(first) < 4:
        return ShadowMotion(0.0, 0.0, np.inf, scan.size, None)
    used = np.union1d(first, second)
    contrast, extent = _contrast(scan, used)
    if not contrast.any():
        return ShadowMotion(0.0, 0.0, np.inf, scan.size, None)
    pairs = zip(np.searchsorted(used, first), np.searchsorted(used, second), strict=True)
    moved = np.array([_displacement(contrast[i], contrast[j]) for i, j in pairs]) * _bin_factor(scan)
    matrix, *_ = np.linalg.lstsq(steps, moved, rcond=1e-6)
    total = np.sum(moved**2)
    explained = float(1 - np.sum((moved - steps @ matrix) ** 2) / total) if total > 0 else 0.0
    rate = float(np.linalg.norm(matrix, 2))
    footprint = extent * _bin_factor(scan) / rate if rate > 0 else np.inf
    simulated, independent = scan.provenance.get("source") == "simulation", _independent(first, second)
    return ShadowMotion(rate, explained, footprint, scan.size, _magnification(scan, rate), independent, simulated)


def _magnification(scan: ScanData, rate: float) -> float | None:
    if scan.pixel_size_m is None or scan.detector_pixel_m is None:
        return None
    return rate * scan.detector_pixel_m / scan.pixel_size_m


def require_far_field(scan: ScanData) -> None:
    """Raise `InputError` for projection data, for which far-field reconstruction has no meaning.

    Raises:
        InputError: Where the scan is near-field by its file or the options that it was read with; or where its patterns
            are shadows too large for far-field sampling, unless it was read with `geometry` far-field.
    """
    option, focus = scan.option("geometry", "auto"), scan.option("focus_distance_m", None)
    if scan.fresnel_number is not None or option == "near-field" or focus is not None:
        expected = "a far-field one here; `ptypinn reconstruct` solves it, without a model of `train`"
        raise InputError(scan.source, "geometry", "a near-field scan", expected)
    if option == "far-field":
        return
    shadow = measure_shadow(scan)
    if shadow.is_projection:
        expected = (
            "far-field ones here; `ptypinn reconstruct` solves others; --geometry far-field takes them all the same"
        )
        raise InputError(scan.source, "geometry", describe_shadow(shadow), expected)


def describe_shadow(shadow: ShadowMotion) -> str:
    """Describe the motion of the patterns in words."""
    if not shadow.is_projection:
        return "no sign of a near field"
    magnified = "" if shadow.magnification is None else f", a shadow magnified {shadow.magnification:.0f} times"
    return (
        "near-field (projection) images, for the patterns move across the detector with the sample by "
        f"{shadow.detector_px_per_object_px:.3g} detector pixels per object pixel (R^2 {shadow.r_squared:.2f})"
        f"{magnified}, so the beam on the sample is {shadow.footprint_px:.0f} object pixels wide where far-field "
        f"sampling has room for {shadow.room_px}"
    )


def _neighbour_pairs(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return positions spread over the scan, the nearest other place of each, and the steps between them."""
    first = np.unique(np.linspace(0, len(positions) - 1, PAIRS).astype(int))
    distance, index = find_nearest(positions, positions[first], 8)
    apart = distance > MIN_STEP_PX
    nearest = np.argmax(apart, axis=1)
    paired = apart.any(1)
    second = index[np.arange(len(first)), nearest]
    first, second = first[paired], second[paired]
    return first, second, positions[second] - positions[first]


def _independent(first: np.ndarray, second: np.ndarray) -> int:
    """Return steps of which none is a sum of others: as many as a forest over the patterns has edges."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    nodes, edges = np.unique(np.concatenate([first, second]), return_inverse=True)
    n, (start, end) = len(nodes), np.reshape(edges, (2, -1))
    graph = coo_array((np.ones(len(start)), (start, end)), shape=(n, n))
    return n - int(connected_components(graph, directed=False, return_labels=False))


def _contrast(scan: ScanData, index: np.ndarray) -> tuple[np.ndarray, float]:
    """Fourier transforms of patterns relative to their mean, and the mean pattern's equivalent diameter, binned px."""
    patterns = _bin(np.where(scan.good, scan.counts[index], 0).astype(np.float64), _bin_factor(scan))
    sums = patterns.sum((1, 2), keepdims=True)
    patterns *= sums.mean() / np.maximum(sums, 1e-9)
    mean = patterns.mean(0)
    contrast = (patterns - mean) / (mean + BACKGROUND * mean.max() + 1e-9)
    extent = 2 * np.sqrt(mean.sum() ** 2 / np.maximum(np.square(mean).sum(), 1e-9) / np.pi)
    return np.fft.fft2(contrast), float(extent)


def _bin_factor(scan: ScanData) -> int:
    return max(1, scan.size // MAX_SIZE)


def _bin(patterns: np.ndarray, factor: int) -> np.ndarray:
    whole = patterns.shape[-1] // factor
    cut = patterns[:, : whole * factor, : whole * factor]
    return cut.reshape(-1, whole, factor, whole, factor).sum((2, 4))


def _displacement(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Measure the displacement of the second pattern from the first, (y, x), detector pixels."""
    from skimage.registration import phase_cross_correlation

    register: Callable[..., tuple[np.ndarray, float, float]] = phase_cross_correlation
    return np.asarray(register(second, first, space="fourier", upsample_factor=10, normalization=None)[0], np.float64)
