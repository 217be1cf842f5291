"""A scan of columns of atoms by electrons, thick enough that they are scattered several times over."""

from __future__ import annotations

import numpy as np
import torch

import ptypinn as pp
from ptypinn.data.depth import compute_gaps
from ptypinn.physics.forward import forward_model
from ptypinn.physics.lens import Lens, lens_probe
from ptypinn.physics.optics import compute_wavelength
from ptypinn.physics.patches import split_positions
from ptypinn.physics.propagation import to_centred

ENERGY_EV, PIXEL_M, SIZE, STEP_PX, LATTICE_PX = 200e3, 0.36e-10, 32, 1.2, 11
WAVELENGTH_M = compute_wavelength(ENERGY_EV, "electron")
SLICES, SPACING_M, FOCUS_M, SEMI_ANGLE_RAD = 6, 1.5e-9, -6e-9, 20e-3


PEAKS = 0.6, 0.3
"""Phases of the columns in a slice, radians."""


def draw_columns(shape: tuple[int, int], origin: tuple[int, int] = (0, 0)) -> np.ndarray:
    """Phase of a slice: heavy columns on a square lattice, lighter ones in the middle of its cells."""
    y, x = (axis + start for axis, start in zip(np.indices(shape), origin, strict=True))
    phase = np.zeros(shape)
    for offset, peak in zip((0.0, LATTICE_PX / 2), PEAKS, strict=True):
        dy, dx = ((axis - offset + LATTICE_PX / 2) % LATTICE_PX - LATTICE_PX / 2 for axis in (y, x))
        phase += peak * np.exp(-(dy**2 + dx**2) / (2 * 1.0**2))
    return phase


def make_crystal_scan(
    *,
    focus_m: float | None = FOCUS_M,
    electrons: float = 2e4,
    steps: int = 11,
    tilt_mrad: tuple[float, float] = (0.0, 0.0),
) -> pp.ScanData:
    """Simulate the scan; its probe is that of a lens with another focus, or missing where that is None."""
    rows, columns = np.indices((steps, steps))
    positions = np.stack([rows.ravel(), columns.ravel()], 1) * STEP_PX
    extent = SIZE + int(np.ceil(positions.max())) + 1
    phase = draw_columns((extent, extent))
    lens = Lens(SEMI_ANGLE_RAD, FOCUS_M)
    probe = lens_probe(SIZE, lens, PIXEL_M, WAVELENGTH_M, electrons)
    corners, fractions = split_positions(torch.from_numpy(positions))
    number = PIXEL_M**2 / (WAVELENGTH_M * SPACING_M)
    tilt = np.sin(1e-3 * np.array(tilt_mrad)) * PIXEL_M / WAVELENGTH_M
    model = forward_model(SIZE, None, [number] * (SLICES - 1), tilt.tolist())
    stack = torch.polar(torch.ones(SLICES, extent, extent), torch.from_numpy(phase).float().expand(SLICES, -1, -1))
    means = to_centred(model.predict_scan(stack, probe, corners, fractions.float())).double().numpy()
    counts = np.random.default_rng(7).poisson(means).astype(np.uint16)
    guess = None
    if focus_m is not None:
        guess = lens_probe(SIZE, Lens(SEMI_ANGLE_RAD, focus_m), PIXEL_M, WAVELENGTH_M, electrons).numpy()
    return pp.ScanData(
        counts=counts,
        positions_px=positions,
        pixel_size_m=PIXEL_M,
        energy_eV=ENERGY_EV,
        particle="electron",
        probe=guess,
        probe_gauge="relative" if guess is None else "calibrated",
        provenance={"file": "crystal"},
    )


def thickness_gaps(scan: pp.ScanData) -> np.ndarray:
    """Return the Fresnel numbers of the gaps between the true slices."""
    return compute_gaps(scan, [SPACING_M] * (SLICES - 1))
