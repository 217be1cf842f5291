"""The object of a run in progress, kept in its folder for whoever watches."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import h5py
import numpy as np
import torch
from jaxtyping import Complex64, Float32

from ptypinn.data.atomic import atomic_path
from ptypinn.data.frame import canvas_frame, canvas_positions
from ptypinn.data.scan import ScanData
from ptypinn.physics.patches import split_positions
from ptypinn.runs import SNAPSHOT
from ptypinn.solver.preconditioner import illumination_of

SHARE = 0.03
"""Most of a run's time that snapshots may take."""


class Snapshots:
    """A `watch` of the solvers that keeps the newest object in a file.

    `/object` is the transmission and `/illumination` the light of the scan's own probe, photons per pixel; `origin_px`
    and, where known, `pixel_size_m` are attributes, as in `Reconstruction`. The file is replaced in one piece, and so
    seldom that a run hardly takes longer. Where it cannot be written, the run goes on without.

    Args:
        folder: Run folder.
        scan: The scan that is being solved.
        interval_s: Least time between two snapshots, seconds.
    """

    def __init__(self, folder: Path, scan: ScanData, interval_s: float = 2.0) -> None:
        self._path, self._interval_s, self._due_s = folder / SNAPSHOT, interval_s, float("-inf")
        self._scan = scan
        self._light: np.ndarray | None = None
        self._notes: dict[str, object] = {"origin_px": canvas_frame(scan)[0]}
        if scan.pixel_size_m is not None:
            self._notes["pixel_size_m"] = scan.pixel_size_m

    def __call__(self, object_: Complex64[np.ndarray, "height width"], /) -> None:
        """Write the object where a snapshot is due."""
        start_s = time.monotonic()
        if start_s < self._due_s:
            return
        if self._light is None:
            self._light = light_of(self._scan)
        try:
            with atomic_path(self._path) as temporary, h5py.File(temporary, "w") as file:
                file.create_dataset("object", data=object_).attrs["units"] = ""
                file.create_dataset("illumination", data=self._light).attrs["units"] = "photons/pixel"
                file.attrs.update(self._notes)
        except OSError as error:
            logging.getLogger("ptypinn").warning(f"no snapshots from here on: {error}")
            self._due_s = float("inf")
            return
        now_s = time.monotonic()
        self._due_s = now_s + max(self._interval_s, (now_s - start_s) / SHARE)


def light_of(scan: ScanData) -> Float32[np.ndarray, "height width"]:
    """Photons on every pixel of the canvas of a scan, by the probe that the scan has."""
    _, (height, width) = canvas_frame(scan)
    corners, _ = split_positions(torch.from_numpy(canvas_positions(scan)))
    return illumination_of(torch.from_numpy(scan.require_probe()), corners, height, width).numpy()
