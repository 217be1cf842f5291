"""Scans for the benchmarks, outside the training data of the shipped weights; each is a pure function of its `Scene`.

`lines` and `field` have textures and a probe (a disk with a soft logistic edge and a quadratic phase) that
pre-training never draws. The other objects are of kinds that it draws, but with other seeds (its seeds come from
`default_rng((seed, 0, i))`, here they are small numbers), of photographs that it excludes, with a zone plate whose
parameters are fixed here, on canvases of 256 or 512 pixels, where pre-training has 128 to 160.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from skimage.draw import line_aa

from ptypinn.config.simulate import SimulateConfig
from ptypinn.data.scan import ScanData
from ptypinn.data.simulation import draw_probe
from ptypinn.physics.forward import FAR_FIELD
from ptypinn.physics.optics import probe_photons
from ptypinn.physics.propagation import to_centred
from ptypinn.stages.simulate import simulate

EXTENT = 256
PROBE_RADIUS = 14.0
CURVATURE_RAD = 3.0
"""Quadratic phase at the rim of the curved disk."""
GUESS_WIDTH, GUESS_DEFOCUS = 1.2, 0.8
"""Poor guess of a probe: relative width, and fraction of the defocus."""
FIRST_SEED = 9000
"""Seed of simulated scans: this plus the seed of the scene."""


@dataclass(frozen=True)
class Scene:
    """Parameters of one scan; `scan()` simulates it."""

    name: str
    """Key of `OBJECTS` or of `SAMPLES`, `field512`, or `structured`: photographs, dead leaves and a test pattern."""
    photons: float
    """Photons per pattern through vacuum."""
    seed: int = 0
    """Seed of object, positions and noise."""
    overlap: float | None = None
    """Step over probe diameter, from 1; None for 0.69 (`OBJECTS`) or 0.65."""
    guess: bool = False
    """Start the solver from a probe 20 % too wide, at the true photons: the disk with a defocus 20 % too small, the
    zone plate's, whose probe widens with its defocus, with one 20 % too large."""

    @property
    def key(self) -> str:
        """Return a name for files and caches."""
        overlap = "" if self.overlap is None else f" overlap {self.overlap:.2f}"
        return f"{self.name} {self.photons:.0e} seed {self.seed}{overlap}{' guess' if self.guess else ''}"

    def true_scan(self) -> ScanData:
        """Return the scan with its true probe."""
        if self.name in CURVED_DISK:
            kind, extent = CURVED_DISK[self.name]
            return make_scene(kind, self.photons, seed=self.seed, extent=extent, overlap=self.overlap)
        return simulate(self._simulated())

    def scan(self) -> ScanData:
        """Return the scan with the initial probe of the solver."""
        scan = self.true_scan()
        return scan.replace(probe=self._guess(scan.size)) if self.guess else scan

    def _simulated(self) -> SimulateConfig:
        name, parameters = STRUCTURED[self.seed % len(STRUCTURED)] if self.name == "structured" else SAMPLES[self.name]
        overlap = 0.65 if self.overlap is None else self.overlap
        seed = FIRST_SEED + self.seed
        return SimulateConfig(object=name, photons=self.photons, overlap=overlap, seed=seed, **(COMMON | parameters))

    def _guess(self, size: int) -> np.ndarray:
        if self.name in CURVED_DISK:
            radius, curvature = PROBE_RADIUS * size / 64, CURVATURE_RAD * GUESS_DEFOCUS
            return curved_disk(size, radius * GUESS_WIDTH, self.photons, curvature)[None]
        true = self._simulated()
        probe = draw_probe(replace(true, defocus_waves=true.defocus_waves * GUESS_WIDTH))
        return (probe * torch.sqrt(self.photons / probe_photons(probe)).float()).numpy()


