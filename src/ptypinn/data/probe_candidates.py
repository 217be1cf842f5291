"""Probes that the optics or the mean pattern of a scan suggest, for files that hold none.

Behind a lens or a zone plate the mean pattern is the cone of the beam on the detector, as the sample scatters little:
its root is the amplitude of the pupil, and the defocus is open. Behind an aperture close to the sample it is the far
field of a disk, and the curvature of the beam is open.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Complex64, Float64, Num

from ptypinn.data.beam_centre import mean_pattern
from ptypinn.data.scan import ScanData
from ptypinn.physics.optics import far_field_intensity
from ptypinn.physics.probes import ZonePlate, add_curvature, disk_probe, gaussian_probe, zone_plate_probe

MIN_PUPIL = 0.15
"""Smallest amplitude of a pupil, over its 95th percentile within the beam: less is scattered by the sample."""
MIN_WAVES, DEFOCUS_RATIO = 0.25, 1.35
"""Smallest defocus on trial, waves at the rim of the pupil, and the ratio of neighbouring ones."""
MAX_BEAM_RADIUS = 0.45
"""Largest radius of the defocused beam on trial, over the edge of the probe array."""
MIN_CORRELATION = 0.9
"""Correlation of the root of the mean pattern with the far field of a disk from which there may be one: it is 0.97 to
0.996 behind an aperture, 0.79 to 0.88 behind a lens."""
CURVATURES_RAD = (0.0, 1.0, -1.0, 2.0, -2.0, 4.0, -4.0)
"""Quadratic phases at the rim of an aperture on trial, radians: it is at some distance from the sample."""

PROBE_ESTIMATE = "probe_estimate"
"""Key of the record of a probe that was found, in the provenance of a scan."""

Pattern = Float64[np.ndarray, "y x"]
Model = Literal["lens", "aperture", "gaussian"]


@dataclass(frozen=True)
class ProbeOptics:
    """Numbers of a probe in pixels; None for those that are open."""

    model: Model | None = None
    """Kind of probe; None for a lens or an aperture, whichever it turns out to be."""
    pupil_radius: float | None = None
    """Radius of a lens's cone on the detector, as a fraction of the detector's half-width."""
    central_stop: float = 0.0
    """Diameter of its central stop over that of the lens."""
    edge_waves: float | None = None
    """Its defocus: quadratic phase, continued to the edge of the detector, waves."""
    diameter_px: float | None = None
    """Diameter of an aperture, or full width at half maximum of a Gaussian beam, pixels of the object."""


@dataclass(frozen=True)
class ProbeCandidate:
    """One probe on trial."""

    model: Model
    """Kind of probe."""
    curvature: float
    """Quadratic phase at the rim: of the pupil of a lens in waves, of an aperture or a Gaussian beam in radians."""
    probe: Complex64[np.ndarray, "1 y x"]
    """The probe, of arbitrary scale."""
    pupil_radius: float | None = None
    """Radius of the cone of a lens on the detector, as a fraction of the detector's half-width."""


def suggest_probes(mean: Pattern, optics: ProbeOptics) -> list[ProbeCandidate]:
    """Return the probes that agree with a mean pattern and with what is given about the optics.

    Args:
        mean: Mean pattern, zero frequency at N//2, complete.
        optics: Numbers that are given.
    """
    if optics.model == "lens":
        return list(_lenses(mean, optics))
    if optics.model is not None:
        return list(_spots(mean, optics.model, optics.diameter_px))
    diameter, correlation = fit_spot(mean, "aperture")
    return [*(_spots(mean, "aperture", diameter) if correlation > MIN_CORRELATION else ()), *_lenses(mean, optics)]


