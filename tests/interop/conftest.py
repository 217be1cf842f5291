"""One small scan in our own container; its object has no symmetry, so that a turned or conjugated one is far off."""

from __future__ import annotations

import importlib.util
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from ptypinn.data.scan import ScanData

PEERS = ("cdtools-py", "ptychi", "ptychodus", "ptylab")


def pytest_report_header(config: pytest.Config) -> str:
    """Versions of the other programs, where they are installed."""
    found = {}
    for name in PEERS:
        try:
            found[name] = version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return "peers: " + ", ".join(f"{name} {release}" for name, release in found.items())


@pytest.fixture(scope="session")
def by_hand() -> ModuleType:
    """Writers of foreign files that know nothing of ptypinn."""
    path = Path(__file__).parents[1] / "data" / "formats" / "by_hand.py"
    spec = importlib.util.spec_from_file_location("by_hand", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def scan(by_hand: ModuleType) -> ScanData:
    """The scene as a scan with one probe mode; the bad pixel reads 0, as detectors have it."""
    scene = by_hand.Scene()
    counts = scene.predict(scene.object, scene.probe[:1], scene.corners).astype(np.float32)
    counts[:, scene.bad] = 0
    return ScanData(
        counts=counts,
        positions_px=scene.corners,
        probe=scene.probe[:1],
        probe_gauge="calibrated",
        truth=scene.object,
        mask=~scene.bad,
        pixel_size_m=by_hand.PIXEL_M,
        energy_eV=by_hand.ENERGY_EV,
        detector_distance_m=by_hand.DISTANCE_M,
        detector_pixel_m=by_hand.DETECTOR_PIXEL_M,
    )
