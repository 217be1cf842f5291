"""Configuration of reading: facts that a scan file does not state."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from ptypinn.config.shared import BatchConfig, Config, require, require_min, require_positive
from ptypinn.errors import InputError

Flip = Literal["none", "y", "x", "yx"]
"""Axes along which the order is reversed."""
CORNER = (0, 0)
"""Value of `centre_px` for patterns whose zero frequency is in their corner."""
MAX_CANVAS_PIXELS = 16384**2
"""Default maximum size of the canvas; a larger one is mostly a mistaken unit of the positions."""

MAX_TURN_DEG, MAX_STRETCH, MIN_DETERMINANT = 360.0, 1e3, 1e-6
"""Largest turn of a scan, largest entry of a matrix of its positions, and smallest determinant of that."""
SYNTAX = 'numbers and ranges counted from 0, such as "0-195", "3-", "0-:4" (every fourth) or "~5,77" (all but these)'
RANGE = re.compile(r"(\d+)(?:(-)(\d*)(?::(\d+))?)?")


@dataclass(frozen=True)
class LoadConfig(Config):
    """Options of reading a scan file.

    >>> LoadConfig(detector_distance_m=1.9, calibration="p99").calibration
    'p99'
    """

    format: str = "auto"
    """File format by name, as `ptypinn convert` has them; auto detects it from the content."""
    domain: Literal["auto", "counts", "amplitude"] = "auto"
    """Quantity of the patterns: counts, or amplitudes (square roots of counts); needed for floating-point patterns in
    NPZ files, and in others where their squares are whole numbers."""
    axis_order: Literal["nhw", "hwn"] = "nhw"
    """Axes of the patterns in an NPZ file: patterns first (nhw) or patterns last (hwn)."""
    truth: str = ""
    """Name of the array in an NPZ file to take as the true object, such as objectGuess; empty takes none."""
    probe: str = ""
    """File with a probe that replaces the scan's own: .npy, .npz, a scan or a reconstruction."""
    calibration: Literal["mean", "p99", "none"] = "mean"
    """Rule that scales a probe of arbitrary scale to photons: to the mean of the pattern sums, to their 99th
    percentile, or none if the probe is in sqrt(photons) already."""
    photons: float | None = None
    """Photons per pattern through vacuum, if known; replaces the rule."""
    energy_eV: float | None = None
    """Photon energy in electron volts; replaces the file's."""
    detector_distance_m: float | None = None
    """Distance from sample to detector in metres; replaces the file's."""
    detector_pixel_m: float | None = None
    """Detector pixel in metres; replaces the file's."""
    pixel_size_m: float | None = None
    """Object pixel in metres, where energy, distance and detector pixel do not give it; replaces the file's. If
    patterns are cropped, that of the cropped ones; if they are padded, that before."""
    particle: Literal["auto", "photon", "electron"] = "auto"
    """Diffracted particle, which gives the wavelength at an energy; auto is the usual one for files of the format."""
    detector_gain: float | None = None
    """Detector units per photon or electron, by which patterns are divided; replaces the file's."""
    patterns_file: str = ""
    """File with the patterns, for formats that store them apart from positions and probe."""
    positions_file: str = ""
    """File with the positions, for formats without: CSV with a column each for y and x, one line per pattern."""
    mask: str = ""
    """Mask that supplies or extends the scan's own: .npy, .npz, or FILE.h5:DATASET; needs --mask-convention."""
    mask_convention: Literal["", "good", "bad"] = ""
    """Meaning of values other than 0 in the mask of --mask, or in an NPZ file's own `mask`: good or bad pixels."""
    dark: str = ""
    """Measured background of the patterns, in their unit: .npy, .npz, or FILE.h5:DATASET; of several frames, their mean
    is taken. It is added to what is predicted, so that the counting noise stays right; nothing is subtracted."""
    mtf: str = ""
    """Measured modulation transfer function of the detector: a text file of two columns, frequency in units of
    Nyquist's and MTF, or the MTF at half of Nyquist's frequency, such as 0.6. It is part of what is predicted."""
    monitor: str = ""
    """Beam monitor with one reading per frame, as of an ion chamber: a dataset of the scan file, FILE.h5:DATASET, .npy,
    .npz, or a text table (of several columns TABLE:COLUMN); none leaves that of the file aside. The flux of the frames
    is taken from it, relative to its mean, where their counts do not contradict it."""
    positions_unit: Literal["auto", "px", "m", "um", "nm"] = "auto"
    """Unit of positions that the file does not state, or states wrongly: object pixels, metres, micrometres or
    nanometres."""
    scan_step_m: float | None = None
    """Step in metres of a raster of patterns that comes without positions."""
    raster_shape: tuple[int, int] | None = None
    """Rows and columns of a raster of patterns, where the file states none, such as [128,128]; replaces the file's."""
    select: str = ""
    """Patterns to read, with their positions, by number from 0: "0-195", "3-", "0-:4" (every fourth) or "~5,77" (all
    but these); of unequal numbers of patterns and positions, those that belong together."""
    centre_px: tuple[int, int] | None = None
    """Row and column of the zero frequency in the stored patterns; their middle (N//2) by default. [0,0] is the corner:
    such patterns are rolled by half their size."""
    crop_px: int | None = None
    """Edge of the square around the zero frequency that each pattern is cropped to; the whole pattern by default."""
    pad_px: int | None = None
    """Edge of the square that each pattern, cropped or whole, is padded to with unmeasured pixels, so that the object
    pixel is finer: for detectors that end close to the beam. Nothing is padded by default."""
    transpose_patterns: bool = False
    """Exchange rows and columns of the patterns, their mask and the file's probe, before any flip."""
    flip_patterns: Flip = "none"
    """Flip the patterns, their mask and the file's probe about their middle along these axes."""
    transpose_positions: bool = False
    """Exchange y and x of the positions, before any flip."""
    flip_positions: Flip = "none"
    """Change the sign of these coordinates of the positions."""
    scan_rotation_deg: float = 0.0
    """Turn of the recorded scan against the detector, degrees from y to x, that positions are turned back by after any
    flip; `ptypinn info --orient` and reports state it so."""
    scan_matrix: tuple[float, float, float, float] | None = None
    """Matrix [yy,yx,xy,xx] from true to recorded positions (y, x), instead of a turn, such as [1.02,0,0,0.98]: its
    inverse is applied after any flip."""
    allow_external: bool = False
    """Follow links to files outside the folder of the scan file."""
    geometry: Literal["auto", "far-field", "near-field"] = "auto"
    """Propagation from the sample to the detector; auto takes patterns that move across the detector with the sample,
    as shadows do, for near-field (projection) images."""
    focus_distance_m: float | None = None
    """Distance from the focus to the sample in metres, for near-field images in a diverging beam; by default that which
    the motion of the patterns shows, refined. A very large one is a parallel beam."""
    survey: bool = True
    """Mask bad pixels and leave out bad frames and stray positions that a look at all counts reveals; `ptypinn info`
    and the log list them."""
    memory_budget_gib: float = 1.0
    """Patterns larger than this, GiB, stay on disk and are read in pieces, where the file allows it: HDF5, NPY, and
    flat NPZ without compression. Other files are read whole, up to this or to 4 GiB, whichever is more."""
    max_canvas_pixels: int = MAX_CANVAS_PIXELS
    """Maximum pixels of the object canvas; positions that need more mostly have a mistaken unit."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "photons", "energy_eV", "detector_distance_m", "detector_pixel_m", "pixel_size_m")
        require_positive(
            self, "detector_gain", "scan_step_m", "crop_px", "pad_px", "memory_budget_gib", "max_canvas_pixels"
        )
        require_positive(self, "focus_distance_m")
        shape = self.raster_shape
        require(self, "raster_shape", shape is None or min(shape) >= 1, "positive numbers of rows and columns")
        if self.geometry == "far-field" and self.focus_distance_m is not None:
            raise InputError("--focus-distance-m", "", "together with --geometry far-field", "one of the two")
        if self.calibration == "none" and self.photons is not None:
            raise InputError("--calibration", "", "none together with --photons", "one of the two")
        if self.mask and not self.mask_convention:
            raise InputError("--mask-convention", "", f"none beside --mask {self.mask}", "good or bad")
        require(self, "scan_rotation_deg", abs(self.scan_rotation_deg) <= MAX_TURN_DEG, "at most 360 degrees")
        if self.scan_matrix is not None:
            yy, yx, xy, xx = self.scan_matrix
            sane = max(map(abs, self.scan_matrix)) < MAX_STRETCH and abs(yy * xx - yx * xy) > MIN_DETERMINANT
            require(self, "scan_matrix", sane, "a matrix that has an inverse, such as [1.02,0,0,0.98]")
            if self.scan_rotation_deg:
                raise InputError("--scan-rotation-deg", "", "together with --scan-matrix", "one of the two")
        require(self, "select", not self.select or is_range_text(self.select), SYNTAX)
        require(self, "crop_px", self.crop_px is None or self.crop_px % 2 == 0, "an even number")
        require(self, "pad_px", self.pad_px is None or self.pad_px % 2 == 0, "an even number")
        if self.pad_px is not None and (self.geometry == "near-field" or self.focus_distance_m is not None):
            raise InputError(
                "--pad-px", "", f"{self.pad_px} in a near field", "a far field, whose object pixel it makes finer"
            )
        if self.truth and self.pad_px is not None:
            expected = "patterns as they are, for the pixels of a true object are larger than those of padded ones"
            raise InputError("--truth", "", f"{self.truth} together with --pad-px", expected)
        if self.truth and (self.crop_px is not None or self.centre_px not in (None, CORNER)):
            expected = "whole patterns, for the pixels of a true object are smaller than those of cut ones"
            raise InputError("--truth", "", f"{self.truth} together with --crop-px or --centre-px", expected)


MIN_PATTERNS = 9
"""Minimum number of patterns from which the orientation can be estimated."""


@dataclass(frozen=True)
class InfoConfig(BatchConfig):
    """Options of the description of a scan."""

    batch_size: int = 64
    """Patterns in memory at once."""
    orient_patterns: int = 80
    """Neighbouring patterns around the middle of the scan that `--orient` solves in every orientation."""
    orient_iterations: int = 20
    """Iterations of every such solve."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_min(self, MIN_PATTERNS, "orient_patterns")
        require_min(self, 1, "orient_iterations")


def is_range_text(text: str) -> bool:
    """Return True if a text follows `SYNTAX`."""
    return all(_is_range(part) for part in text.strip().removeprefix("~").split(","))


def _is_range(part: str) -> bool:
    match = RANGE.fullmatch(part.strip())
    return match is not None and match[4] != "0" and (not match[3] or int(match[3]) >= int(match[1]))
