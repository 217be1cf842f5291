"""Faults of a simulated experiment: true values drawn from their sizes, and what the scan records instead."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ptypinn.config.faults import Faults
from ptypinn.data.true_experiment import TrueExperiment
from ptypinn.physics.detector import sample_counts
from ptypinn.physics.experiment import Exposure, tilt_object
from ptypinn.physics.experiment_draws import (
    broad_background,
    draw_bad_frames,
    draw_cosmic_rays,
    draw_flux,
    draw_hot_pixels,
    follow_scan,
    position_matrix,
    scale_excursion,
    scan_path,
    smooth_curve,
    transform_positions,
)
from ptypinn.physics.forward import FAR_FIELD
from ptypinn.physics.patches import compute_illumination
from ptypinn.physics.probes import incoherent_modes
from ptypinn.types import Object, Probe


@dataclass(frozen=True)
class BrightPixels:
    """Counts that hot pixels and cosmic rays add."""

    hot: Tensor
    """Hot pixels (y, x), (pixel, 2)."""
    rates: Tensor
    """Mean counts that each adds to a frame."""
    hits: Tensor
    """Cosmic rays (frame, y, x), (hit, 3)."""
    charges: Tensor
    """Counts that each adds."""

    def add(self, counts: Tensor, first: int, generator: torch.Generator) -> Tensor:
        """Return the counts of consecutive frames, the first of them number `first`, with what is added."""
        counts = counts.clone()
        if len(self.hot):
            added = sample_counts(self.rates.expand(1, len(counts), -1), generator)[0]
            counts[:, self.hot[:, 0], self.hot[:, 1]] += added
        here = (self.hits[:, 0] >= first) & (self.hits[:, 0] < first + len(counts))
        places = self.hits[here] - torch.tensor([first, 0, 0])
        return counts.index_put_(tuple(places.T), self.charges[here], accumulate=True)


@dataclass(frozen=True)
class FaultyExperiment:
    """A simulated experiment with faults: what happens, and what the scan records."""

    canvas: Object
    """True object with room for all recorded positions, (height, width)."""
    positions: Tensor
    """True positions on the canvas, (M, 2), pixels."""
    recorded: Tensor
    """Recorded positions, (M, 2), pixels."""
    exposure: Exposure
    """Deviations of the frames from the ideal exposure."""
    bright: BrightPixels | None
    """Hot pixels and cosmic rays."""
    truth: TrueExperiment
    """True values, to be stored with the scan."""

    @property
    def ideal_exposure(self) -> bool:
        """True if the expected counts are those of an ideal experiment."""
        return all(value is None or (isinstance(value, float) and value == 0) for value in vars(self.exposure).values())

    def spoil_frames(self, counts: np.ndarray) -> None:
        """Empty and repeat frames, in place."""
        if self.truth.empty_frames is not None:
            counts[self.truth.empty_frames] = 0
        for frame in () if self.truth.repeated_frames is None else self.truth.repeated_frames:
            counts[frame] = counts[frame - 1]


def plan_experiment(
    sizes: Faults, seed: int, canvas: Object, probe: Probe, positions: Tensor, recorded: Tensor
) -> FaultyExperiment:
    """Draw the true values of an experiment with faults.

    The sample, the true positions on it and the probe are those of the experiment without faults, so that both can be
    compared; where recorded positions leave the object, it is continued by its mirror image.

    Args:
        sizes: Sizes of the faults.
        seed: Seed of everything random.
        canvas: Object, (height, width), transmission.
        probe: Probe without faults, (mode, N, N), sqrt(photons).
        positions: True positions, (M, 2), object pixels.
        recorded: Positions that the scan records without faults, (M, 2).
    """
    size = probe.shape[-1]
    recorded, places = _misplace(sizes, seed, recorded)
    path = scan_path(positions, sizes.motion) if sizes.motion else None
    canvas, shift = _make_room(canvas, size, recorded, positions, sizes.motion / 2)
    positions, recorded = positions + shift, recorded + shift
    canvas = canvas if sizes.ramp == (0.0, 0.0) else tilt_object(canvas, sizes.ramp, size)
    modes = incoherent_modes(probe[:1], sizes.coherence) if sizes.coherence else probe
    exposure = _draw_exposure(sizes, seed, canvas, modes, positions, path)
    bright = _draw_bright(sizes, seed, len(positions), modes)
    values = {**places, "motion_px": path, **_exposed(exposure), **_bad_data(sizes, seed, len(positions), bright)}
    arrays: dict[str, Any] = {name: None if value is None else value.numpy() for name, value in values.items()}
    truth = TrueExperiment(sizes.listed(), positions.numpy(), modes.numpy(), **arrays)
    return FaultyExperiment(canvas, positions, recorded, exposure, bright, truth)


def bright_generator(seed: int) -> torch.Generator:
    """Return the source of the shot noise of hot pixels."""
    return torch.Generator().manual_seed(int(_generator(seed, "bright_noise").integers(2**62)))


def _misplace(sizes: Faults, seed: int, recorded: Tensor) -> tuple[Tensor, dict[str, Tensor | None]]:
    """Return the recorded positions with their errors, and matrix and drift."""
    matrix = position_matrix(rotation_deg=sizes.rotation) @ position_matrix(*sizes.affine)
    turned = bool((matrix != torch.eye(2)).any())
    drift = None
    if sizes.drift:
        drift = scale_excursion(smooth_curve(len(recorded), 2, _generator(seed, "drift")), sizes.drift)
        recorded = recorded - drift
    if turned:
        recorded = transform_positions(recorded, matrix)
    if sizes.positions:
        errors = _generator(seed, "positions").standard_normal(tuple(recorded.shape))
        recorded = recorded + sizes.positions * torch.from_numpy(errors - errors.mean(0))  # a common shift is none
    return recorded, {"position_matrix": matrix if turned else None, "drift_px": drift}


def _make_room(canvas: Object, size: int, recorded: Tensor, positions: Tensor, reach: float) -> tuple[Tensor, Tensor]:
    """Return the object, continued by its mirror image to where positions reach, and their displacement on it."""
    places = torch.cat([recorded, positions - reach, positions + reach]) if reach else torch.cat([recorded, positions])
    before = (-places.amin(0)).ceil().clamp(min=0).long()
    after = (places.amax(0).ceil() + size - torch.tensor(canvas.shape)).clamp(min=0).long()
    if not (before.any() or after.any()):
        return canvas, torch.zeros(2, dtype=torch.float64)
    widths = [(int(low), int(high)) for low, high in zip(before, after, strict=True)]
    return torch.from_numpy(np.pad(canvas.numpy(), widths, mode="symmetric")), before.double()


def _draw_exposure(
    sizes: Faults, seed: int, canvas: Object, probe: Probe, positions: Tensor, path: Tensor | None
) -> Exposure:
    number, size = len(positions), probe.shape[-1]
    varies, moves = sizes.probe_variation, any(sizes.beam_offset) or sizes.descan or sizes.descan_linear
    aberrations = smooth_curve(number, 3, _generator(seed, "probe_variation")) if varies else None
    if aberrations is not None:
        aberrations = varies * aberrations / aberrations.abs().amax(0).clamp(min=1e-9)
    beam = torch.tensor([sizes.beam_offset], dtype=torch.float64).repeat(number, 1) if moves else None
    if beam is not None and sizes.descan:
        beam = beam + scale_excursion(smooth_curve(number, 2, _generator(seed, "descan")), sizes.descan)
    if beam is not None and sizes.descan_linear:
        beam = beam + follow_scan(positions, sizes.descan_linear, _generator(seed, "descan_linear"))
    flux = None
    if sizes.flux or sizes.flux_drift:
        flux = draw_flux(number, sizes.flux, sizes.flux_drift, _generator(seed, "flux"))
    background = None
    if sizes.background:
        photons = sizes.background * _mean_photons(canvas, probe, positions)
        background = broad_background(size, photons, _generator(seed, "background"))
    return Exposure(flux, path, aberrations, beam, background, sizes.point_spread)


def _mean_photons(canvas: Object, probe: Probe, positions: Tensor) -> float:
    """Return the mean photons per pattern behind the sample."""
    illumination = compute_illumination(probe, positions.round().long()[None], *canvas.shape)
    return float((illumination.double() * canvas.abs().double().square()).sum()) / len(positions)


def _draw_bright(sizes: Faults, seed: int, frames: int, probe: Probe) -> BrightPixels | None:
    if not (sizes.hot_pixels or sizes.cosmic_rays):
        return None
    size, brightest = probe.shape[-1], float(FAR_FIELD.predict_vacuum(probe).max())
    hot = draw_hot_pixels(size, sizes.hot_pixels, brightest, _generator(seed, "hot_pixels"))
    rays = draw_cosmic_rays(frames, size, sizes.cosmic_rays, brightest, _generator(seed, "cosmic_rays"))
    return BrightPixels(*hot, *rays)


def _exposed(exposure: Exposure) -> dict[str, Tensor | None]:
    """Return the true values of the exposures."""
    return {name: getattr(exposure, name) for name in ("flux", "aberrations_rad", "beam_px", "background")}


def _bad_data(sizes: Faults, seed: int, frames: int, bright: BrightPixels | None) -> dict[str, Tensor | None]:
    """Return bright pixels, and the frames without light or with that of the frame before."""
    empty, repeated = draw_bad_frames(
        frames, sizes.empty_frames, sizes.repeated_frames, _generator(seed, "empty_frames")
    )
    return {
        "hot_pixels": bright.hot if bright is not None and sizes.hot_pixels else None,
        "cosmic_rays": bright.hits if bright is not None and sizes.cosmic_rays else None,
        "empty_frames": empty if sizes.empty_frames else None,
        "repeated_frames": repeated if sizes.repeated_frames else None,
    }


def _generator(seed: int, fault: str) -> np.random.Generator:
    """Return the source of randomness of one fault, so that none changes another."""
    return np.random.default_rng([seed, zlib.crc32(fault.encode())])
