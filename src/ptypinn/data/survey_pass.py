"""Statistics of a scan's counts that its survey needs, in one pass of bounded memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64, Num

from ptypinn.data.bad_pixels import FLAGS_FROM, PixelStatistics, find_bad_pixels
from ptypinn.data.cosmic_rays import Candidates, find_candidates, limit_counts
from ptypinn.data.scan import ScanData

SAMPLED = 48
"""Number of frames, evenly spaced, from which suspect pixels are taken before the pass."""
BATCH_PIXELS = 2**19
"""Pixels in memory at a time, as float64."""
BINS = 8
"""Rows and columns of the coarse image of a frame."""
WHOLE = 0.01
"""Maximum distance of counts from whole numbers, for those that are squares of stored square roots."""
EXACT = 1e4
"""Counts up to which such squares are as exact as that."""


@dataclass(frozen=True)
class FrameStatistics:
    """Numbers of every frame, without suspect pixels."""

    sums: Float64[np.ndarray, " frames"]
    """Counts in all."""
    peaks: Float64[np.ndarray, " frames"]
    """Maximum count."""
    coarse: Num[np.ndarray, "frames bins bins"]
    """Counts in 8 x 8 parts of the frame, float32."""
    digests: Int64[np.ndarray, " frames"]
    """Hash of the frame as it is stored."""
    invalid: Bool[np.ndarray, " frames"]
    """Frames with values that are no counts (NaN, infinite, negative) at pixels that are not suspect."""
    whole: bool
    """True if the counts are whole numbers, so that shot noise makes every frame unique."""


@dataclass(frozen=True)
class CountStatistics:
    """Result of the pass."""

    frames: FrameStatistics
    pixels: PixelStatistics
    level: float
    """Maximum count of the scan at pixels that are not suspect."""
    at_level: Int64[np.ndarray, "y x"]
    """Number of frames in which a pixel reads it."""
    candidates: Candidates
    """Pixels of single frames that are much brighter than the same pixels of other frames."""


def measure_counts(scan: ScanData) -> CountStatistics:
    """Read a sample of the frames, and then all of them once.

    Args:
        scan: The scan; masked pixels are left out of all statistics.
    """
    sample = _read_sample(scan)
    suspect = find_bad_pixels(_pixels_of(sample, scan.good), scan.good).bad
    usable = scan.good & ~suspect
    limit = limit_counts(_valid(sample), usable)
    passed = _Pass(scan.n_patterns, usable, limit, scan.counts.dtype)
    for part, counts in _batches(scan):
        passed.add(part, counts)
    return passed.result(_is_whole(sample, usable))


def _read_sample(scan: ScanData) -> np.ndarray:
    """Read frames that are evenly spaced, those of one value left out."""
    index = np.unique(np.linspace(0, scan.n_patterns - 1, min(scan.n_patterns, SAMPLED)).astype(int))
    step = max(1, BATCH_PIXELS // scan.size**2)
    parts = [np.asarray(scan.counts[index[start : start + step]]) for start in range(0, len(index), step)]
    sample = np.concatenate(parts)
    varied = np.array([bool((frame != frame.flat[0]).any()) for frame in sample])
    return sample[varied] if varied.any() else sample


def _batches(scan: ScanData) -> Iterator[tuple[slice, np.ndarray]]:
    return scan.batches(max(1, BATCH_PIXELS // scan.size**2))


def _valid(counts: np.ndarray) -> Float64[np.ndarray, "frames y x"]:
    """Return counts as float64, values that are none as 0."""
    if counts.dtype.kind == "u":
        return counts.astype(np.float64)
    values = counts.astype(np.float64)
    values[~(np.isfinite(values) & (values >= 0))] = 0
    return values


def _pixels_of(counts: np.ndarray, good: np.ndarray) -> PixelStatistics:
    gathered = _PixelSums(counts.shape[1:], counts.dtype)
    values = _valid(counts)
    gathered.add(counts, values, (values * good).any((1, 2)))
    return gathered.result()


def _is_whole(sample: np.ndarray, usable: np.ndarray) -> bool:
    if sample.dtype.kind in "ui":
        return True
    values = _valid(sample)[:, usable]
    values = values[(values > 0) & (values <= EXACT)]
    return values.size > 0 and bool((np.abs(values - np.rint(values)) <= WHOLE).all())


class _PixelSums:
    """Running statistics of every pixel over the frames that hold counts."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.total, self.squares = np.zeros(shape), np.zeros(shape)
        self.minimum, self.maximum = np.full(shape, np.inf), np.full(shape, -np.inf)
        self.invalid, self.full = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        self.frames = 0
        self.signed = dtype.kind != "u"
        self.flag = float(np.iinfo(dtype).max) if dtype.kind in "ui" and np.iinfo(dtype).max >= FLAGS_FROM else np.inf
        self.negative = np.zeros(shape)

    def add(self, counts: np.ndarray, values: np.ndarray, chosen: np.ndarray) -> None:
        """Add frames.

        Args:
            counts: As stored, (frames, y, x).
            values: As float64, values that are no counts as 0.
            chosen: Frames to take, bool.
        """
        if not chosen.all():
            counts, values = counts[chosen], values[chosen]
        if not len(values):
            return
        self.frames += len(values)
        self.total += values.sum(0)
        self.squares += np.einsum("jyx,jyx->yx", values, values)
        np.minimum(self.minimum, values.min(0), out=self.minimum)
        peak = values.max(0)
        np.maximum(self.maximum, peak, out=self.maximum)
        if self.signed:
            wrong = ~(np.isfinite(counts) & (counts >= 0))
            self.invalid += wrong.sum(0)
            if wrong.any():
                np.copyto(self.negative, counts[-1], where=wrong[-1])
        if np.isfinite(self.flag) and (peak >= self.flag).any():
            self.full += (values >= self.flag).sum(0)

    def result(self) -> PixelStatistics:
        """Return the statistics of all frames so far."""
        number = max(self.frames, 1)
        mean = self.total / number
        variance = np.maximum(self.squares / number - mean**2, 0)
        return PixelStatistics(
            self.frames, mean, variance, self.minimum, self.maximum, self.invalid, self.full, self.flag, self.negative
        )


