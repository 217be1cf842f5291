"""Small scans for the tests of files, and the way to real data."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ptypinn.cli.main import main
from ptypinn.data.scan import ScanData


def random_complex(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)


def _make_scan(
    n: int = 5, size: int = 8, dtype: str = "uint16", modes: int = 2, seed: int = 0, **changes: Any
) -> ScanData:
    rng = np.random.default_rng(seed)
    fields: dict[str, Any] = {
        "counts": (rng.random((n, size, size)) * 60000).astype(dtype),
        "positions_px": rng.uniform(0, 9, (n, 2)),
        "probe": random_complex(rng, (modes, size, size)),
        "mask": rng.random((size, size)) > 0.1,
        "pixel_size_m": 3.1e-8,
        "energy_eV": 8765.4321,
        "detector_distance_m": 2.0 / 3,
        "detector_pixel_m": 7.5e-5,
        "probe_gauge": "calibrated",
        "truth": random_complex(rng, (size + 12, size + 11)),
        "provenance": {"seed": seed, "nested": {"list": [1, 2.5, None]}},
    }
    return ScanData(**{**fields, **changes})


@pytest.fixture(scope="session")
def make_scan() -> Callable[..., ScanData]:
    """Build a scan of random numbers with every optional field set; keywords replace fields."""
    return _make_scan


@pytest.fixture(scope="session")
def real_file() -> Callable[[str], Path]:
    """Path of a file in the shared data folder beside the checkout; skips the test where it is absent."""

    def find(name: str) -> Path:
        folder = Path(os.environ.get("PTYPINN_TEST_DATA", Path(__file__).parents[1] / "../shared/data"))
        if not (folder / name).exists():
            pytest.skip(f"real data not found: {name}")
        return folder / name

    return find


@pytest.fixture(scope="session")
def star(real_file: Callable[[str], Path]) -> Path:
    """Real far-field scan: Siemens star, NPZ."""
    return real_file("siemens_star_velociprobe/siemens_star.npz")


@pytest.fixture(scope="session")
def petra(real_file: Callable[[str], Path]) -> Path:
    """Real near-field (projection) scan: PETRA III P25, CXI."""
    return real_file("petra3_p25_nearfield/PETRAIII_P25_Near_Field_Ptycho.cxi")


@dataclass(frozen=True)
class Experiment:
    """A raster scan by the definition of the forward model, in plain NumPy, for files that tests write by hand.

    Whole-pixel positions, so that nothing but slices and one transform stands between object and counts."""

    object: np.ndarray
    probe: np.ndarray
    positions_px: np.ndarray
    counts: np.ndarray
    raster: tuple[int, int]
    step_px: int

    @property
    def size(self) -> int:
        return self.probe.shape[-1]

    def explains(self, scan, tolerance=1e-5) -> bool:
        """Whether the counts of a scan follow from the object at its positions, up to their common offset."""
        offset = (self.positions_px - np.asarray(scan.positions_px))[0]
        corners = np.rint(np.asarray(scan.positions_px) + offset).astype(int)
        if (corners < 0).any() or (corners + self.size > self.object.shape).any():
            return False
        expected = np.array([diffract(self.object, self.probe, corner) for corner in corners])
        return np.allclose(scan.counts[:], expected, rtol=tolerance, atol=tolerance * expected.max())


def diffract(image, probe, corner):
    size, (y, x) = probe.shape[-1], corner
    wave = np.fft.fft2(probe * image[y : y + size, x : x + size], norm="ortho")
    return np.fft.fftshift(np.abs(wave) ** 2)


def make_experiment() -> Experiment:
    """Three rows of four positions; object and probe without any symmetry, so that no flip goes unseen."""
    rng = np.random.default_rng(7)
    size, step, raster = 16, 3, (3, 4)
    image = np.exp(1j * rng.normal(size=(size + 3 * step, size + 4 * step)))
    y, x = np.mgrid[:size, :size] - size / 2
    probe = 50 * np.exp(-((y / 3) ** 2) - (x / 4) ** 2 + 1j * (0.1 * y * x + 0.2 * y + 0.05 * x**2))
    rows, columns = np.meshgrid(*(np.arange(n) * step for n in raster), indexing="ij")
    positions = np.stack([rows.ravel(), columns.ravel()], 1)
    counts = np.array([diffract(image, probe, corner) for corner in positions])
    return Experiment(image, probe, positions.astype(float), counts, raster, step)


@pytest.fixture(scope="session")
def experiment() -> Experiment:
    """Return the experiment of `make_experiment`."""
    return make_experiment()


@pytest.fixture
def refused(capsys) -> Callable[..., str]:
    """Run `ptypinn info` on a file, and see that it ends in one line and exit code 1; the line is returned."""

    def run(path: Path, *options: str) -> str:
        code = main(["info", str(path), *options])
        out, err = capsys.readouterr()
        assert (code, out) == (1, "")
        assert err.startswith("ptypinn: error: ")
        assert err.count("\n") == 1
        return err

    return run