def complete_pattern(mean: Pattern, good: Bool[np.ndarray, "y x"]) -> Pattern:
    """Return a mean pattern whose bad pixels have the value of the opposite pixel, 0 where that is bad too.

    Args:
        mean: Mean pattern, zero frequency at N//2.
        good: True = good pixel.
    """
    size = len(mean)
    opposite = (size // 2 * 2 - np.arange(size)) % size
    values = np.where(good, mean, 0.0)
    return np.where(good, mean, values[np.ix_(opposite, opposite)])


def complete_mean(scan: ScanData) -> Pattern:
    """Return the mean pattern of a scan without its background; bad pixels have the value of the opposite pixel."""
    mean = complete_pattern(mean_pattern(scan), scan.good)
    return mean if scan.background is None else np.maximum(mean - scan.background, 0)


def fit_spot(mean: Pattern, model: Model) -> tuple[float, float]:
    """Return the diameter of the spot whose far field is most like the root of a mean pattern.

    Args:
        mean: Mean pattern, zero frequency at N//2.
        model: `aperture` or `gaussian`.

    Returns:
        The diameter, pixels of the object, and the correlation of the amplitudes.
    """
    size, root = len(mean), np.sqrt(np.maximum(mean, 0)).ravel()
    diameters = np.geomspace(3.0, size - 2, 80)
    patterns = (np.sqrt(far_field_intensity(_spot(size, model, diameter).numpy())).ravel() for diameter in diameters)
    scores = [float(np.dot(root, pattern) / np.linalg.norm(pattern)) for pattern in patterns]
    best = int(np.argmax(scores))
    return float(diameters[best]), scores[best] / max(float(np.linalg.norm(root)), 1e-30)


def fit_pupil(mean: Pattern) -> tuple[Pattern, float]:
    """Return the amplitude of a pupil, 0 where only scattered photons arrive, and its radius.

    Args:
        mean: Mean pattern, zero frequency at N//2.

    Returns:
        The amplitude, and the radius that holds 0.98 of its power as a fraction of the detector's half-width.
    """
    amplitude = np.sqrt(np.maximum(mean, 0))
    bright = np.sort(amplitude.ravel())[::-1]
    beam = bright[: 1 + int(np.searchsorted(np.cumsum(bright**2), 0.9 * (bright**2).sum()))]
    amplitude = np.where(amplitude > MIN_PUPIL * np.percentile(beam, 95), amplitude, 0.0)
    distance = np.sqrt(_squared_radius(len(mean))).ravel()
    order = np.argsort(distance, kind="stable")
    power = np.cumsum((amplitude**2).ravel()[order])
    edge = distance[order][np.searchsorted(power, 0.98 * power[-1])]
    return amplitude, float(max(1.0, edge) / (len(mean) / 2))


def focus_pupil(pupil: Num[np.ndarray, "y x"]) -> Complex64[np.ndarray, "1 y x"]:
    """Return the probe of a pupil over the detector, zero frequency at N//2; of arbitrary scale."""
    return np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(pupil)))[None].astype(np.complex64)


def _lenses(mean: Pattern, optics: ProbeOptics) -> Iterator[ProbeCandidate]:
    """Yield lenses with every defocus on trial, or with the given one."""
    amplitude, measured = fit_pupil(mean)
    radius = optics.pupil_radius or measured
    for waves in _defoci(radius, len(mean)) if optics.edge_waves is None else [optics.edge_waves * radius**2]:
        if optics.pupil_radius is not None:
            lens = ZonePlate(radius, optics.central_stop, waves, osa_radius=2.0)
            yield ProbeCandidate("lens", waves, zone_plate_probe(len(mean), lens).numpy(), radius)
            continue
        turn = 2 * np.pi * waves * _squared_radius(len(mean)) / (radius * len(mean) / 2) ** 2
        yield ProbeCandidate("lens", waves, focus_pupil(amplitude * np.exp(1j * turn)), radius)


def _defoci(pupil_radius: float, size: int) -> list[float]:
    """Return the defoci on trial, waves: none, and either sign up to a beam that fills the array."""
    # The phase `2 pi w (r/R)**2` moves the rays at the rim, R detector pixels out, by `2 w N / R` object pixels.
    largest = MAX_BEAM_RADIUS * pupil_radius * size / 4
    steps = int(np.log(largest / MIN_WAVES) / np.log(DEFOCUS_RATIO)) + 1 if largest > MIN_WAVES else 0
    return [0.0, *(sign * MIN_WAVES * DEFOCUS_RATIO**step for step in range(steps) for sign in (1, -1))]


def _spots(mean: Pattern, model: Model, diameter_px: float | None = None) -> Iterator[ProbeCandidate]:
    """Yield spots with every curvature on trial."""
    diameter = fit_spot(mean, model)[0] if diameter_px is None else diameter_px
    spot = _spot(len(mean), model, diameter)
    for turn in CURVATURES_RAD:
        yield ProbeCandidate(model, turn, add_curvature(spot, diameter / 2, turn).numpy())


def _spot(size: int, model: Model, diameter: float) -> torch.Tensor:
    return disk_probe(size, diameter / 2) if model == "aperture" else gaussian_probe(size, diameter)


def _squared_radius(size: int) -> Pattern:
    """Return the squared distance of every pixel from N//2."""
    axis = np.arange(size, dtype=np.float64) - size // 2
    return np.asarray(axis[:, None] ** 2 + axis**2)
