"""Configuration of reading: what a scan file does not say about itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ptypinn.data.validation import MAX_CANVAS_PIXELS
from ptypinn.errors import InputError

FormatName = Literal[
    "auto",
    "native",
    "cxi",
    "nxcxi",
    "ptyd",
    "ptyr",
    "ptychodus",
    "npz",
    "ptychonn",
    "ptylab",
    "shelves",
    "eiger",
    "stem4d",
]
"""Names of the file formats that are read, those of `ptypinn.io.load_save.FORMATS`."""
Flip = Literal["none", "y", "x", "yx"]
"""Axes along which the order is turned round."""
POSITIVE = (
    "photons",
    "energy_eV",
    "detector_distance_m",
    "detector_pixel_m",
    "pixel_size_m",
    "detector_gain",
    "scan_step_m",
    "crop_px",
)


@dataclass(frozen=True)
class LoadConfig:
    """How a scan file is read."""

    format: FormatName = "auto"
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
    pixel_size_m: float | None = None
    """Object pixel in metres, where energy, distance and detector pixel do not give it; replaces the file's. Where
    patterns are cut, that of what is kept."""
    particle: Literal["auto", "photon", "electron"] = "auto"
    """What is diffracted, which gives the wavelength at an energy; auto is what files of the format usually hold."""
    detector_gain: float | None = None
    """Detector units per photon or electron, by which patterns are divided; replaces the file's."""
    patterns_file: str = ""
    """File with the patterns, for formats that keep them apart from positions and probe."""
    positions_file: str = ""
    """File with the positions, for formats without: CSV with a column each for y and x, one line per pattern."""
    positions_unit: Literal["auto", "px", "m", "um", "nm"] = "auto"
    """Unit of positions whose file does not say: object pixels, metres, micrometres or nanometres."""
    scan_step_m: float | None = None
    """Step in metres of a raster of patterns that comes without positions."""
    centre_px: tuple[int, int] | None = None
    """Row and column of the zero frequency in the stored patterns; their middle (N//2) where not given."""
    crop_px: int | None = None
    """Edge of the square around the zero frequency that is kept of each stored pattern; all of it where not given."""
    transpose_patterns: bool = False
    """Exchange rows and columns of the patterns, their mask and the file's probe, before any flip."""
    flip_patterns: Flip = "none"
    """Turn the patterns, their mask and the file's probe round their middle along these axes."""
    transpose_positions: bool = False
    """Exchange y and x of the positions, before any flip."""
    flip_positions: Flip = "none"
    """Change the sign of these coordinates of the positions."""
    allow_external: bool = False
    """Follow links to files outside the folder of the scan file."""
    geometry: Literal["auto", "far-field"] = "auto"
    """auto refuses patterns that turn out to be near-field (projection) images; far-field takes them anyway."""
    memory_budget_gib: float = 1.0
    """Patterns larger than this, GiB, stay on disk and are read in pieces, where the file allows it: HDF5, NPY, and flat
    NPZ without compression. Other files are read whole, up to this or to 4 GiB, whichever is more."""
    max_canvas_pixels: int = MAX_CANVAS_PIXELS
    """Most pixels of the object canvas; positions that need more mostly have a mistaken unit."""

    def __post_init__(self) -> None:
        for name in POSITIVE:
            value = getattr(self, name)
            if value is not None and not (0 < value < float("inf")):
                raise InputError(f"--{name}", "", str(value), "a positive number")
        for name in ("memory_budget_gib", "max_canvas_pixels"):
            if not getattr(self, name) > 0:
                raise InputError(f"--{name}", "", str(getattr(self, name)), "more than 0")
        if self.calibration == "none" and self.photons is not None:
            raise InputError("--calibration", "", "none together with --photons", "one of the two")
        if self.crop_px is not None and self.crop_px % 2:
            raise InputError("--crop_px", "", str(self.crop_px), "an even number")
        if self.truth and (self.crop_px is not None or self.centre_px is not None):
            expected = "whole patterns, for the pixels of a true object are smaller than those of cut ones"
            raise InputError("--truth", "", f"{self.truth} together with --crop_px or --centre_px", expected)


MIN_PATTERNS = 9
"""Fewer patterns do not tell which way round they are."""


@dataclass(frozen=True)
class InfoConfig:
    """How a scan is looked at."""

    batch_size: int = 64
    """Patterns in memory at a time."""
    orient_patterns: int = 80
    """Neighbouring patterns around the middle of the scan that `--orient` solves in every orientation."""
    orient_iterations: int = 20
    """Iterations of every such solve."""

    def __post_init__(self) -> None:
        for name, least in (("batch_size", 1), ("orient_patterns", MIN_PATTERNS), ("orient_iterations", 1)):
            if getattr(self, name) < least:
                raise InputError(f"--{name}", "", str(getattr(self, name)), f"at least {least}")
