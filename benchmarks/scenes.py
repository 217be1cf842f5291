"""Fixed scans for the benchmarks: a dense and a slowly varying object, one curved disk probe, integer positions.

Every scan has 512 patterns of 64 x 64 pixels on a 256 x 256 object. Scans are a pure function of their name and dose.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from skimage.draw import line_aa

from ptypinn.data.scan import ScanData
from ptypinn.physics.forward import expected_counts
from ptypinn.physics.propagate import to_centred

EXTENT = 256
PROBE_RADIUS = 14.0
GRID = 23


def make_scene(name: str, photons: float, size: int = 64, n_patterns: int = 512, seed: int = 0) -> ScanData:
    """Simulate one benchmark scan with Poisson noise.

    Args:
        name: Key of `OBJECTS`: `lines` (dense) or `field` (slowly varying).
        photons: Photons per pattern through vacuum; infinity gives expected counts of 1e6 photons without noise.
        size: Edge of a pattern, pixels; the probe and the object grow with it.
        n_patterns: Patterns kept of a jittered raster with about 69 % overlap (step over probe diameter).
        seed: Seed of object, positions and noise.

    Returns:
        The scan with its true object and its true, calibrated probe.
    """
    rng = np.random.default_rng(seed)
    extent = EXTENT * size // 64
    truth = OBJECTS[name](rng, extent).astype(np.complex64)
    noisy = np.isfinite(photons)
    probe = curved_disk(size, PROBE_RADIUS * size / 64, photons if noisy else 1e6)[None]
    corners = jittered_raster(rng, extent - size, n_patterns)
    counts = to_centred(
        expected_counts(torch.from_numpy(truth)[None], torch.from_numpy(probe), torch.from_numpy(corners)[None])
    ).numpy()
    if noisy:
        counts = rng.poisson(counts.astype(np.float64)).astype(np.float32)
    return ScanData(
        counts=counts,
        positions_px=corners.astype(np.float64),
        probe=probe,
        probe_gauge="calibrated",
        truth=truth,
        provenance={"file": f"{name} at {photons:.0e} photons"},
    )


def curved_disk(size: int, radius: float, photons: float) -> np.ndarray:
    """Soft disk with a quadratic phase of 3 rad at its rim, (size, size) complex64, sqrt(photons)."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    r = np.hypot(y, x)
    probe = np.exp(3j * (r / radius) ** 2) / (1 + np.exp((r - radius) / 1.5))
    return (probe * np.sqrt(photons / np.sum(np.abs(probe) ** 2))).astype(np.complex64)


def jittered_raster(rng: np.random.Generator, span: int, n_patterns: int) -> np.ndarray:
    """Integer corners (y, x) in [0, span], (n_patterns, 2): a square raster jittered by up to a quarter step."""
    side = int(np.ceil(np.sqrt(n_patterns)))
    step = span / (side - 1)
    grid = np.stack(np.meshgrid(*2 * [np.arange(side) * step], indexing="ij"), -1).reshape(-1, 2)
    corners = np.clip(np.rint(grid + rng.uniform(-step / 4, step / 4, grid.shape)), 0, span).astype(np.int64)
    keep = np.sort(rng.choice(len(corners), n_patterns, replace=False))
    return corners[keep]


def dense_lines(rng: np.random.Generator, extent: int) -> np.ndarray:
    """Overlapping smoothed lines: amplitude about 0.65 to 1, phase to about 0.3 rad, detail at every scale."""
    thickness = np.zeros((extent, extent))
    for _ in range(400 * extent // EXTENT):
        rows, columns, value = line_aa(*rng.integers(0, extent, 4))
        thickness[rows, columns] += value * rng.uniform(0.5, 1.5)
    thickness = gaussian_filter(thickness, 1.0)
    thickness /= np.percentile(thickness, 99)
    return np.exp((-0.4 + 0.3j) * thickness)


def random_field(rng: np.random.Generator, extent: int) -> np.ndarray:
    """Gaussian random field with spectral amplitude k^-2: phase over 1.2 rad, mostly slower than the probe."""
    frequency = np.hypot(np.fft.fftfreq(extent)[:, None], np.fft.fftfreq(extent))
    frequency[0, 0] = np.inf
    field = np.fft.ifft2(np.fft.fft2(rng.normal(size=(extent, extent))) * frequency**-2.0).real
    field = (field - field.min()) / np.ptp(field)
    return np.exp((-0.5 + 1.2j) * field)


OBJECTS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {"lines": dense_lines, "field": random_field}