def make_scene(
    name: str,
    photons: float,
    size: int = 64,
    n_patterns: int = 512,
    seed: int = 0,
    extent: int | None = None,
    overlap: float | None = None,
) -> ScanData:
    """Simulate one scan with the curved disk, integer positions and Poisson noise.

    Args:
        name: Key of `OBJECTS`: `lines` (dense) or `field` (slowly varying).
        photons: Photons per pattern through vacuum; infinity gives expected counts of 1e6 photons without noise.
        size: Edge of a pattern, pixels; the probe and, without `extent`, the object grow with it.
        n_patterns: Patterns of a jittered raster with about 69 % overlap (step over probe diameter).
        seed: Seed of object, positions and noise.
        extent: Edge of the object, pixels; default: 256 for patterns of 64.
        overlap: Overlap of a complete raster, instead of `n_patterns`; default: 0.69 for another `extent` than the
            default one.

    Returns:
        The scan with its true object and its true, calibrated probe.
    """
    rng = np.random.default_rng(seed)
    default = EXTENT * size // 64
    extent, overlap = extent or default, 0.69 if overlap is None and extent not in (None, default) else overlap
    radius = PROBE_RADIUS * size / 64
    truth = OBJECTS[name](rng, extent).astype(np.complex64)
    noisy = np.isfinite(photons)
    probe = curved_disk(size, radius, photons if noisy else 1e6)[None]
    if overlap is not None:
        n_patterns = (round((extent - size) / ((1 - overlap) * 2 * radius)) + 1) ** 2
    corners = jittered_raster(rng, extent - size, n_patterns)
    counts = to_centred(
        FAR_FIELD.predict_scan(torch.from_numpy(truth)[None], torch.from_numpy(probe), torch.from_numpy(corners)[None])
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


def curved_disk(size: int, radius: float, photons: float, curvature: float = CURVATURE_RAD) -> np.ndarray:
    """Return a soft disk, phase `curvature` rad at its rim (quadratic), (size, size) complex64, sqrt(photons)."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    r = np.hypot(y, x)
    probe = np.exp(1j * curvature * (r / radius) ** 2) / (1 + np.exp((r - radius) / 1.5))
    return (probe * np.sqrt(photons / np.sum(np.abs(probe) ** 2))).astype(np.complex64)


def jittered_raster(rng: np.random.Generator, span: int, n_patterns: int) -> np.ndarray:
    """Return integer corners (y, x) in [0, span], (n_patterns, 2): a square raster jittered by up to a quarter step."""
    side = int(np.ceil(np.sqrt(n_patterns)))
    step = span / (side - 1)
    grid = np.stack(np.meshgrid(*2 * [np.arange(side) * step], indexing="ij"), -1).reshape(-1, 2)
    corners = np.clip(np.rint(grid + rng.uniform(-step / 4, step / 4, grid.shape)), 0, span).astype(np.int64)
    chosen = np.sort(rng.choice(len(corners), n_patterns, replace=False))
    return corners[chosen]


def dense_lines(rng: np.random.Generator, extent: int) -> np.ndarray:
    """Draw overlapping smoothed lines: amplitude about 0.65 to 1, phase to about 0.3 rad, detail at every scale."""
    thickness = np.zeros((extent, extent))
    for _ in range(400 * extent // EXTENT):
        rows, columns, value = line_aa(*rng.integers(0, extent, 4))
        thickness[rows, columns] += value * rng.uniform(0.5, 1.5)
    thickness = gaussian_filter(thickness, 1.0)
    thickness /= np.percentile(thickness, 99)
    return np.exp((-0.4 + 0.3j) * thickness)


def random_field(rng: np.random.Generator, extent: int) -> np.ndarray:
    """Draw a Gaussian random field with spectral amplitude k^-2: phase over 1.2 rad, mostly slower than the probe."""
    frequency = np.hypot(np.fft.fftfreq(extent)[:, None], np.fft.fftfreq(extent))
    frequency[0, 0] = np.inf
    field = np.fft.ifft2(np.fft.fft2(rng.normal(size=(extent, extent))) * frequency**-2.0).real
    field = (field - field.min()) / np.ptp(field)
    return np.exp((-0.5 + 1.2j) * field)


OBJECTS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {"lines": dense_lines, "field": random_field}
CURVED_DISK: dict[str, tuple[str, int | None]] = {
    "lines": ("lines", None),
    "field": ("field", None),
    "field512": ("field", 512),
}
"""Scenes of the curved disk: key of `OBJECTS`, edge of the object."""
COMMON: dict[str, Any] = {"amplitude_range": (1.0, 0.5), "phase_range": (0.0, 1.0), "probe": "zone_plate"}
SAMPLES: dict[str, tuple[Any, dict[str, Any]]] = {
    "camera": ("natural", {"image": "camera"}),
    "coins": ("natural", {"image": "coins"}),
    "chelsea": ("natural", {"image": "chelsea"}),
    "dead_leaves": ("dead_leaves", {}),
    "star": ("siemens", {}),
}
"""Simulated scenes: kind of sample, and parameters that differ from `COMMON`."""
STRUCTURED = [SAMPLES[name] for name in ("camera", "dead_leaves", "star", "coins", "dead_leaves", "chelsea")]
"""Samples of `structured` for the seeds 0, 1, 2, ..."""
SCENES = (*CURVED_DISK, *SAMPLES, "structured")
