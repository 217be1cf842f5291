"""The object of a run in progress, kept in its folder for whoever watches."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Complex64

from ptypinn.data.atomic import atomic_path
from ptypinn.data.frame import canvas_frame
from ptypinn.data.scan import ScanData
from ptypinn.runs import SNAPSHOT

SHARE = 0.03
"""Most of a run's time that snapshots may take."""


class Snapshots:
    """A `watch` of the solvers that keeps the newest object in a file, `/object` with `pixel_size_m` and `origin_px`.

    The file is replaced in one piece, and so seldom that a run hardly takes longer. Where it cannot be written, the run
    goes on without.

    Args:
        folder: Run folder.
        scan: The scan that is being solved.
        interval_s: Least time between two snapshots, seconds.
    """

    def __init__(self, folder: Path, scan: ScanData, interval_s: float = 2.0) -> None:
        self._path, self._interval_s, self._due_s = folder / SNAPSHOT, interval_s, float("-inf")
        self._notes: dict[str, object] = {"origin_px": canvas_frame(scan)[0]}
        if scan.pixel_size_m is not None:
            self._notes["pixel_size_m"] = scan.pixel_size_m

    def __call__(self, object_: Complex64[np.ndarray, "height width"], /) -> None:
        """Write the object where a snapshot is due."""
        start_s = time.monotonic()
        if start_s < self._due_s:
            return
        try:
            with atomic_path(self._path) as temporary, h5py.File(temporary, "w") as file:
                file.create_dataset("object", data=object_).attrs["units"] = ""
                file.attrs.update(self._notes)
        except OSError as error:
            logging.getLogger("ptypinn").warning(f"no snapshots from here on: {error}")
            self._due_s = float("inf")
            return
        now_s = time.monotonic()
        self._due_s = now_s + max(self._interval_s, (now_s - start_s) / SHARE)
