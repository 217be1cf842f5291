"""Snapshots: the reconstruction of a run in progress, written to its folder for the viewer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.io.reconstruction_file import ARRAYS, UNITS
from ptypinn.io.safe.hdf5 import write_json
from ptypinn.runs.folder import SNAPSHOT
from ptypinn.utils.files import atomic_path
from ptypinn.utils.progress import IterateCallback

MAX_TIME_FRACTION = 0.03
"""Maximum fraction of a run's time that snapshots take."""
MAX_OBJECT_PX = 2**26
"""Larger objects (0.8 GB with their illumination) have no snapshots."""

SnapshotCallback = IterateCallback[Reconstruction]
"""Called after every iteration, round or tile with a function that returns the current reconstruction."""


class Snapshots:
    """A `SnapshotCallback` that writes the current reconstruction to a file.

    The file has `object`, `illumination`, `probe`, `positions_px`, `origin_px` and, where known, `pixel_size_m` and
    `patterns`, as in `Reconstruction`, and the scan in `provenance`. It is replaced atomically, and seldom enough that
    the run takes hardly longer. Where it cannot be written, the run continues without snapshots.

    Args:
        folder: Run folder.
        scan_file: File of the scan, recorded so that its patterns can be found.
        interval_s: Minimum time between two snapshots, seconds.
    """

    def __init__(self, folder: Path, scan_file: str | Path | None = None, interval_s: float = 2.0) -> None:
        self._path, self._interval_s, self._due_s = folder / SNAPSHOT, interval_s, float("-inf")
        self._scan_path = {} if scan_file is None else {"path": str(Path(scan_file).resolve())}

    def __call__(self, current: Callable[[], Reconstruction], /) -> None:
        """Write the current reconstruction if the interval has passed."""
        start_s = time.monotonic()
        if start_s < self._due_s:
            return
        recon = current()
        if recon.object.size > MAX_OBJECT_PX:
            self._stop(f"an object of {recon.object.size} pixels is shown only when it is finished")
            return
        try:
            self._write(recon)
        except OSError as error:
            self._stop(str(error))
            return
        now_s = time.monotonic()
        self._due_s = now_s + max(self._interval_s, (now_s - start_s) / MAX_TIME_FRACTION)

    def _write(self, recon: Reconstruction) -> None:
        scan = recon.provenance.get("scan")
        record: dict[str, Any] = dict(scan) if isinstance(scan, Mapping) else {}
        with atomic_path(self._path) as temporary, h5py.File(temporary, "w") as file:
            for name, dtype in ARRAYS.items():
                file.create_dataset(name, data=getattr(recon, name), dtype=dtype).attrs["units"] = UNITS[name]
            for name in ("pixel_size_m", "patterns"):
                if (value := getattr(recon, name)) is not None:
                    file[name] = value
            write_json(file, "provenance", {"scan": {**record, **self._scan_path}})

    def _stop(self, reason: str) -> None:
        logging.getLogger("ptypinn").warning(f"no more snapshots: {reason}")
        self._due_s = float("inf")
