"""Scans and reconstructions as tensors on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Complex64, Float32, Float64, Shaped
from torch import Tensor

if TYPE_CHECKING:
    from ptypinn.data.reconstruction import Reconstruction
    from ptypinn.data.scan import ScanData


class ScanTensors(NamedTuple):
    """The arrays of a scan; None for those it lacks."""

    counts: Shaped[Tensor, "patterns y x"]
    """Detector counts in their stored number type, zero frequency at N//2."""
    positions_px: Float64[Tensor, "patterns 2"]
    """Coordinates (y, x) of the probe array's pixel (0, 0), object pixels."""
    mask: Bool[Tensor, "y x"]
    """True = good pixel, zero frequency at N//2."""
    probe: Complex64[Tensor, "mode probe_y probe_x"] | None
    """Incoherent probe modes, sqrt(photons) where the probe is calibrated."""
    truth: Complex64[Tensor, "height width"] | None
    """True object, transmission."""


class ReconstructionTensors(NamedTuple):
    """The arrays of a reconstruction; None for those it lacks."""

    object: Complex64[Tensor, "height width"]
    """Transmission, dimensionless."""
    illumination: Float32[Tensor, "height width"]
    """Photons per object pixel."""
    probe: Complex64[Tensor, "mode y x"]
    """Probe modes, sqrt(photons)."""
    positions_px: Float64[Tensor, "patterns 2"]
    """Coordinates (y, x) of the probe array's pixel (0, 0) on the object, pixels."""
    uncertainty: Float32[Tensor, "height width"] | None
    """Expected standard deviation of the complex transmission."""
    slices: Complex64[Tensor, "slice height width"] | None = None
    """Transmission of the slices of a thick sample."""


def scan_tensors(scan: ScanData) -> ScanTensors:
    """Convert the arrays of a scan to tensors; counts on disk are read as a whole."""
    counts = scan.counts if isinstance(scan.counts, np.ndarray) else scan.counts[:]
    probe, truth = (None if array is None else tensor_of(array) for array in (scan.probe, scan.truth))
    return ScanTensors(tensor_of(counts), tensor_of(scan.positions_px), tensor_of(scan.good), probe, truth)


def recon_tensors(recon: Reconstruction) -> ReconstructionTensors:
    """Convert the arrays of a reconstruction to tensors."""
    return ReconstructionTensors(
        tensor_of(recon.object),
        tensor_of(recon.illumination),
        tensor_of(recon.probe),
        tensor_of(recon.positions_px),
        None if recon.uncertainty is None else tensor_of(recon.uncertainty),
        None if recon.slices is None else tensor_of(recon.slices),
    )


def tensor_of(array: np.ndarray) -> Tensor:
    """Return a tensor on the memory of an array; on a copy where that is read-only, byte-swapped or runs backwards."""
    fit = array.dtype.isnative and array.flags.writeable and min(array.strides, default=0) >= 0
    return torch.from_numpy(array if fit else np.array(array, array.dtype.newbyteorder("="), order="C"))
