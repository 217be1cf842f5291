"""Scans of patterns on a raster, as electron microscopes record them: positions, object pixel, probe."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64

from ptypinn.config.load import LoadConfig
from ptypinn.data.orientation import rotation_matrix
from ptypinn.data.scan import Counts, ScanData
from ptypinn.errors import InputError
from ptypinn.io.arrays import build_scan
from ptypinn.io.crop import Crop
from ptypinn.io.position_table import read_positions
from ptypinn.physics.optics import Particle, compute_wavelength

MAX_PATTERNS = 10**8
"""Maximum number of positions."""


@dataclass(frozen=True)
class Calibration:
    """Calibration of a raster of electron patterns in a file; None where it lacks a number."""

    energy_eV: float | None = None
    """Energy of the electrons, electron volts."""
    step_m: tuple[float, float] | None = None
    """Step of the raster (y, x), metres."""
    pixel_per_m: float | None = None
    """Detector pixel as spatial frequency, reciprocal metres."""
    pixel_rad: float | None = None
    """Detector pixel as angle, radians."""
    centre_px: tuple[int, int] | None = None
    """Row and column of the direct beam."""
    semiangle_px: float | None = None
    """Radius of the bright-field disk, detector pixels."""
    semiangle_rad: float | None = None
    """Semi-convergence angle, radians."""
    rotation_rad: float = 0.0
    """Rotation that takes detector coordinates to those of the raster, radians."""
    transposed: bool = False
    """True if rows and columns of the detector are exchanged besides."""


def build_raster_scan(
    config: LoadConfig,
    *,
    counts: Counts,
    crop: Crop,
    raster: tuple[int, ...],
    calibration: Calibration,
    provenance: dict[str, Any],
) -> ScanData:
    """Return the scan of a raster of electron patterns, or of a stack of them with `positions_file`.

    Args:
        config: Reading options, which come before the file.
        counts: Cropped patterns, (M, N, N).
        crop: Their crop.
        raster: Rows and columns of the raster; the number of patterns where the file states none.
        calibration: Calibration by the file.
        provenance: Records of the file.

    Raises:
        InputError: Where step, object pixel or electrons per detector unit stay open, naming the option for each.
    """
    _require_electrons(crop.source, counts, config)
    particle: Particle = "electron" if config.particle == "auto" else config.particle
    size, energy = counts.shape[-1], config.energy_eV or calibration.energy_eV
    pixel = angular_pixel(crop.source, config, size, energy, calibration.pixel_rad, particle)
    if pixel is None and calibration.pixel_per_m is not None:
        pixel = 1 / (size * calibration.pixel_per_m)
    positions = raster_positions(crop, config, raster, calibration.step_m, pixel)
    notes = {"rotation_rad": calibration.rotation_rad, "transposed": calibration.transposed, **crop.notes()}
    return build_scan(
        config,
        counts=counts,
        positions_px=positions if config.positions_file else _to_detector(positions, calibration),
        probe=_make_probe(size, calibration, _pixel_rad(calibration, energy, particle)),
        pixel_size_m=pixel,
        energy_eV=energy,
        particle=particle,
        provenance={**provenance, "raster": list(config.raster_shape or raster), **notes},
    )


def _require_electrons(source: str, counts: Counts, config: LoadConfig) -> None:
    """Raise `InputError` for floating-point values that may be electrons or units of the detector."""
    if counts.dtype.kind == "f" and config.detector_gain is None:
        actual = f"{counts.dtype}, which may be electrons or detector units"
        raise InputError(source, "counts", actual, "--detector-gain, detector units per electron (1 for electrons)")


def _to_detector(positions: np.ndarray, calibration: Calibration) -> np.ndarray:
    """Return positions (y, x) of the raster in the coordinates of the detector, whose axes may be turned against it."""
    turned = positions @ rotation_matrix(calibration.rotation_rad)
    return np.ascontiguousarray(turned[:, ::-1]) if calibration.transposed else turned


def _pixel_rad(calibration: Calibration, energy_eV: float | None, particle: Particle) -> float | None:
    if calibration.pixel_rad is not None or calibration.pixel_per_m is None or energy_eV is None:
        return calibration.pixel_rad
    return calibration.pixel_per_m * compute_wavelength(energy_eV, particle)


def _make_probe(size: int, calibration: Calibration, pixel_rad: float | None) -> np.ndarray | None:
    """Return the field of a round aperture in focus, where the file has its size."""
    radius = calibration.semiangle_px
    if calibration.semiangle_rad is not None and pixel_rad is not None:
        radius = calibration.semiangle_rad / pixel_rad
    if radius is None or not 1 <= radius <= size / 2:
        return None
    from ptypinn.physics.probes import ZonePlate, zone_plate_probe

    aperture = ZonePlate(pupil_radius=2 * radius / size, central_stop=0.0, defocus_waves=0.0, osa_radius=2.0)
    return zone_plate_probe(size, aperture).numpy()


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
        config: Reading options; `scan_step_m` and `raster_shape` replace the file's.
        raster: Rows and columns of the raster; the number of patterns where the file states none.
        step_m: Step (y, x) by the file, metres.
        pixel_m: Object pixel, metres.
        fast: Coordinate that changes from one pattern to the next.

    Raises:
        InputError: Where file and options leave something open; names the option that supplies it.
    """
    if config.positions_file:
        return read_positions(Path(config.positions_file), config, pixel_m, crop.table_scale)
    source, raster = crop.source, config.raster_shape or raster
    if len(raster) != 2:
        actual = f"{raster[0]} patterns without positions" if raster else "one pattern"
        raise InputError(source, "positions", actual, "a raster, --raster-shape, or --positions-file")
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
