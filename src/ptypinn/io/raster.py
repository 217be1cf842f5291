"""Positions and object pixels of patterns of a raster, as electron microscopes record them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float64

from ptypinn.config.load import LoadConfig
from ptypinn.errors import InputError
from ptypinn.io.crop import Crop
from ptypinn.io.position_table import read_positions
from ptypinn.physics.optics import Particle, compute_wavelength

MAX_PATTERNS = 10**8
"""Maximum number of positions."""


def angular_pixel(
    source: str,
    config: LoadConfig,
    size: int,
    energy_eV: float | None,
    angle_per_pixel_rad: float | None,
    particle: Particle,
) -> float | None:
    """Return the object pixel, metres: `wavelength / (N * angle of a detector pixel)`; None where a number is unknown.

    Args:
        source: Name of the file for messages.
        config: Reading options; `pixel_size_m` comes first, then the camera length and the detector's pixel.
        size: Edge N of a pattern, pixels.
        energy_eV: Energy, electron volts.
        angle_per_pixel_rad: Angle that a detector pixel spans by the file, radians.
        particle: What is diffracted.
    """
    if config.pixel_size_m is not None:
        return config.pixel_size_m
    if config.detector_pixel_m is not None and config.detector_distance_m is not None:
        angle_per_pixel_rad = config.detector_pixel_m / config.detector_distance_m
    for name, value in (("energy", energy_eV), ("angle per detector pixel", angle_per_pixel_rad)):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise InputError(source, name, str(value), "a positive number")
    if energy_eV is None or angle_per_pixel_rad is None:
        return None
    return compute_wavelength(energy_eV, particle) / (size * angle_per_pixel_rad)


def raster_positions(
    crop: Crop,
    config: LoadConfig,
    raster: tuple[int, ...],
    step_m: tuple[float, float] | None,
    pixel_m: float | None,
    fast: Literal["x", "y"] = "x",
) -> Float64[np.ndarray, "patterns 2"]:
    """Return positions (y, x), object pixels: those of `positions_file`, or else a raster's.

    Args:
        crop: Crop of the patterns.
        config: Reading options; `scan_step_m` replaces the file's step.
        raster: Rows and columns of the raster; the number of patterns where the file states none.
        step_m: Step (y, x) by the file, metres.
        pixel_m: Object pixel, metres.
        fast: Coordinate that changes from one pattern to the next.

    Raises:
        InputError: Where file and options leave something open; names the option that supplies it.
    """
    if config.positions_file:
        return read_positions(Path(config.positions_file), config, pixel_m, crop.table_scale)
    source = crop.source
    if len(raster) != 2:
        actual = f"{raster[0]} patterns without positions" if raster else "one pattern"
        raise InputError(source, "positions", actual, "a raster, or --positions-file")
    if math.prod(raster) > MAX_PATTERNS:
        raise InputError(source, "positions", f"a raster of {raster[0]} x {raster[1]}", f"at most {MAX_PATTERNS:g}")
    step = (config.scan_step_m,) * 2 if config.scan_step_m is not None else step_m
    if step is None or not all(math.isfinite(s) and s > 0 for s in step):
        raise InputError(source, "scan step", "none" if step is None else str(step), "a value, or --scan-step-m")
    if pixel_m is None:
        expected = "--energy-eV with --detector-distance-m and --detector-pixel-m, or --pixel-size-m"
        raise InputError(source, "object pixel", "too few numbers for it", expected)
    y, x = np.meshgrid(*(np.arange(n, dtype=np.float64) for n in raster), indexing="ij")
    y, x = (y, x) if fast == "x" else (y.T, x.T)
    return np.stack([y.ravel() * step[0], x.ravel() * step[1]], axis=1) / pixel_m
