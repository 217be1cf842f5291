"""Write flat NPZ files by the names of the PtychoPINN family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ptypinn.data.formats.foreign import optics_record
from ptypinn.data.npz_writer import write_npz
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData

NUMBERS = {
    "energy_eV": "photon_energy_eV",
    "detector_distance_m": "detector_distance_m",
    "detector_pixel_m": "detector_pixel_size_m",
    "pixel_size_m": "pixel_size_m",
}
"""Names in the file by those of the fields."""


def write_flat_npz(scan: ScanData, path: Path) -> None:
    """Write a scan; lazy counts are streamed."""
    arrays: dict[str, Any] = {"domain": "counts", **_places(scan.positions_px, scan.size)}
    if scan.probe is not None:
        arrays |= {"probeGuess": scan.probe, "probe_gauge": scan.probe_gauge}
    if scan.truth is not None:
        arrays["objectGuess"] = scan.truth
    if not scan.good.all():
        arrays["bad_pixels"] = ~scan.good
    arrays |= {name: value for field, name in NUMBERS.items() if (value := getattr(scan, field)) is not None}
    write_npz(path, arrays, ("diffraction", scan))


def write_flat_npz_reconstruction(recon: Reconstruction, path: Path) -> None:
    """Write object, probe and positions of a reconstruction."""
    known = {**optics_record(recon), "pixel_size_m": recon.pixel_size_m}
    arrays: dict[str, Any] = {
        "objectGuess": recon.object,
        "probeGuess": recon.probe,
        "probe_gauge": "calibrated",
        **_places(recon.positions_px, recon.probe.shape[-1]),
        **{name: value for field, name in NUMBERS.items() if (value := known.get(field)) is not None},
    }
    write_npz(path, arrays)


def _places(positions_px: Any, size: int) -> dict[str, Any]:
    """Positions of the probe's pixel (0, 0) to the bit, and those of its pixel N//2 as the family has them."""
    y, x = (positions_px + size // 2).T
    return {"positions_px": positions_px, "xcoords": x, "ycoords": y}
