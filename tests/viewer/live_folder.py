"""The folder of a run of a scan in progress, as the solver leaves it after every picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.io.reconstruction_file import Snapshots
from ptypinn.physics.patches import compute_illumination_at
from ptypinn.runs.folder import SNAPSHOT, RunFolder
from ptypinn.stages.live_status import LiveStatus, write_newest, write_positions

STRIDE = 16


class LiveFolder:
    """A run that has solved some of the frames of a scan, from the centre outwards: the canvas grows on all sides.

    Args:
        path: The run folder.
        scan: The scan, with its truth, which is the picture.
    """

    def __init__(self, path: Path, scan: ScanData) -> None:
        middle = scan.positions_px.mean(0)
        self.path, self.scan = path, scan
        self.order = np.argsort(np.abs(scan.positions_px - middle).max(1), kind="stable")
        self.run = RunFolder(path, "live", {}, command=["ptypinn", "live"])
        self.status = LiveStatus(path, "replay:scan.h5", state="receiving", quality={"misfit": 1.02})

    def __enter__(self) -> LiveFolder:
        self.run.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.run.__exit__(None, None, None)

    def write(self, solved: int, **changes: Any) -> None:
        """Write everything, with so many frames in the picture."""
        self.write_snapshot(solved)
        scan, newest = self.scan, int(self.order[solved - 1])
        counts = np.asarray(scan.counts[newest : newest + 1])[0]
        write_newest(self.path, newest, counts, counts.astype(np.float32), scan.good)
        states = np.zeros(scan.n_patterns)
        states[: solved // 2], states[solved // 2 : solved] = 2, 1
        self.write_positions(self.order, scan.positions_px[self.order], states)
        self.write_status(solved, **changes)

    def write_snapshot(self, solved: int) -> None:
        """Write the part of the truth that so many frames cover."""
        scan, index = self.scan, self.order[:solved]
        places, size = scan.positions_px[index], scan.size
        low = np.floor(places.min(0) / STRIDE).astype(int) * STRIDE
        high = np.minimum(np.ceil(places.max(0)).astype(int) + size, scan.truth.shape)
        area = slice(low[0], high[0]), slice(low[1], high[1])
        illumination = compute_illumination_at(scan.positions_px[index], scan.require_probe(), scan.truth.shape)
        recon = Reconstruction(
            object=scan.truth[area],
            illumination=illumination.astype(np.float32)[area],
            probe=scan.require_probe(),
            positions_px=places - low,
            origin_px=(int(low[0]), int(low[1])),
            pixel_size_m=scan.pixel_size_m,
            patterns=index,
        )
        Snapshots(self.path / SNAPSHOT)(lambda: recon)

    def write_positions(self, numbers: np.ndarray, positions: np.ndarray, states: np.ndarray) -> None:
        """Write positions and states."""
        write_positions(self.path, numbers, positions, states)

    def write_status(self, solved: int, **changes: Any) -> None:
        """Write the state."""
        total = self.scan.n_patterns
        counts = dict.fromkeys(("expected", "received", "spooled", "joined"), total)
        self.status.frames = {**counts, "solved": solved, "newest": total - 1, "newest_solved": solved - 1}
        for name, value in changes.items():
            setattr(self.status, name, value)
        self.status.write(100.0)

    def finish(self, recon: Reconstruction) -> None:
        """Finish the run as the command does."""
        self.write_result(recon)
        self.write_status(self.scan.n_patterns, state="finished")

    def write_result(self, recon: Reconstruction) -> None:
        """Write what a finished run holds, which the command does before the state says so."""
        recon.save(self.run.file("reconstruction.h5"))
        self.run.file("report.html").write_text("<!doctype html><p>A report")
        self.run.finish({"metrics": {}, "warnings": []}, {})
