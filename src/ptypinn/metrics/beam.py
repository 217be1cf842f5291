"""Beam on the detector: the slow motion of the patterns over a scan, and its evidence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64

from ptypinn.data.descan import DESCAN
from ptypinn.data.pattern_batches import PatternBatches
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.physics.slow_freedoms import SLOW_TERMS, is_slow, linear_motions
from ptypinn.utils.plain_values import number

MAX_DEGREE = SLOW_TERMS - 1
"""Largest degree in time of the polynomial that the beam follows."""

Path = Float64[np.ndarray, "patterns 2"]


@dataclass(frozen=True)
class BeamEvidence:
    """Slow part of the patterns' centres over a scan."""

    path_px: Path
    """Displacement (y, x) of every pattern beside the known one, detector pixels; its mean is 0."""
    significance: float
    """Fall of the sum of squares that the slow part explains, over what chance explains, in standard deviations."""

    @property
    def rms_px(self) -> float:
        """Root mean square of the displacement along one axis, detector pixels."""
        return float(np.sqrt(np.mean(self.path_px**2)))


def measure_beam(scan: ScanData, device: torch.device) -> BeamEvidence:
    """Return the slow part of the centres of mass of the patterns, as a polynomial in time.

    The sample deflects the patterns too, from position to position; what changes slowly over all frames is the beam's,
    but for a sample whose phase is curved over the whole scan.

    Args:
        scan: The scan; where its beam is known to move, what is beside that is the result.
        device: Device to compute on.
    """
    centres = measure_centres(scan, device)
    if scan.beam_px is not None:
        centres = centres - (scan.beam_px - scan.beam_px.mean(0))
    path = fit_slow_path(centres)
    rest, parameters = centres - path, 2 * MAX_DEGREE
    explained = (path**2).sum() / max((rest**2).sum() / max(rest.size - parameters, 1), 1e-30)
    return BeamEvidence(path, float((explained - parameters) / np.sqrt(2 * parameters)))


def measure_centres(scan: ScanData, device: torch.device) -> Path:
    """Return the centre (y, x) of mass of every pattern beside their mean, detector pixels."""
    rows = list[torch.Tensor]()
    frequency = scan.size * torch.fft.fftfreq(scan.size, device=device)
    for _, counts in PatternBatches(scan, device, budget_bytes=0):
        photons = counts.sum((1, 2)).clamp(min=1)
        rows.append(torch.stack([counts.sum(2) @ frequency, counts.sum(1) @ frequency], 1) / photons[:, None])
    centres = torch.cat(rows).double().cpu().numpy()
    return centres - centres.mean(0)


def fit_slow_path(values: Path) -> Path:
    """Return the polynomial in time that predicts values best; its degree is that of the least information criterion.

    The criterion is that of Schwarz (Annals of Statistics 6 (1978) 461): a degree has to explain more than chance does.

    Args:
        values: One row per frame in order of time.

    >>> time = np.linspace(-1, 1, 60)
    >>> noise = 0.1 * np.random.default_rng(0).normal(size=(60, 2))
    >>> path = fit_slow_path(np.stack([time**2, -time], 1) + noise)
    >>> float(np.abs(path - np.stack([time**2 - np.mean(time**2), -time], 1)).max()) < 0.1
    True
    """
    number = len(values)
    basis = np.polynomial.legendre.legvander(np.linspace(-1, 1, number), min(MAX_DEGREE, number // 8))
    best, least = np.broadcast_to(values.mean(0), values.shape), np.inf
    for columns in range(1, basis.shape[1] + 1):
        fitted = basis[:, :columns] @ np.linalg.lstsq(basis[:, :columns], values, rcond=None)[0]
        power = max(float(((values - fitted) ** 2).mean()), 1e-30)
        criterion = values.size * np.log(power) + values.shape[1] * columns * np.log(number)
        if criterion < least:
            best, least = fitted, criterion
    return best - best.mean(0)


def beam_warnings(recon: Reconstruction) -> list[str]:
    """Return a sentence where a part of the beam's motion, with the probe solved for, may be a curved phase instead.

    Args:
        recon: Reconstruction with the motion of the beam.
    """
    if recon.beam_px is None or not is_slow(linear_motions(torch.from_numpy(recon.positions_px))).any():
        return []
    return [
        "The beam moves slowly over the detector: what of its motion is proportional to the position gives the same "
        "counts as a curved phase of the sample with another defocus of the probe. The curvature that leaves most of "
        "the sample flat was taken; the phase may be curved by what is left. A known probe "
        "(`--no-refine-probe`) settles it."
    ]


def disk_warnings(recon: Reconstruction) -> list[str]:
    """Return a sentence where the error of the motion of a disk that is followed curves phases beyond the uncertainty.

    Args:
        recon: Reconstruction whose beam follows the disk of an electron scan, with the probe solved for.
    """
    error = number(recon.provenance["scan"][DESCAN].get("error_px"))
    if error is None or recon.uncertainty is None:
        return []
    curved = curve_phase(error, recon.positions_px, recon.probe.shape[-1])
    if curved < float(np.sqrt(np.mean(np.square(recon.uncertainty[recon.well_illuminated()], dtype=np.float64)))):
        return []
    return [
        f"The motion of the disk over the scan is known to {error:.2g} detector pixels: with the probe solved for, "
        f"that much gives the same counts as a phase that is curved over the scan, by about {curved:.2g} rad (rms), "
        "which the uncertainty leaves out. A known probe (`--no-refine-probe`) settles it."
    ]


def curve_phase(error_px: float, positions_px: Float64[np.ndarray, "patterns 2"], size: int) -> float:
    """Return the root mean square of the phase that a motion of the beam along the scan stands for, radians.

    A beam that moves by m detector pixels per object pixel turns the phase at r by `pi m r^2 / size`.

    Args:
        error_px: Motion from one end of the scan to the other, detector pixels.
        positions_px: Positions, object pixels.
        size: Edge of the patterns, pixels.

    >>> line = np.stack([np.linspace(0, 100, 101), np.zeros(101)], 1)
    >>> round(curve_phase(0.1, line, 64), 3)
    0.037
    """
    places = positions_px - positions_px.mean(0)
    extent = float(np.linalg.norm(np.ptp(places, axis=0)))
    return float(np.pi * error_px / max(extent, 1e-9) / size * np.square(places).sum(1).std())
