"""One small scan in our own container; its object has no symmetry, so that a turned or conjugated one is far off."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import by_hand
import numpy as np
import pytest

from ptypinn.data.scan import ScanData

PEERS = ("cdtools-py", "ptychi", "ptychodus", "ptylab")


def pytest_report_header(config: pytest.Config) -> str:
    """Versions of the other programs, where they are installed."""
    result = {}
    for name in PEERS:
        try:
            result[name] = version(name)
        except PackageNotFoundError:
            result[name] = "not installed"
    return "peers: " + ", ".join(f"{name} {release}" for name, release in result.items())


@pytest.fixture(scope="session")
def scan() -> ScanData:
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
