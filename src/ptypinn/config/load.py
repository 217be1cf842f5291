"""Configuration of reading: what a scan file does not say about itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ptypinn.data.validate import MAX_CANVAS_PIXELS
from ptypinn.errors import InputError


@dataclass(frozen=True)
class LoadConfig:
    """How a scan file is read."""

    format: Literal["auto", "native", "cxi", "npz"] = "auto"
    """File format; auto looks at the content."""
    domain: Literal["auto", "counts", "amplitude"] = "auto"
    """What floating-point patterns of an NPZ file hold: counts, or amplitudes (square roots of counts)."""
    axis_order: Literal["nhw", "hwn"] = "nhw"
    """Axes of the patterns in an NPZ file: patterns first (nhw) or patterns last (hwn)."""
    truth: str = ""
    """Name of the array in an NPZ file to take as the true object, such as objectGuess; empty takes none."""
    probe: str = ""
    """File with a probe that replaces the scan's own: .npy, .npz, a scan or a reconstruction."""
    calibration: Literal["mean", "brightest", "none"] = "mean"
    """Rule that gives a probe of arbitrary scale its photons: the mean pattern sum, the brightest patterns, or none
    where the probe is in sqrt(photons) already."""
    photons: float | None = None
    """Photons per pattern through vacuum, where known; replaces the rule."""
    energy_eV: float | None = None
    """Photon energy in electron volts; replaces the file's."""
    detector_distance_m: float | None = None
    """Distance from sample to detector in metres; replaces the file's."""
    detector_pixel_m: float | None = None
    """Detector pixel in metres; replaces the file's."""
    geometry: Literal["auto", "far-field"] = "auto"
    """auto refuses patterns that turn out to be near-field (projection) images; far-field takes them anyway."""
    memory_budget_MB: float = 4096.0
    """HDF5 patterns larger than this stay on disk and are read in pieces."""
    max_canvas_pixels: int = MAX_CANVAS_PIXELS
    """Most pixels of the object canvas; positions that need more mostly have a mistaken unit."""

    def __post_init__(self) -> None:
        for name in ("photons", "energy_eV", "detector_distance_m", "detector_pixel_m"):
            value = getattr(self, name)
            if value is not None and not (0 < value < float("inf")):
                raise InputError(f"--{name}", "", str(value), "a positive number")
        for name in ("memory_budget_MB", "max_canvas_pixels"):
            if not getattr(self, name) > 0:
                raise InputError(f"--{name}", "", str(getattr(self, name)), "more than 0")
        if self.calibration == "none" and self.photons is not None:
            raise InputError("--calibration", "", "none together with --photons", "one of the two")
