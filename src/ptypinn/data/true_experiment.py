"""True values of a simulated experiment, beside what its scan records."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Complex64, Float64, Int64

PER_FRAME = ("positions_px", "drift_px", "motion_px", "flux", "aberrations_rad", "beam_px")
"""Fields with one entry per frame, in the order of the scan's patterns."""
UNITS: Mapping[str, str] = {
    "positions_px": "pixel",
    "probe": "sqrt(photons)",
    "position_matrix": "",
    "drift_px": "pixel",
    "motion_px": "pixel",
    "flux": "",
    "aberrations_rad": "radian",
    "beam_px": "detector pixel",
    "background": "photons/pixel",
    "hot_pixels": "",
    "cosmic_rays": "",
    "empty_frames": "",
    "repeated_frames": "",
    "slices": "",
    "slice_spacing_m": "m",
    "sample_tilt_mrad": "mrad",
}
"""Unit of every array."""


@dataclass(frozen=True)
class TrueExperiment:
    """What a simulated experiment did, where the scan records something else; None where a fault is absent.

    Frames are numbered from 0 in the order of the scan's patterns; pixels are (y, x), detector order.
    """

    faults: Mapping[str, Any]
    """Size of every fault by its name."""
    positions_px: Float64[np.ndarray, "frame 2"]
    """True positions (y, x) in the middle of every exposure, object pixels, in the frame of the scan's truth."""
    probe: Complex64[np.ndarray, "mode probe_y probe_x"]
    """True modes, sqrt(photons); of a probe that varies, without its aberrations."""
    position_matrix: Float64[np.ndarray, "2 2"] | None = None
    """Matrix from true to recorded coordinates (y, x), around the mean of the true ones without their drift."""
    drift_px: Float64[np.ndarray, "frame 2"] | None = None
    """Drift (y, x) of every frame that the record lacks, object pixels; its mean is 0."""
    motion_px: Float64[np.ndarray, "frame 2"] | None = None
    """Motion (y, x) during every exposure, object pixels."""
    flux: Float64[np.ndarray, " frame"] | None = None
    """Factor on the photons of every frame; its mean is 1."""
    aberrations_rad: Float64[np.ndarray, "frame 3"] | None = None
    """Defocus and tilts (y, x) of the probe of every frame: phases at the rim of the pupil, radians."""
    beam_px: Float64[np.ndarray, "frame 2"] | None = None
    """Direct beam (y, x) from the centre of every pattern, detector pixels."""
    background: Float64[np.ndarray, "y x"] | None = None
    """Expected photons of the background, before the point spread."""
    hot_pixels: Int64[np.ndarray, "pixel 2"] | None = None
    """Bright pixels (y, x)."""
    cosmic_rays: Int64[np.ndarray, "hit 3"] | None = None
    """Frame and pixel (frame, y, x) of every hit."""
    empty_frames: Int64[np.ndarray, " empty"] | None = None
    """Frames without a photon."""
    repeated_frames: Int64[np.ndarray, " repeated"] | None = None
    """Frames that hold the counts of the frame before."""
    slices: Complex64[np.ndarray, "slice height width"] | None = None
    """Transmission of the slices of a thick sample in the order of the beam, whose product is the scan's truth."""
    slice_spacing_m: Float64[np.ndarray, " gap"] | None = None
    """Distances between them, metres."""
    sample_tilt_mrad: Float64[np.ndarray, " 2"] | None = None
    """Tilt (y, x) of the axis along which they follow each other against the beam, milliradians."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that are present, by name."""
        return {name: value for name in UNITS if (value := getattr(self, name)) is not None}

    def probe_of(self, frame: int) -> Complex64[np.ndarray, "mode y x"]:
        """Return the true modes of one frame, with its aberrations, sqrt(photons)."""
        if self.aberrations_rad is None:
            return self.probe
        import torch

        from ptypinn.physics.experiment import aberrate_probe

        aberrations = torch.from_numpy(self.aberrations_rad[frame : frame + 1])
        return aberrate_probe(torch.from_numpy(self.probe), aberrations)[0].to(torch.complex64).numpy()

    def subset(self, index: np.ndarray) -> TrueExperiment:
        """Return the values of some frames (sorted integers), which are numbered anew."""
        changes: dict[str, Any] = {
            name: value[index] for name in PER_FRAME if (value := getattr(self, name)) is not None
        }
        for name in ("empty_frames", "repeated_frames"):
            if (frames := getattr(self, name)) is not None:
                changes[name] = np.flatnonzero(np.isin(index, frames))
        if self.cosmic_rays is not None:
            hits = self.cosmic_rays[np.isin(self.cosmic_rays[:, 0], index)]
            changes["cosmic_rays"] = np.column_stack([np.searchsorted(index, hits[:, 0]), hits[:, 1:]])
        return dataclasses.replace(self, **changes)
