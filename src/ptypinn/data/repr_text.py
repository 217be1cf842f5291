"""Scans and reconstructions in a line, from what is known about them without a look at their values."""

from __future__ import annotations

import math
from pathlib import PurePath
from typing import TypeGuard

import numpy as np

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.utils.number_format import format_number, format_length

HEADLINES = ("output_vs_truth_ratio", "residual_over_noise", "flux_closure")
"""Figures of merit that a line has room for: the first two that are known."""


def describe_scan(scan: ScanData) -> str:
    """One line on a scan."""
    parts = [describe_patterns(scan), describe_pixel(scan.pixel_size_m), describe_energy(scan), describe_probe(scan)]
    return f"<ScanData {', '.join(part for part in (*parts, name_of(scan)) if part)}>"


def describe_reconstruction(recon: Reconstruction) -> str:
    """One line on a reconstruction."""
    parts = [f"object {describe_size(recon.object)}", describe_pixel(recon.pixel_size_m), describe_modes(recon.probe)]
    parts.append(f"{len(recon.positions_px)} positions")
    return f"<Reconstruction {', '.join([*parts, *(' '.join(pair) for pair in headlines(recon))])}>"


def describe_patterns(scan: ScanData) -> str:
    """Number, size and type of the patterns, and whether they are on disk."""
    place = "" if isinstance(scan.counts, np.ndarray) else " on disk"
    return f"{scan.n_patterns} patterns of {scan.size} x {scan.size} {scan.counts.dtype}{place}"


def describe_pixel(pixel_size_m: float | None) -> str:
    """The object pixel, or that nobody knows it."""
    return "pixel size not known" if pixel_size_m is None else f"pixels of {format_length(pixel_size_m, 4)}"


def describe_energy(scan: ScanData) -> str:
    """Energy of the photons or electrons; empty where it is not known."""
    return "" if scan.energy_eV is None else f"{scan.energy_eV / 1e3:.6g} keV {scan.particle}s"


def describe_probe(scan: ScanData) -> str:
    """Modes and gauge of the probe."""
    return "no probe" if scan.probe is None else f"{describe_modes(scan.probe)} ({scan.probe_gauge})"


def describe_modes(probe: np.ndarray) -> str:
    """How many modes a probe has."""
    return f"{len(probe)} probe mode{'s' * (len(probe) != 1)}"


def describe_size(image: np.ndarray) -> str:
    """Height and width of an image."""
    return f"{image.shape[0]} x {image.shape[1]}"


def name_of(scan: ScanData) -> str:
    """Name of the file that a scan was read from; empty for a scan from memory."""
    return PurePath(str(scan.provenance.get("file", ""))).name


def headlines(recon: Reconstruction) -> list[tuple[str, str]]:
    """Up to two figures of merit with their public names."""
    found = [(name, recon.metrics.get(name)) for name in HEADLINES]
    return [(name, format_number(float(value), 4)) for name, value in found if _is_number(value)][:2]


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and math.isfinite(value)
