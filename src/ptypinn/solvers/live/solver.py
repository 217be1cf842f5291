"""Incremental solver of a scan in progress: patterns in, one unit of work at a time, the picture so far out."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64, Num, UInt8

from ptypinn.config.reconstruct import ReconstructConfig
from ptypinn.data.beam_centre import restore_ramp
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.metrics.data_fit import predict_batches
from ptypinn.models.model_file import Weights
from ptypinn.physics.propagation import to_centred
from ptypinn.solvers.live.canvas import GrowingCanvas
from ptypinn.solvers.live.frame_checks import CheckSeries, FrameChecks, check_frames, measure_displacements
from ptypinn.solvers.live.frame_flux import FrameFlux
from ptypinn.solvers.live.pace import FIRST_ROUNDS, MAX_OVERRUN, MODE_TEXT, Mode, Plan, Stopwatch, plan_rounds
from ptypinn.solvers.live.patterns import IN_PICTURE, SETTLED, WAITING, PatternStore
from ptypinn.solvers.live.probe_rounds import DRAFT_PATTERNS, LiveProbe, Probes
from ptypinn.solvers.live.slow_phase import relax_phase
from ptypinn.solvers.live.window_rounds import solve_window
from ptypinn.solvers.live.windows import REACH_WIDTHS, Cost, Window, divide, surround, thin_out
from ptypinn.solvers.quasi_newton.preconditioner import rms_half_width
from ptypinn.solvers.unrolled.problem import UnrolledOptions
from ptypinn.solvers.unrolled.rounds import default_rounds, estimate_dose
from ptypinn.solvers.unrolled.tiling import Box
from ptypinn.utils.device import has_bfloat16_units

MIN_PATTERNS = 24
"""Fewest patterns for a picture; until the probe is found, it is made again whenever twice as many have come."""
SETTLE_ROUNDS = 3
"""Rounds of patterns in the picture when there is time."""
CLOSING_STEP_S, CLOSING_PATTERNS = 5.0, 400
"""Time of the steps that take in patterns which wait once the scan is complete, seconds; patterns that the probe is
refreshed on then."""
LEVEL_GROWTH, LEVEL_PATTERNS = 1.15, 500
"""Growth of the number of patterns in the picture after which its slow phases are measured anew and its ramp is moved
to the probe, and the most patterns that show them, evenly over the area: rounds on one part change what was measured in
others."""
RELAX_SHARE = 0.05
"""Patterns that were in rounds, over those in the picture, after which its slow phases are relaxed: the time that this
takes grows with the canvas."""
SETTLE_REACH_PX = 128
"""Half of the edge of a region that settles together, pixels."""


@dataclass(frozen=True)
class LiveStep:
    """One unit of work, and what it changed."""

    kind: Literal["probe", "patterns", "settling"]
    """Work on the probe, on patterns that are new, or on patterns in the picture."""
    boxes: tuple[Box, ...]
    """Parts of the canvas that it changed, in the coordinates of the positions, whole pixels."""
    numbers: Int64[np.ndarray, " new"]
    """Numbers of the patterns that are new in the picture."""
    loss: float
    """Data term per pattern; NaN where no rounds were run."""
    mode: Mode
    """Quality of the patterns that entered last."""
    text: str
    """Sentence for people on it."""


class LiveSolver:
    """Solver of a far-field scan whose patterns come in blocks.

    Call `add` with whatever has come, `step` as long as it returns something, and `close` once the scan is complete:
    the probe that it returns is the `solved_probe` of the reconstruction of the complete scan.

    Args:
        weights: The network.
        config: Options of the reconstruction.
        device: Device to solve on.
        cost: Time of a round that steps are planned with, so that the same calls give the same results; None to
            measure it.
    """

    def __init__(
        self, weights: Weights, config: ReconstructConfig, device: torch.device, cost: Cost | None = None
    ) -> None:
        self.weights, self.config, self.device = weights, config, device
        self.patterns, self.canvas = PatternStore(), GrowingCanvas()
        self.probe, self.stopwatch = LiveProbe(config, device), Stopwatch(cost)
        self.flux = FrameFlux()
        self.mode: Mode = "full"
        self.checks, self._check_series = FrameChecks.empty(0), CheckSeries()
        self.misfit = float("nan")
        """Median of the residual over counting noise of the frames that entered last."""
        self._network = weights.network.to(device)
        bf16 = config.precision == "bf16" or has_bfloat16_units(device)
        self._options = UnrolledOptions(refine_probe=False, loss=config.loss, bf16=bf16)
        self._width_px, self._reach_px = 1.0, 1.0
        self._rounds = FIRST_ROUNDS
        self._n_levelled, self._n_unrelaxed = 0, 0
        self._usable = self.patterns.are_usable()

    @property
    def n_patterns(self) -> int:
        """Number of patterns that have come."""
        return len(self.patterns)

    @property
    def n_solved(self) -> int:
        """Number of patterns in the picture."""
        return int((self.patterns.states != WAITING).sum())

    @property
    def newest_solved(self) -> int | None:
        """Largest number of a pattern in the picture; None where there is none."""
        numbers = self.patterns.numbers[self.patterns.states != WAITING]
        return int(numbers.max()) if len(numbers) else None

    @property
    def frame_states(self) -> UInt8[np.ndarray, " patterns"]:
        """State of every pattern: 0 waiting, 1 in the picture, 2 settled."""
        return self.patterns.states

    def list_left_out(self) -> dict[str, list[int]]:
        """Return the numbers of the patterns that never enter, ascending: `dark` ones, and at a `stray` position."""
        left_out = ~self._usable & (self.patterns.states == WAITING)
        dark = self.patterns.are_dark()
        parts = {"dark": left_out & dark, "stray": left_out & ~dark}
        return {name: np.sort(self.patterns.numbers[part]).tolist() for name, part in parts.items()}

    def add(self, block: ScanData, numbers: Int64[np.ndarray, " patterns"]) -> None:
        """Take in patterns; frames whose number has come before are left out.

        Args:
            block: Counts, positions, mask and optics; a probe is a start, calibrated or not, and the first one counts.
            numbers: Number of every pattern in the scan.
        """
        count = self.patterns.add(block, numbers)
        self._usable = self.patterns.are_usable()
        self.flux.extend(count)
        self.checks = self._check_series.extend(count)
        self._check_dark()

    def step(self, budget_s: float) -> LiveStep | None:
        """Do one unit of work within about so many seconds; None where there is nothing to do."""
        if self._n_usable < self._min_patterns():
            return None
        drafts = self.probe.needs_draft and self._n_usable >= DRAFT_PATTERNS
        if self.probe.scan is None or (drafts and self.probe.scan.n_patterns < DRAFT_PATTERNS):
            self.probe.prepare(self.patterns)
            self._take_probe()
        if drafts:
            return self._draft()
        waiting = self._waiting()
        if self.probe.is_stale(self.n_solved):
            return self._refresh()
        if len(waiting):
            return self._enter(waiting, budget_s)
        return self._settle(budget_s)

    def current(self) -> Reconstruction:
        """Return the picture so far.

        Raises:
            RuntimeError: Where no pattern is in the picture yet.
        """
        return restore_ramp(self._picture(), self.probe.offset, probe_solved=self.config.refine_probe)

    def close(self) -> Probes | None:
        """Take in waiting patterns, as far as a few seconds allow, and refresh the probe; return it for the whole scan.

        None where there were too few patterns for one, or where it is not to be solved for. It holds the ramp of the
        patterns.
        """
        if self.probe.probe is None or self.probe.needs_draft or not self.config.refine_probe:
            return None
        waiting = self._waiting()
        if len(waiting):
            self._enter(waiting, CLOSING_STEP_S)
        self.probe.refresh(self.patterns, self.canvas, self._pictured, CLOSING_PATTERNS)
        return self.probe.probe

    def _picture(self) -> Reconstruction:
        """Return the picture so far, the ramp of the patterns in its probe."""
        index, probe = self._pictured, self.probe.probe
        if not len(index) or probe is None:
            raise RuntimeError("no pattern is in the picture yet")
        box = self.canvas.lit_box()
        place = self.canvas.place(box)
        return Reconstruction(
            object=self.canvas.object[place].copy(),
            illumination=self.canvas.illumination[place].copy(),
            probe=probe,
            positions_px=self.patterns.positions_px[index] - np.array(box[:2], float),
            origin_px=(box.top, box.left),
            pixel_size_m=self.patterns.first.pixel_size_m,
            patterns=self.patterns.numbers[index],
            flux=self.flux.values[index] if self.flux.is_open else None,
            provenance={"stage": "live", "solver": "unrolled", "probe": self.probe.state},
        )

    def predict(self, index: int) -> tuple[Num[np.ndarray, "y x"], Float32[np.ndarray, "y x"]]:
        """Return the measured and the predicted counts of a pattern in the picture, zero frequency at N//2.

        Args:
            index: Pattern by the order of its arrival.
        """
        scan = self._scan(np.array([index]))
        positions = scan.positions_px - np.array(self.canvas.box[:2], float)
        batches = predict_batches(scan, self.canvas.object, scan.require_probe(), positions, 1, self.device)
        _, _, predicted = next(batches)
        return scan.counts[0], to_centred(predicted)[0].cpu().numpy()

    def frame_checks(self) -> FrameChecks:
        """Return the comparison of every frame with its prediction when it was in rounds last, in order of arrival."""
        return self.checks

    def _min_patterns(self) -> int:
        """Return the number of patterns from which there is something to do: more where the probe is to be searched."""
        if not self.probe.needs_draft or self._n_usable >= DRAFT_PATTERNS:
            return MIN_PATTERNS
        searches = self.n_patterns and self.patterns.first.probe is None
        return DRAFT_PATTERNS if searches else max(MIN_PATTERNS, 2 * self.n_solved)

    def _draft(self) -> LiveStep:
        if self.probe.continue_draft():
            self.patterns.states[:], self.patterns.rounds[:] = WAITING, 0
            self.canvas, self._n_levelled = GrowingCanvas(), 0
            self._take_probe()
        return self._describe("probe", ())

    def _refresh(self) -> LiveStep:
        pictured = self._pictured
        self.probe.refresh(self.patterns, self.canvas, pictured)
        self._take_probe()
        self.patterns.rounds[pictured] = np.minimum(self.patterns.rounds[pictured], self._rounds - SETTLE_ROUNDS)
        self.patterns.states[pictured] = IN_PICTURE
        return self._describe("probe", ())

    def _take_probe(self) -> None:
        """Take reach and number of rounds from the probe."""
        scan = self.probe.scan
        assert scan is not None
        power = torch.from_numpy(scan.require_probe()).abs().square().sum(0)
        self._width_px = float(rms_half_width(power))
        self._reach_px = REACH_WIDTHS[-1] * self._width_px
        modes = len(scan.require_probe())
        self._rounds = self.config.rounds or default_rounds(estimate_dose(scan), blurred=modes > 1)

    def _enter(self, waiting: Int64[np.ndarray, " waiting"], budget_s: float) -> LiveStep:
        """Take waiting patterns into the picture, as many and with as many rounds as the time allows."""
        waiting = self._choose_waiting(waiting)
        for reach in REACH_WIDTHS:
            windows = self._divide(waiting, reach)
            plan = plan_rounds(sum(window.round_s(self.stopwatch.cost) for window in windows), budget_s)
            if plan.mode == "full":
                break
        if plan.share < 1:
            chosen = thin_out(self.patterns.positions_px, waiting, max(1, round(plan.share * len(waiting))))
            windows = self._divide(chosen, reach)
            self.patterns.passed[np.setdiff1d(waiting, chosen)] = True
        self.mode = plan.mode
        windows = sorted(windows, key=lambda each: -len(each.central))
        limit = np.cumsum([plan.rounds * window.round_s(self.stopwatch.cost) for window in windows])
        windows = [
            window for window, end in zip(windows, limit, strict=True) if end <= max(limit[0], MAX_OVERRUN * budget_s)
        ]
        losses = [self._run(window, plan.rounds) for window in windows]
        index = np.sort(np.concatenate([window.central for window in windows]))
        self.misfit = float(np.nanmedian(self.checks.residual[index]))
        return self._describe("patterns", tuple(window.box for window in windows), index, float(np.mean(losses)))

    @property
    def _n_usable(self) -> int:
        return int(self._usable.sum())

    def _waiting(self) -> Int64[np.ndarray, " waiting"]:
        """Return the patterns that wait for rounds; dark ones and strays are left out."""
        return np.flatnonzero((self.patterns.states == WAITING) & self._usable)

    def _choose_waiting(self, waiting: Int64[np.ndarray, " waiting"]) -> Int64[np.ndarray, " chosen"]:
        """Return the patterns that have come since the last step; without any, those of one region that had to wait."""
        new = waiting[~self.patterns.passed[waiting]]
        if len(new):
            return new
        places = self.patterns.positions_px[waiting]
        return waiting[np.abs(places - places[0]).max(1) <= SETTLE_REACH_PX]

    def _divide(self, central: Int64[np.ndarray, " central"], reach: float) -> list[Window]:
        pictured = self._pictured
        size, cost = self.patterns.size, self.stopwatch.cost
        return divide(self.patterns.positions_px, central, pictured, reach * self._width_px, size, cost)

    def _settle(self, budget_s: float) -> LiveStep | None:
        """Run further rounds on the patterns that have had the fewest, in one region."""
        open_ = np.flatnonzero(self.patterns.states == IN_PICTURE)
        if not len(open_):
            return None
        places = self.patterns.positions_px
        seed = open_[np.argmin(self.patterns.rounds[open_])]
        near = open_[np.abs(places[open_] - places[seed]).max(1) <= SETTLE_REACH_PX]
        pictured = self._pictured
        window = surround(places, near, pictured, self._reach_px, self.patterns.size)
        fit = plan_rounds(window.round_s(self.stopwatch.cost), budget_s)
        plan = Plan(min(SETTLE_ROUNDS, fit.rounds), 1.0)
        loss = self._run(window, plan.rounds)
        return self._describe("settling", (window.box,), loss=loss)

    def _run(self, window: Window, rounds: int) -> float:
        """Run rounds on a window, put the state of its patterns on record, and return the loss per pattern."""
        index = window.patterns
        fresh = self.patterns.states[index] == WAITING
        scan = self._scan(index)
        self.canvas.cover(window.box)
        options = replace(self._options, warm_start=not fresh.any(), solve_flux=self.flux.is_open)
        join_flux = partial(self.flux.put, index, is_new=fresh)
        started = time.perf_counter()
        loss = solve_window(scan, window, self.canvas, fresh, self._network, options, rounds, self.device, join_flux)
        self.stopwatch.record(len(index), window.box.pixels, rounds, time.perf_counter() - started)
        self.patterns.rounds[index] += rounds
        done = self.patterns.rounds[index] >= self._rounds
        self.patterns.states[index] = np.where(done, SETTLED, IN_PICTURE)
        self._check(window)
        self._n_unrelaxed += len(index)
        if self._n_unrelaxed >= RELAX_SHARE * self.n_solved:
            self._relax()
        self._level()
        return loss

    def _check(self, window: Window) -> None:
        """Compare the patterns of a window, and those around, with their prediction."""
        places, pictured = self.patterns.positions_px, self._pictured
        index = surround(places, window.patterns, pictured, self._reach_px, self.patterns.size).patterns
        scan = self._scan(index)
        positions = scan.positions_px - np.array(self.canvas.box[:2], float)
        checks = check_frames(scan, self.canvas.object, positions, self.device)
        checks.flux[:] *= self.flux.values[index]
        self.checks.put(index, checks)
        if self.config.flux != "constant" and self.config.assume != "ideal":
            assert self.probe.probe is not None
            power = float((np.abs(self.probe.probe) ** 2).sum())
            self.flux.weigh(self.checks.flux[pictured], power * self.checks.photons[pictured])

    def _check_dark(self) -> None:
        """Put photons of frames that never enter on record, over those of a frame with a beam."""
        dark = np.flatnonzero(~self._usable & (self.patterns.states == WAITING))
        if 0 < len(dark) < self.n_patterns:
            typical = float(np.median(self.patterns.photons[self._usable]))
            self.checks.photons[dark] = self.patterns.photons[dark] / typical

    def _relax(self) -> None:
        """Turn slow phases of the picture as its patterns are displaced; each displacement counts once.

        What one leaves is fine-grained, and would be amplified each time it is taken for a slow phase.
        """
        index, self._n_unrelaxed = self._pictured, 0
        index = index[np.isfinite(self.checks.shift_px[index, 0])]
        self._turn_phase(index, self.checks.shift_px[index])

    def _turn_phase(self, index: Int64[np.ndarray, " some"], shift_px: Float64[np.ndarray, "some 2"]) -> None:
        """Turn slow phases as some patterns are displaced; what was measured before is outdated then."""
        places = self.patterns.positions_px[index]
        relax_phase(self.canvas, places, shift_px, self.patterns.size, self._width_px)
        self.checks.shift_px[self._pictured] = 0

    def _level(self) -> None:
        """Measure slow phases of the whole picture anew, and move its ramp to the probe: few patterns show neither."""
        if self.n_solved < LEVEL_GROWTH * self._n_levelled:
            return
        self._n_levelled = self.n_solved
        index = thin_out(self.patterns.positions_px, self._pictured, LEVEL_PATTERNS)
        scan, canvas = self._scan(index), self.canvas
        positions = scan.positions_px - np.array(canvas.box[:2], float)
        self._turn_phase(index, measure_displacements(scan, canvas.object, positions, self.device))
        self.probe.take_ramp(self.canvas.level())

    @property
    def _pictured(self) -> Int64[np.ndarray, " pictured"]:
        return np.flatnonzero(self.patterns.states != WAITING)

    def _scan(self, index: Int64[np.ndarray, " some"]) -> ScanData:
        """Return the scan of some patterns with the probe, and with the flux where it is solved for."""
        terms = {"flux": self.flux.values[index]} if self.flux.is_open else {}
        return self.patterns.scan(index, probe=self.probe.probe, probe_gauge="calibrated", **terms)

    def _describe(
        self,
        kind: Literal["probe", "patterns", "settling"],
        boxes: tuple[Box, ...],
        index: Int64[np.ndarray, " new"] | None = None,
        loss: float = float("nan"),
    ) -> LiveStep:
        numbers = self.patterns.numbers[np.zeros(0, np.int64) if index is None else index]
        return LiveStep(kind, boxes, numbers, loss, self.mode, MODE_TEXT[self.mode])