class _Pass:
    """Accumulators of the pass over all frames."""

    def __init__(self, frames: int, usable: np.ndarray, limit: np.ndarray, dtype: np.dtype) -> None:
        self.usable, self.limit = usable, limit
        self.pixels = _PixelSums(usable.shape, dtype)
        self.sums, self.peaks = np.zeros(frames), np.zeros(frames)
        self.coarse = np.zeros((frames, BINS, BINS), np.float32)
        self.digests, self.invalid = np.zeros(frames, np.int64), np.zeros(frames, bool)
        self.level, self.at_level = 0.0, np.zeros(usable.shape, np.int64)
        self.candidates: list[Candidates] = []
        self.edges = np.linspace(0, usable.shape[0], BINS + 1).astype(int)[:-1]

    def add(self, part: slice, counts: np.ndarray) -> None:
        """Add frames as they are stored."""
        values = _valid(counts)
        if self.pixels.signed:
            self.invalid[part] = (~(np.isfinite(counts) & (counts >= 0)) & self.usable).any((1, 2))
        masked = values if self.usable.all() else values * self.usable
        rows = np.add.reduceat(masked, self.edges, axis=1)
        coarse = np.add.reduceat(rows, self.edges, axis=2)
        self.coarse[part], self.sums[part] = coarse, coarse.sum((1, 2))
        self.peaks[part] = masked.max((1, 2))
        self.digests[part] = [_digest(frame) for frame in counts]
        self.pixels.add(counts, values, self.sums[part] > 0)
        self._add_level(values, self.peaks[part])
        bright = np.flatnonzero(self.peaks[part] > self.limit.min())
        if len(bright):
            self.candidates.append(find_candidates(masked[bright], self.limit, self.usable, bright + part.start))

    def _add_level(self, values: np.ndarray, peaks: np.ndarray) -> None:
        """Count readings at the maximum so far; those of suspect pixels too, which may saturate in most frames."""
        if peaks.max() > self.level:
            self.level, self.at_level = float(peaks.max()), np.zeros_like(self.at_level)
        if self.level > 0 and (peaks == self.level).any():
            self.at_level += (values == self.level).sum(0)

    def result(self, whole: bool) -> CountStatistics:
        """Return the statistics of all frames."""
        frames = FrameStatistics(self.sums, self.peaks, self.coarse, self.digests, self.invalid, whole)
        candidates = Candidates.join(self.candidates)
        return CountStatistics(frames, self.pixels.result(), self.level, self.at_level, candidates)


def _digest(frame: np.ndarray) -> int:
    digest = hashlib.blake2b(np.ascontiguousarray(frame).data, digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
