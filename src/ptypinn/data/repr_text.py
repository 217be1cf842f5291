"""One-line descriptions of scans and reconstructions, without reading their arrays."""

from __future__ import annotations

import math
from pathlib import PurePath
from typing import TYPE_CHECKING, TypeGuard

import numpy as np

from ptypinn.utils.number_format import format_length, format_number

if TYPE_CHECKING:
    from ptypinn.data.reconstruction import Reconstruction
    from ptypinn.data.scan import ScanData

HEADLINES = ("output_vs_truth_ratio", "residual_over_noise", "flux_closure")
"""Metrics of a line: the first two that are available."""


def describe_scan(scan: ScanData) -> str:
    """Describe a scan in one line."""
    parts = [describe_patterns(scan), describe_pixel(scan.pixel_size_m), describe_energy(scan), describe_probe(scan)]
    return f"<ScanData {', '.join(part for part in (*parts, file_name(scan)) if part)}>"


def describe_reconstruction(recon: Reconstruction) -> str:
    """Describe a reconstruction in one line."""
    parts = [f"object {describe_size(recon.object)}", describe_pixel(recon.pixel_size_m), describe_modes(recon.probe)]
    parts.append(f"{len(recon.positions_px)} positions")
    return f"<Reconstruction {', '.join([*parts, *(' '.join(pair) for pair in select_headlines(recon))])}>"


def describe_patterns(scan: ScanData) -> str:
    """Describe number, size, type and storage of the patterns."""
    place = "" if isinstance(scan.counts, np.ndarray) else " on disk"
    return f"{scan.n_patterns} patterns of {scan.size} x {scan.size} {scan.counts.dtype}{place}"


def describe_pixel(pixel_size_m: float | None) -> str:
    """Describe the object pixel.

    >>> describe_pixel(3.1e-8)
    'pixels of 31 nm'
    """
    return "pixel size not known" if pixel_size_m is None else f"pixels of {format_length(pixel_size_m, 4)}"


def describe_energy(scan: ScanData) -> str:
    """Describe the energy of the photons or electrons; empty where it is unknown."""
    return "" if scan.energy_eV is None else f"{scan.energy_eV / 1e3:.6g} keV {scan.particle}s"


def describe_probe(scan: ScanData) -> str:
    """Describe modes and gauge of the probe."""
    return "no probe" if scan.probe is None else f"{describe_modes(scan.probe)} ({scan.probe_gauge})"


def describe_modes(probe: np.ndarray) -> str:
    """Describe the number of modes of a probe.

    >>> describe_modes(np.ones((3, 8, 8)))
    '3 probe modes'
    """
    return f"{len(probe)} probe mode{'s' * (len(probe) != 1)}"


def describe_size(image: np.ndarray) -> str:
    """Describe height and width of an image."""
    return f"{image.shape[0]} x {image.shape[1]}"


def file_name(scan: ScanData) -> str:
    """Return the name of the file that a scan was read from; empty for a scan from memory."""
    return PurePath(str(scan.provenance.get("file", ""))).name


def select_headlines(recon: Reconstruction) -> list[tuple[str, str]]:
    """Return up to two metrics by their public names, formatted."""
    candidates = [(name, recon.metrics.get(name)) for name in HEADLINES]
    return [(name, format_number(float(value), 4)) for name, value in candidates if _is_number(value)][:2]


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and math.isfinite(value)
