"""Near-field scans as a detector behind a focus records them, with their truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from ptypinn import SimulateConfig, simulate
from ptypinn.data.near_field import Projection
from ptypinn.data.scan import ScanData
from ptypinn.physics.forward import forward_model
from ptypinn.physics.optics import compute_wavelength
from ptypinn.physics.patches import split_positions
from ptypinn.physics.propagation import to_centred

SIZE, ENERGY_EV, DISTANCE_M, DETECTOR_PIXEL_M, FOCUS_M = 64, 12400.0, 1.0, 55e-6, 4e-3
PROJECTION = Projection(FOCUS_M, DISTANCE_M, DETECTOR_PIXEL_M, compute_wavelength(ENERGY_EV))


@dataclass(frozen=True)
class NearFieldScan:
    """A scan as its file has it, and what it was made of."""

    scan: ScanData
    object: np.ndarray
    positions_px: np.ndarray
    """On the pixels of the shadow."""

    def error(self, recon):
        """Complex error of a reconstruction after one factor, where it is well illuminated, and the factor."""
        y, x = (int(n) for n in recon.origin_px)
        height, width = recon.object.shape
        truth = np.pad(self.object, SIZE, constant_values=1)[SIZE + y :, SIZE + x :][:height, :width]
        light = recon.illumination > 0.3 * np.percentile(recon.illumination, 95)
        found, true = recon.object[light], truth[light]
        factor = np.vdot(found, true) / np.vdot(found, found).real
        return float(np.linalg.norm(factor * found - true) / np.linalg.norm(true)), abs(factor)


def make_near_field_scan(photons=1e6, patterns=90, seed=0, noisy=True):
    """A curved beam with speckles from a diffuser; positions are given on the pixels that a far field would have."""
    rng = np.random.default_rng(seed)
    image = simulate(SimulateConfig(size=32, object_size=(118, 118), n_patterns=10, seed=seed)).truth
    axis = np.arange(SIZE) - SIZE / 2
    disk = 1 / (1 + np.exp(np.hypot(axis[:, None], axis) - 17))
    phase = 2.5 * ndimage.gaussian_filter(rng.normal(size=(SIZE, SIZE)), 2) * 2
    probe = disk * np.exp(1j * phase)
    probe *= np.sqrt(photons / np.sum(np.abs(probe) ** 2))
    positions = rng.uniform(0, 118 - SIZE, (patterns, 2))
    corners, fractions = split_positions(torch.from_numpy(positions))
    model = forward_model(SIZE, PROJECTION.fresnel_number)
    modes = torch.from_numpy(probe.astype(np.complex64))[None]
    counts = to_centred(model.predict_scan(torch.from_numpy(image)[None], modes, corners, fractions.float())).numpy()
    far_pixel = PROJECTION.wavelength_m * DISTANCE_M / (SIZE * DETECTOR_PIXEL_M)
    scan = ScanData(
        counts=rng.poisson(counts).astype(np.uint32) if noisy else counts,
        positions_px=positions * (PROJECTION.pixel_size_m / far_pixel),
        pixel_size_m=far_pixel,
        energy_eV=ENERGY_EV,
        detector_distance_m=DISTANCE_M,
        detector_pixel_m=DETECTOR_PIXEL_M,
    )
    return NearFieldScan(scan, image, positions)
