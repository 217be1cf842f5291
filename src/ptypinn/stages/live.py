"""The `live` stage: a scan in progress in, a picture that grows, and a finished reconstruction at its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ptypinn.config.live import LiveConfig
from ptypinn.config.load import LoadConfig
from ptypinn.config.reconstruct import ReconstructConfig
from ptypinn.config.shared import option_name, show_value
from ptypinn.data.near_field import resolve_geometry
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.io.load_save import load, save
from ptypinn.io.reconstruction_file import SnapshotCallback
from ptypinn.models.model_file import PatchModel, Weights, load_weights
from ptypinn.solvers.live.alerts import Alert, find_alerts
from ptypinn.solvers.live.model_picture import ModelPicture
from ptypinn.solvers.live.pace import START_COST
from ptypinn.solvers.live.patterns import PatternStore
from ptypinn.solvers.live.solver import LiveSolver
from ptypinn.solvers.patch_network.reconstruct import require_size
from ptypinn.stages.live_scan import LiveScan
from ptypinn.stages.live_status import LiveStatus, count_frames, write_newest, write_positions
from ptypinn.stages.reconstruct import load_model, reconstruct
from ptypinn.streams.process import ReceiverProcess
from ptypinn.utils.device import cpu_threads, pick_device
from ptypinn.utils.progress import Progress, silent, tee

SCAN = "scan.h5"
"""Scan file in the run folder, made of the frames at the end of the scan."""
FULL = "full"
"""Mode of the solver in which nothing is reduced."""
STEP_S, IDLE_S = 0.7, 0.05
"""Time of one step of the solver, and pause where there is nothing to do, seconds."""
SIZE = 32
"""Edge of the patterns that the solver is loaded with, pixels."""
MAX_BLOCK = 512
"""Frames that the solver takes at once."""


def load_models(path: str | None, loading: LoadConfig) -> tuple[Weights, PatchModel | None]:
    """Return the weights of the solver, and the model of `train` where the path names one.

    Args:
        path: File or run folder of weights or of a model; None for the weights of the package alone.
        loading: Reading options, which have to fit the model.

    Raises:
        InputError: Where it is neither, is damaged, or does not fit.
    """
    network = load_model(path)
    if isinstance(network, Weights):
        return network, None
    network.predictor(network.probe, torch.ones(network.probe.shape[-2:], dtype=torch.bool))
    for name, expected in (("mtf", "none"), ("focus_distance_m", "none"), ("geometry", "auto or far-field")):
        value = getattr(loading, name)
        if value not in ("", None, "auto", "far-field"):
            raise InputError(option_name(name), "", show_value(value), f"{expected} beside a model of `train`")
    size = loading.pad_px or loading.crop_px
    if size is not None:
        require_size(size, network, option_name("pad_px" if loading.pad_px else "crop_px"))
    return load_weights(None), network


@dataclass
class LiveReconstruction:
    """A scan that is reconstructed while it is measured.

    Args:
        folder: The run folder.
        scan: The scan in the spool.
        receiver: The process that fills the spool.
        config: Options of the solver.
        live: Options of the stage.
        weights: Weights of the solver.
        model: Model of `train` that shows frames before the solver does; None for none.
        log: Called with lines for the log.
        snapshots: Called with the current reconstruction.
    """

    folder: Path
    scan: LiveScan
    receiver: ReceiverProcess
    config: ReconstructConfig
    live: LiveConfig
    weights: Weights
    model: PatchModel | None = None
    log: Callable[[str], None] = field(default=lambda line: None)
    snapshots: SnapshotCallback | None = None

    def __post_init__(self) -> None:
        device = pick_device(self.config.device)
        self.solver = LiveSolver(self.weights, self.config, device)
        self._model_picture = None if self.model is None else ModelPicture(self.model, device)
        self.status = LiveStatus(self.folder, self.scan.source)
        self._due_s, self._arrivals = 0.0, _Arrivals()
        self._is_far_field: bool | None = None
        self._progress, self._has_failed = (0, time.monotonic()), False

    def follow(self, progress: Progress = silent, is_stopped: Callable[[], bool] = lambda: False) -> None:
        """Solve what comes until the scan is over.

        Args:
            progress: Called as `progress("live", solved, expected)`.
            is_stopped: Returns True once what has come is to be finished.

        Raises:
            InputError: Where the source fails before the first frame, or its receiver keeps dying.
        """
        self.status.state = "receiving"
        with cpu_threads(self.config.threads):
            _load_solver(self.weights, self.config, self.solver.device)
            while True:
                is_over = self._is_over(is_stopped())
                has_read = self._read(is_over)
                if is_over and not has_read:
                    break
                if is_over:  # the closing pass solves what is left
                    continue
                step = self.solver.step(STEP_S)
                if step is not None:
                    self.status.mode = step.mode, step.text if step.mode != FULL else ""
                self._show(progress)
                if step is None and not has_read:
                    time.sleep(IDLE_S)
        self._show(progress, force=True)

    def finish(self, loading: LoadConfig, progress: Progress = silent) -> tuple[Reconstruction, ScanData]:
        """Write the scan file, and reconstruct it from the picture so far.

        Args:
            loading: Reading options of the scan file.
            progress: Called after every step.
        """
        self.status.state = "finishing"
        self.status.write()
        progress = tee(progress, self._show_finishing)
        path = save(self.scan.assemble(), self.folder / SCAN)
        data = load(path, replace(loading, crop_px=None, centre_px=None, positions_unit="auto"))
        options: dict[str, Any] = {"folder": self.folder, "progress": progress, "watch": self.snapshots}
        with cpu_threads(self.config.threads):
            probe = self.solver.close()
            data = data if probe is None else self.solver.probe.complete(data)
            recon = reconstruct(data, self.weights, self.config, solved_probe=probe, **options)
        return recon, data

    def _show_finishing(self, stage: str, done: int, total: int, /, **figures: float) -> None:
        """Write the status while the closing pass runs: everything is in its picture."""
        if time.monotonic() >= self._due_s:
            self._due_s = time.monotonic() + 1.0
            self.status.mode = FULL, ""
            solved = self.scan.n_joined - self.status.frames.get("left_out", 0)
            self.status.frames |= {"solved": solved, "model_alone": 0}
            self.status.delay_s = 0.0
            self.status.write()

    def end(self, state: str) -> None:
        """Write the last state, and close the spool."""
        self.status.state = state
        self.status.write()
        self.scan.close()

    def _is_over(self, is_stopped: bool) -> bool:
        """Return True once everything that will come is in the spool."""
        if is_stopped or self._is_complete():
            self.receiver.stop()
        if not self.receiver.ensure():
            raise InputError(self.scan.source, "", "a receiver that keeps dying", f"see {self.scan.spool}")
        record = self.receiver.state
        if record.get("state") == "failed":
            reason = str(record.get("error"))
            if not record.get("spooled"):
                raise InputError(self.scan.source, "", reason, "a source that can be read")
            if not self._has_failed:
                self.log(f"the source failed: {reason}")
            self._has_failed = True
        return self.receiver.is_over

    def _is_complete(self) -> bool:
        """Return True where as many frames are joined as the scan has, or where no more of them come."""
        if self.live.scan_frames is None:
            return False
        joined, now_s = self.scan.n_joined, time.monotonic()
        if joined != self._progress[0]:
            self._progress = joined, now_s
        return joined >= self.live.scan_frames or (joined > 0 and now_s - self._progress[1] > self.live.idle_s)

    def _read(self, is_over: bool) -> bool:
        """Give what is new to the solver; return False where nothing is."""
        block = self.scan.read(MAX_BLOCK, is_over=is_over)
        if block is None:
            return False
        if self._is_far_field is None:
            self._is_far_field = resolve_geometry(block.scan).fresnel_number is None
            if not self._is_far_field:
                self.log("a near-field scan: its picture comes at the end of the scan")
        if self._is_far_field:
            self.solver.add(block.scan, block.numbers)
        return True

    def _show(self, progress: Progress, *, force: bool = False) -> None:
        """Write status and picture, if the interval has passed."""
        now_s = time.monotonic()
        if not force and now_s < self._due_s:
            return
        record, solver, alone = self.receiver.state, self.solver, self._predict()
        expected = self.live.scan_frames or record.get("n_frames")
        losses = self.scan.list_losses(expected if self.receiver.is_over else None)
        status = self.status
        left_out = solver.list_left_out()
        left_out |= {"no_counts": losses["no_counts"], "stray": sorted([*left_out["stray"], *self.scan.far])}
        status.frames = count_frames({**record, "n_frames": expected}, losses, left_out) | {
            "joined": self.scan.n_joined,
            "solved": solver.n_solved,
            "newest_solved": solver.newest_solved,
            "model_alone": alone,
        }
        if solver.n_solved:
            self._show_picture()
        status.delay_s = self._arrivals.measure_delay(self.scan.n_joined, self.scan.n_joined - status.n_waiting)
        status.write(record.get("rate_hz", 0.0))
        progress("live", solver.n_solved, max(expected or 0, solver.n_solved, 1))
        self._due_s = now_s + max(self.live.picture_s, 4 * (time.monotonic() - now_s))

    def _predict(self) -> int:
        """Let the trained model show frames that wait; return the number of those that it alone shows.

        Its picture is written here only where the solver has none at all.
        """
        model, solver = self._model_picture, self.solver
        if model is None or self._is_far_field is False:
            return 0
        patterns = solver.patterns
        if not len(patterns) and (block := self.scan.peek()) is not None:
            patterns = PatternStore()
            patterns.add(block.scan, block.numbers)
        model.add_newest(patterns, solver.canvas)
        alone = model.count_alone(solver.canvas)
        if alone and not solver.n_solved:
            if self.snapshots is not None:
                self.snapshots(model.draw)
            write_positions(self.folder, patterns.numbers, patterns.positions_px, patterns.states)
        return alone

    def _show_picture(self) -> None:
        """Write picture, newest pattern and positions, and alerts to the status and the log."""
        solver, status, model = self.solver, self.status, self._model_picture
        if self.snapshots is not None:
            self.snapshots(solver.current if model is None else partial(model.fill, solver))
        status.quality = {"misfit": solver.misfit, "probe": solver.probe.state}
        patterns, states = solver.patterns, solver.frame_states
        self._show_alerts(find_alerts(patterns.numbers, solver.frame_checks()))
        newest = int(np.argmax(np.where(states > 0, patterns.numbers, -1)))
        measured, predicted = solver.predict(newest)
        status.newest_pattern = int(patterns.numbers[newest])
        write_newest(self.folder, status.newest_pattern, measured, predicted, patterns.first.good)
        write_positions(self.folder, patterns.numbers, patterns.positions_px, states)

    def _show_alerts(self, alerts: Sequence[Alert]) -> None:
        """Put alerts into the status, and those that are new into the log."""
        for alert in alerts:
            if alert.active and alert.kind not in {each["kind"] for each in self.status.alerts if each["active"]}:
                self.log(f"alert: {alert.text}")
        self.status.alerts = [asdict(alert) for alert in alerts]


@dataclass
class _Arrivals:
    """Times at which frames came, which the age of the picture is measured by."""

    counts: list[tuple[float, int]] = field(default_factory=list)

    def measure_delay(self, joined: int, solved: int) -> float:
        """Return how long the first frame that is not in the picture has been there, seconds.

        Args:
            joined: Frames with a position so far.
            solved: Frames in the picture, or left out of it.
        """
        now_s = time.monotonic()
        if not self.counts or joined > self.counts[-1][1]:
            self.counts.append((now_s, joined))
        while len(self.counts) > 1 and self.counts[0][1] <= solved:
            self.counts.pop(0)
        return now_s - self.counts[0][0] if joined > solved else 0.0


def _load_solver(weights: Weights, config: ReconstructConfig, device: torch.device) -> None:
    """Solve a few patterns of an empty beam, so that those of the scan wait for nothing that is loaded at first use."""
    distance_px = np.hypot(*(np.indices((SIZE, SIZE)) - SIZE // 2))
    probe = 100 * np.exp(-((distance_px / 4) ** 2)).astype(np.complex64)
    pattern = np.abs(np.fft.fftshift(np.fft.fft2(probe, norm="ortho"))) ** 2
    positions_px = 4.0 * np.indices((5, 5)).reshape(2, -1).T
    counts = np.repeat(pattern[None].astype(np.uint16), len(positions_px), 0)
    solver = LiveSolver(weights, config, device, START_COST)
    solver.add(ScanData(counts, positions_px, probe=probe[None]), np.arange(len(positions_px)))
    solver.step(STEP_S)
