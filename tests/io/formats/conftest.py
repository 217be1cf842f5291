"""Small scans and reconstructions that every format can hold, and what counts as the same."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.physics.optics import compute_wavelength

OPTICS = {"energy_eV": 8765.4321, "detector_distance_m": 2.0 / 3, "detector_pixel_m": 7.5e-5}


def waves(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)


def _make_scan(
    n: int = 5, size: int = 8, dtype: str = "uint16", modes: int = 2, seed: int = 0, **changes: Any
) -> ScanData:
    rng = np.random.default_rng(seed)
    pixel = (
        compute_wavelength(OPTICS["energy_eV"]) * OPTICS["detector_distance_m"] / (size * OPTICS["detector_pixel_m"])
    )
    fields: dict[str, Any] = {
        "counts": (rng.random((n, size, size)) * 60000).astype(dtype),
        "positions_px": rng.uniform(0, 9, (n, 2)),
        "probe": waves(rng, (modes, size, size)),
        "mask": rng.random((size, size)) > 0.1,
        "pixel_size_m": pixel,
        "probe_gauge": "calibrated",
        "truth": waves(rng, (size + 12, size + 11)),
        "provenance": {"seed": seed},
        **OPTICS,
    }
    return ScanData(**{**fields, **changes})


@pytest.fixture(scope="session")
def make_scan() -> Callable[..., ScanData]:
    """Build a far-field scan of random numbers with every optional field set; keywords replace fields."""
    return _make_scan


@pytest.fixture(scope="session")
def make_recon() -> Callable[..., Reconstruction]:
    """Build a reconstruction of random numbers; keywords replace fields."""

    def make(n: int = 5, size: int = 8, modes: int = 2, seed: int = 0, **changes: Any) -> Reconstruction:
        rng = np.random.default_rng(seed)
        fields: dict[str, Any] = {
            "object": waves(rng, (size + 12, size + 9)),
            "illumination": rng.random((size + 12, size + 9)).astype(np.float32),
            "probe": waves(rng, (modes, size, size)),
            "positions_px": rng.uniform(0, 8, (n, 2)),
            "pixel_size_m": 3.1e-8,
            "history": {"loss": [3.0, 1 / 7]},
            "provenance": {"optics": OPTICS},
        }
        return Reconstruction(**{**fields, **changes})

    return make


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def by_hand() -> ModuleType:
    """Writers of foreign files that know nothing of ptypinn."""
    return _load("by_hand")
