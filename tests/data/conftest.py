"""Small scans for the tests of files, and the way to real data."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

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
        folder = Path(os.environ.get("PTYPINN_TEST_DATA", Path(__file__).parents[2] / "../shared/data"))
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
