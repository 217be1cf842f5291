"""A scan in progress as blocks of patterns, brought into the conventions of the package as a scan file would be."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64

from ptypinn.config.live import LiveConfig
from ptypinn.config.load import LoadConfig
from ptypinn.data.reception import RECEPTION, record_reception
from ptypinn.data.scan import ScanData
from ptypinn.data.survey import survey_scan
from ptypinn.data.validation import deferred_checks
from ptypinn.errors import InputError
from ptypinn.io.apply_options import finish
from ptypinn.io.crop import Window, cut, window_of
from ptypinn.io.optics import NAMES, Optics
from ptypinn.streams.frame_form import place_window
from ptypinn.streams.joining import Joiner, Pairs, concatenate_pairs
from ptypinn.streams.spool import SpoolReader, read_dropped, read_metadata, read_state
from ptypinn.utils.growing_array import GrowingArray

MIN_FIRST = 64
"""Frames of the first block, whose pixels are looked at for bad ones."""
GIB = 2**30


@dataclass(frozen=True)
class Block:
    """Patterns that are new."""

    scan: ScanData
    """The patterns with their positions."""
    numbers: Int64[np.ndarray, " frames"]
    """Their frame numbers."""


@dataclass
class LiveScan:
    """The scan that is in a spool: its frames joined with their positions, block by block.

    Args:
        spool: Folder of the spool.
        source: Address of the source, for messages and records.
        loading: Reading options, as for a scan file.
        config: Options of the joining.
    """

    spool: Path
    source: str
    loading: LoadConfig
    config: LiveConfig
    left_out: list[int] = field(default_factory=list)
    """Numbers of frames with values that are no counts."""
    far: list[int] = field(default_factory=list)
    """Numbers of frames at positions that no canvas holds with the others."""

    def __post_init__(self) -> None:
        self.joiner = Joiner(self.config.position_offset, self.config.clocks)
        self._reader = SpoolReader(self.spool)
        self._place_rows = GrowingArray((2,), np.int64)
        self._places = np.zeros((0, 2), np.int64)
        self._waiting: list[Pairs] = []
        self._joined: list[Pairs] = []
        self._bytes, self._n_joined = 0, 0
        self._middle_px: Float64[np.ndarray, " 2"] | None = None
        self._bad: Bool[np.ndarray, "y x"] | None = None
        self._window: Window | None = None

    @property
    def n_joined(self) -> int:
        """Frames with a position."""
        return self._n_joined

    def read(self, most: int, *, is_over: bool = False) -> Block | None:
        """Return patterns that are new, at most so many; None where there are none.

        Args:
            most: Maximum number of patterns.
            is_over: The scan is complete: the first block may be short.

        Raises:
            InputError: Where the optics that positions in metres need are unknown.
        """
        self._join()
        waiting = concatenate_pairs(self._waiting)
        if not len(waiting.rows) or (self._bad is None and len(waiting.rows) < MIN_FIRST and not is_over):
            return None
        rows, numbers, positions_m = waiting.rows[:most], waiting.numbers[:most], waiting.positions_m[:most]
        self._waiting = [Pairs(waiting.rows[most:], waiting.numbers[most:], waiting.positions_m[most:])]
        scan = self._build(rows, positions_m, lazy=self._bytes > self.loading.memory_budget_gib * GIB)
        self._bytes += int(np.prod(scan.counts.shape)) * scan.counts.dtype.itemsize
        with deferred_checks():
            if self._bad is None:
                self._bad = survey_scan(scan).bad(scan.size) if self.loading.survey else np.zeros_like(scan.good)
            scan = scan.replace(mask=scan.good & ~self._bad)
            is_valid = _are_counts(scan)
            if not is_valid.all():
                self.left_out += numbers[~is_valid].tolist()
                scan, numbers = scan.subset(np.flatnonzero(is_valid)), numbers[is_valid]
            is_near = self._are_near(scan.positions_px)
            if not is_near.all():  # the survey of the complete scan names them
                self.far += numbers[~is_near].tolist()
                scan, numbers = scan.subset(np.flatnonzero(is_near)), numbers[is_near]
        if not len(numbers):
            return None
        return self._finish(scan, numbers)

    def peek(self) -> Block | None:
        """Return the patterns that wait for the first block to be complete, without taking them; None without any.

        Their bad pixels are not looked for yet: that takes the whole block.
        """
        self._join()
        waiting = concatenate_pairs(self._waiting)
        if self._bad is not None or not len(waiting.rows):
            return None
        with deferred_checks():
            scan = self._build(waiting.rows, waiting.positions_m)
            is_valid = np.flatnonzero(_are_counts(scan))
            scan = scan.subset(is_valid)
        return self._finish(scan, waiting.numbers[is_valid]) if len(is_valid) else None

    def assemble(self) -> ScanData:
        """Return the whole scan in the order of the frame numbers, its counts in the spool until they are read.

        Its positions are as recorded and its frames as received: reading options hold for the file that it is saved to.
        """
        self._join()
        pairs = self.joiner.revise(concatenate_pairs(self._joined))
        is_valid = ~np.isin(pairs.numbers, self.left_out)
        pairs = Pairs(pairs.rows[is_valid], pairs.numbers[is_valid], pairs.positions_m[is_valid])
        if not len(pairs.rows):
            actual = f"{len(self.joiner.numbers)} frames and no position of any"
            raise InputError(self.source, "positions", actual, "frames with positions; see --positions-source")
        order = np.argsort(pairs.numbers, kind="stable")
        return self._build(pairs.rows[order], pairs.positions_m[order], lazy=True, numbers=pairs.numbers[order])

    def list_losses(self, n_frames: int | None) -> dict[str, list[int]]:
        """Return the numbers of the frames that are lost, ascending, by the keys of `data.reception.LOSSES`.

        Args:
            n_frames: Frames of the whole scan; None where that is unknown or it still goes on.
        """
        dropped = read_dropped(self.spool)
        missing = sorted(set(self.joiner.list_missing(n_frames)) - set(dropped))
        waiting = self.joiner.without_position
        return {"missing": missing, "dropped": dropped, "without_position": waiting, "no_counts": sorted(self.left_out)}

    def _finish(self, scan: ScanData, numbers: Int64[np.ndarray, " frames"]) -> Block:
        """Return patterns as the reading options have them."""
        options = replace(self.loading, survey=False, select="", positions_unit="auto")
        return Block(finish(scan, Path(self.source), options), numbers)

    def close(self) -> None:
        """Close the spool."""
        self._reader.close()

    def _are_near(self, positions_px: Float64[np.ndarray, "patterns 2"]) -> Bool[np.ndarray, " patterns"]:
        """Return True for positions that one canvas holds with those of the first block."""
        if self._middle_px is None and len(positions_px):
            self._middle_px = np.median(positions_px, axis=0)
        if self._middle_px is None:
            return np.ones(len(positions_px), bool)
        return (np.abs(positions_px - self._middle_px) < self.loading.max_canvas_pixels**0.5).all(1)

    def _join(self) -> None:
        """Read what is new in the spool, and join it."""
        places, frames = self._reader.read_frames()
        positions = self._reader.read_positions()
        if len(places):
            is_new = self.joiner.add_frames(frames["numbers"], frames["times_s"], frames["arrivals_s"])
            self._places = self._place_rows.append(places[is_new])
        if len(positions["numbers"]):
            self.joiner.add_positions(**positions)
        pairs = self.joiner.take_pairs()
        if len(pairs.rows):
            self._waiting.append(pairs)
            self._joined.append(pairs)
            self._n_joined += len(pairs.rows)

    def _build(
        self, rows: np.ndarray, positions_m: np.ndarray, *, lazy: bool = False, numbers: np.ndarray | None = None
    ) -> ScanData:
        """Return frames and positions as a scan, in the orientation of the detector."""
        places, values = self._places[rows], read_metadata(self.spool)
        counts: Any = self._reader.pick_counts(places)
        whole, mask = counts.shape[1:], values.get("mask")
        window = self._choose_window(whole, values)
        mask = cut(mask, window) if mask is not None and mask.shape == whole else None
        counts = counts if window is None else self._reader.pick_counts(places, window)
        counts = counts if lazy else counts[:]
        places_of = {name: name for name in NAMES}
        optics = Optics.read(self.source, self.loading, values, places_of, values.get("particle", "photon"))
        pixel = optics.require_pixel_size_m(self.source, self.loading, counts.shape[-1], places_of)
        record = {} if numbers is None else {RECEPTION: self._record(numbers)}
        with deferred_checks():
            return ScanData(
                counts=counts,
                positions_px=positions_m / pixel,
                mask=mask,
                pixel_size_m=pixel,
                provenance={"file": self.source, **record},
                **optics.fields(),
            )

    def _choose_window(self, shape: tuple[int, ...], values: dict[str, Any]) -> Window | None:
        """Return the square of spooled frames that is solved, always the same; None where they are square.

        A receiver that was started without a square has spooled whole frames.

        Args:
            shape: Rows and columns of the frames in the spool.
            values: Facts about the scan.
        """
        if self._window is None and shape[0] != shape[1]:
            if self.loading.crop_px is None and self.loading.centre_px is None:
                actual = f"frames of {shape[0]} x {shape[1]} pixels"
                edge = min(shape) - min(shape) % 2
                expected = f"square ones: the same command with --crop-px {edge}, or fewer pixels, around --centre-px"
                raise InputError(self.source, "frames", actual, expected)
            self._window = window_of("frames", shape, place_window(shape, self.loading, values)[0])
        return self._window

    def _record(self, numbers: np.ndarray) -> dict[str, Any]:
        """Return the record of the reception."""
        state = read_state(self.spool)
        return record_reception(
            self.source,
            self.list_losses(self.config.scan_frames or state.get("n_frames")),
            received=numbers.tolist(),
            repeated=int(state.get("repeated", 0)),
            rejected=int(state.get("rejected", 0)),
            suggested_offset=self.joiner.suggested_offset,
        )


def _are_counts(scan: ScanData) -> Bool[np.ndarray, " patterns"]:
    """Return True for patterns whose good pixels all hold counts."""
    values = np.asarray(scan.counts[:])[:, scan.good]
    return np.isfinite(values).all(1) & (values >= 0).all(1)
