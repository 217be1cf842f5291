"""Small scans for the solver's laws."""

import numpy as np
import pytest
import torch

from ptypinn.data.scan import ScanData
from ptypinn.physics.forward import FAR_FIELD
from ptypinn.physics.patches import split_positions


def curved_probe(size=32, radius=8.0, photons=1e6, modes=1):
    """Soft disk with a quadratic phase; further modes are its slopes with a tenth of the power each."""
    axis = np.arange(size) - (size - 1) / 2
    r2 = axis[:, None] ** 2 + axis**2
    first = np.exp(-((r2 / radius**2) ** 3) + 2.5j * r2 / radius**2)
    probe = np.stack([first, *(first * axis[:, None] / radius * 0.5 ** (m + 1) for m in range(modes - 1))])
    return (probe * np.sqrt(photons / np.sum(np.abs(probe) ** 2))).astype(np.complex64)


def textured_object(extent=(72, 76), seed=0, phase=1.0):
    """Smooth random amplitude and phase."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.fft2(rng.normal(size=(2, *extent)))
    k = np.hypot(np.fft.fftfreq(extent[0])[:, None], np.fft.fftfreq(extent[1]))
    a, p = np.fft.ifft2(spectrum * np.exp(-((k / 0.12) ** 2))).real
    return ((0.8 + 0.5 * a / np.ptp(a)) * np.exp(1j * phase * p / np.ptp(p))).astype(np.complex64)


def make_scan(obj, probe, positions, seed=None):
    """Counts of an object; noise-free without a seed."""
    corners, fractions = split_positions(torch.from_numpy(positions))
    rest = fractions if fractions.any() else None
    expected = FAR_FIELD.predict_scan(torch.from_numpy(obj)[None], torch.from_numpy(probe), corners, rest).numpy()
    counts = expected if seed is None else np.random.default_rng(seed).poisson(expected).astype(np.float32)
    centred = np.fft.fftshift(counts, axes=(1, 2))
    return ScanData(centred, positions, probe, probe_gauge="calibrated", truth=obj)


def raster(extent, size, step, seed=0, integer=True):
    """Jittered raster over the whole canvas."""
    rng = np.random.default_rng(seed)
    axes = [np.linspace(0, edge - size, round((edge - size) / step) + 1) for edge in extent]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
    places = np.clip(grid + rng.uniform(-1, 1, grid.shape), 0, np.array(extent) - size)
    return np.round(places) if integer else places


@pytest.fixture(scope="session")
def small_scan():
    """Noisy scan with a known probe and integer positions."""
    obj, probe = textured_object(), curved_probe()
    return make_scan(obj, probe, raster(obj.shape, 32, 5), seed=1)
