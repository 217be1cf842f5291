"""The reconstruction of a run in progress, kept in its folder for whoever watches."""

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

SHARE = 0.03
"""Most of a run's time that snapshots may take."""
LARGEST_PX = 2**26
"""Objects with more pixels, 0.8 GB with their light, are not kept before they are finished."""

SnapshotCallback = IterateCallback[Reconstruction]
"""Called after every iteration, round or tile with a function that returns the current reconstruction."""


class Snapshots:
    """A `watch` of the solvers that keeps what they have in a file.

    The file holds `object`, `illumination`, `probe`, `positions_px`, `origin_px` and, where known, `pixel_size_m` and
    `patterns`, as in `Reconstruction`, and in `provenance` which scan it is of. It is replaced in one piece, and so
    seldom that a run hardly takes longer. Where it cannot be written, the run goes on without.

    Args:
        folder: Run folder.
        scan_file: Where the scan was read from, so that its patterns can be found.
        interval_s: Least time between two snapshots, seconds.
    """

    def __init__(self, folder: Path, scan_file: str | Path | None = None, interval_s: float = 2.0) -> None:
        self._path, self._interval_s, self._due_s = folder / SNAPSHOT, interval_s, float("-inf")
        self._place = {} if scan_file is None else {"path": str(Path(scan_file).resolve())}

    def __call__(self, look: Callable[[], Reconstruction], /) -> None:
        """Write the reconstruction where a snapshot is due."""
        start_s = time.monotonic()
        if start_s < self._due_s:
            return
        recon = look()
        if recon.object.size > LARGEST_PX:
            self._give_up(f"{recon.object.size} pixels are too many to show before they are finished")
            return
        try:
            self._write(recon)
        except OSError as error:
            self._give_up(str(error))
            return
        now_s = time.monotonic()
        self._due_s = now_s + max(self._interval_s, (now_s - start_s) / SHARE)

    def _write(self, recon: Reconstruction) -> None:
        scan = recon.provenance.get("scan")
        known: dict[str, Any] = dict(scan) if isinstance(scan, Mapping) else {}
        with atomic_path(self._path) as temporary, h5py.File(temporary, "w") as file:
            for name, dtype in ARRAYS.items():
                file.create_dataset(name, data=getattr(recon, name), dtype=dtype).attrs["units"] = UNITS[name]
            for name in ("pixel_size_m", "patterns"):
                if (value := getattr(recon, name)) is not None:
                    file[name] = value
            write_json(file, "provenance", {"scan": {**known, **self._place}})

    def _give_up(self, reason: str) -> None:
        logging.getLogger("ptypinn").warning(f"no snapshots from here on: {reason}")
        self._due_s = float("inf")
