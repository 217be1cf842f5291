"""One survey of a scan's counts and positions: bad pixels are masked, bad frames left out, all of it recorded."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64

from ptypinn.data.bad_frames import FrameFinding, find_bad_frames
from ptypinn.data.bad_pixels import PixelFinding, find_bad_pixels, saturated_pixels
from ptypinn.data.corrected_counts import correct_counts
from ptypinn.data.cosmic_rays import Candidates, choose_rays, no_candidates
from ptypinn.data.positions import gap_width, label_islands
from ptypinn.data.ranges import parse_ranges
from ptypinn.data.scan import ScanData
from ptypinn.data.survey_pass import CountStatistics, FrameStatistics, measure_counts
from ptypinn.data.survey_record import SURVEY, record_survey
from ptypinn.data.validation import check_patterns, deferred_checks
from ptypinn.physics.optics import equivalent_diameter

SATURATED_FRAMES = 0.1
"""Fraction of the frames in which a pixel saturates for it to be masked. Measured at 1e6 photons: of 10 % of the counts
lost, the error is 0.056 without a mask, 0.011 to 0.013 with it; masks of fewer or more pixels change little."""
MIN_OTHER_COUNTS = 0.03
"""Minimum fraction of the counts on the other pixels: without any, nothing gives the photons of the probe."""
SELECTED = "selected"
"""Key of the record of the patterns that were selected from the file."""
MAX_REFUSED = 256
"""Frames that are read again to name the values in them that are no counts."""
MIN_ISLAND = 3
"""Minimum number of positions of an island; fewer are strays."""


@dataclass(frozen=True)
class Survey:
    """Pixels, frames and readings of a scan that are no measurement, by number."""

    n_frames: int
    """Frames of the scan."""
    pixels: tuple[PixelFinding, ...] = ()
    """Bad pixels of all frames, by defect: gap, constant, hot, dead and saturated ones."""
    frames: tuple[FrameFinding, ...] = ()
    """Frames to leave out, by defect: the rest of an aborted scan, stray, empty, repeated, bright and unlike ones."""
    rays: Candidates = dataclasses.field(default_factory=no_candidates)
    """Readings hit by cosmic rays."""
    saturation_level: float | None = None
    """Count at which the detector saturates; None where none is evident."""
    saturated_pixels: int = 0
    """Pixels that reach this level in some frame."""
    saturated_frames: int = 0
    """Frames that reach it somewhere."""
    islands: tuple[int, ...] = ()
    """Number of positions of every island, where there are several far from each other."""
    invalid: Int64[np.ndarray, " frames"] = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))
    """Remaining frames with values that are no counts at good pixels."""

    @property
    def clean(self) -> bool:
        """True if there is nothing to report."""
        return not (self.pixels or self.frames or len(self.rays) or self.islands or self.saturation_level)

    @property
    def left_out(self) -> Int64[np.ndarray, " frames"]:
        """Frames to leave out, ascending."""
        parts = [defect.frames for defect in self.frames]
        return np.sort(np.concatenate([np.zeros(0, np.int64), *parts]))

    def bad(self, size: int) -> Bool[np.ndarray, "y x"]:
        """Return the pixels to mask, (size, size)."""
        image = np.zeros((size, size), bool)
        for defect in self.pixels:
            image[tuple(defect.pixels.T)] = True
        return image


def survey_scan(scan: ScanData) -> Survey:
    """Look for everything in a scan that is no measurement.

    Reads the counts once, and before that a sample of at most 48 frames, a few at a time; float64. Light that is odd
    but possible is not touched: shadows with their half-shadows, beam stops, sharp direct beams, strong contrast, gaps
    between scan lines, two fields of view.

    Args:
        scan: The scan; masked pixels are good for nothing and not looked at.
    """
    with deferred_checks():
        counts = measure_counts(scan)
    pixels = find_bad_pixels(counts.pixels, scan.good)
    rays = choose_rays(counts.candidates, scan.n_patterns)
    width = None if scan.probe is None else equivalent_diameter(scan.probe)
    frames = find_bad_frames(_without_rays(counts.frames, rays, scan.size), scan.positions_px, scan.size, width)
    left = np.ones(scan.n_patterns, bool)
    for defect in frames:
        left[defect.frames] = False
    saturation, findings = _saturation(counts, scan.good & ~pixels.bad, left)
    return Survey(
        n_frames=scan.n_patterns,
        pixels=(*pixels.defects, *findings),
        frames=frames,
        rays=rays.pick(left[rays.frame]),
        islands=_islands(scan.positions_px[left], scan.size),
        invalid=np.flatnonzero(counts.frames.invalid & left),
        **saturation,
    )


def apply_survey(scan: ScanData, survey: Survey) -> ScanData:
    """Mask pixels, leave frames out and correct readings as a survey says, and record it in `provenance["survey"]`.

    A cosmic ray hits one reading of one frame: it is replaced by the median of its neighbours in that frame, as a mask
    holds for all frames, and leaving out the frame would lose the others. Lazy counts stay lazy.

    Args:
        scan: The scan that was surveyed.
        survey: Its survey.

    Raises:
        InputError: Where values remain that are no counts.
    """
    bad = survey.bad(scan.size)
    if len(survey.invalid):
        _refuse(scan, scan.good & ~bad, survey.invalid)
    changes: dict[str, Any] = {}
    if not survey.clean:
        changes["provenance"] = {**scan.provenance, SURVEY: record_survey(survey, scan.size, list_file_numbers(scan))}
    if survey.pixels or survey.frames or len(survey.rays):
        index = np.setdiff1d(np.arange(scan.n_patterns), survey.left_out)
        changes["counts"] = correct_counts(scan.counts, index, bad, survey.rays, scan.source)
        changes |= {"positions_px": scan.positions_px[index], "mask": scan.good & ~bad}
        changes |= scan.take_frame_terms(index)
        if scan.experiment is not None:
            changes["experiment"] = scan.experiment.subset(index)
    with deferred_checks(False):
        return scan.replace(**changes)


def _saturation(
    counts: CountStatistics, good: np.ndarray, left: np.ndarray
) -> tuple[dict[str, Any], list[PixelFinding]]:
    """Return the numbers of the saturation, and the pixels that saturate often as a finding."""
    peaks = counts.frames.peaks[left]
    full = saturated_pixels(counts.level, counts.at_level, peaks, counts.pixels.flag) & good
    if not full.any():
        return {}, []
    numbers = {
        "saturation_level": counts.level,
        "saturated_pixels": int(full.sum()),
        "saturated_frames": int(np.count_nonzero(peaks == counts.level)),
    }
    often = full & (counts.at_level > SATURATED_FRAMES * np.count_nonzero(left))
    mean = counts.pixels.mean * good
    if not often.any() or mean[good & ~often].sum() < MIN_OTHER_COUNTS * mean.sum():
        return numbers, []
    return numbers, [PixelFinding("saturated", np.argwhere(often), counts.level)]


def _without_rays(frames: FrameStatistics, rays: Candidates, size: int) -> FrameStatistics:
    """Return statistics of frames as if readings hit by cosmic rays held their replacement."""
    if not len(rays):
        return frames
    surplus, bins = rays.value - rays.replacement, frames.coarse.shape[-1]
    edges = np.linspace(0, size, bins + 1).astype(int)[:-1]
    place = np.searchsorted(edges, rays.pixel, side="right") - 1
    sums, coarse = frames.sums.copy(), frames.coarse.copy()
    np.subtract.at(sums, rays.frame, surplus)
    np.subtract.at(coarse, (rays.frame, place[:, 0], place[:, 1]), surplus)
    return dataclasses.replace(frames, sums=sums, coarse=np.maximum(coarse, 0))


def _islands(positions_px: np.ndarray, size: int) -> tuple[int, ...]:
    numbers = np.bincount(label_islands(positions_px, max(gap_width(positions_px), float(size))))
    return tuple(numbers.tolist()) if len(numbers) > 1 and numbers[1] >= MIN_ISLAND else ()


def list_file_numbers(scan: ScanData) -> Int64[np.ndarray, " frames"]:
    """Return the number of every frame in its file, of which some may be selected."""
    record = scan.provenance.get(SELECTED)
    if isinstance(record, Mapping):
        numbers = parse_ranges(str(record["patterns"]), int(record["of"]))
        if len(numbers) == scan.n_patterns:
            return numbers
    return np.arange(scan.n_patterns)


def _refuse(scan: ScanData, good: np.ndarray, frames: np.ndarray) -> None:
    """Raise `InputError` that names the frames which hold values that are no counts."""
    with deferred_checks():
        patterns = scan.counts[frames[:MAX_REFUSED]]
    with deferred_checks(False):
        check_patterns(scan.source, patterns, good, list_file_numbers(scan)[frames[:MAX_REFUSED]], scan.n_patterns)
