"""Quantities of the beam: photons of a probe, wavelength, pixel size, and the well-illuminated part of a canvas.

Nothing here needs torch at import, so that reading and describing a file stays fast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Complex, Float64, Real

Particle = Literal["photon", "electron"]
PLANCK_TIMES_C_EV_M = 1.2398419843320026e-6
ELECTRON_REST_ENERGY_EV = 510998.95069

WELL_ILLUMINATED_FRACTION = 0.1
"""Fraction of the typical illumination from which metrics are taken: below it the object's error is more than three
times that of the middle of the scan, and the edge of the scan would decide a mean."""


def probe_photons(probe: Any) -> Any:
    """Photons per pattern through vacuum: `sum(abs(probe)**2)` over modes and pixels, in double precision.

    Args:
        probe: Modes, (mode, y, x), sqrt(photons): a NumPy array or a tensor.

    Returns:
        A float for an array, a float64 scalar tensor for a tensor.

    >>> probe_photons(np.array([[[3.0 + 4.0j]], [[1.0j]]], np.complex64))
    26.0
    """
    if isinstance(probe, np.ndarray):
        return float(np.sum(np.abs(probe.astype(np.complex128)) ** 2))
    return (probe.real.double().square() + probe.imag.double().square()).sum()


def mode_photons(probe: Complex[np.ndarray, "mode y x"]) -> Float64[np.ndarray, " mode"]:
    """Photons per pattern through vacuum in every mode of a probe.

    >>> mode_photons(np.array([[[3.0 + 4.0j]], [[1.0j]]])).tolist()
    [25.0, 1.0]
    """
    return np.asarray(np.sum(np.abs(probe.astype(np.complex128)) ** 2, axis=(1, 2)))


def power_at_edge(probe: Any, width: int = 2) -> float:
    """Return the fraction of the power on the outermost `width` pixels; much above 1e-3 the array cuts the probe off.

    Args:
        probe: Modes, (mode, y, x): a NumPy array or a tensor.
        width: Pixels on every side that count as edge.

    >>> power_at_edge(np.ones((1, 8, 8), np.complex64))
    0.75
    """
    intensity = _sum_intensity(probe)
    return 1 - float(intensity[width:-width, width:-width].sum() / intensity.sum())


def equivalent_diameter(probe: Any) -> float:
    """Return the diameter of the uniform disk with the probe's participation area `(sum I)**2 / sum I**2`, pixels.

    Args:
        probe: Modes, (mode, y, x): a NumPy array or a tensor.

    >>> round(equivalent_diameter(np.ones((1, 8, 8), np.complex64)), 3)
    9.027
    """
    intensity = _sum_intensity(probe)
    area = float(intensity.sum() ** 2 / (intensity * intensity).sum())
    return 2 * math.sqrt(area / math.pi)


def _sum_intensity(probe: Any) -> Any:
    if isinstance(probe, np.ndarray):
        return np.square(np.abs(probe).astype(np.float64)).sum(0)
    return probe.abs().double().square().sum(0)


def compute_wavelength(energy_eV: float, particle: Particle = "photon") -> float:
    """Return the wavelength, metres: `hc / E` of photons, `hc / sqrt(E (E + 2 m c^2))` of electrons.

    Args:
        energy_eV: Photon energy, or kinetic energy of the electrons, electron volts.
        particle: Photon or electron.

    >>> round(1e12 * compute_wavelength(300e3, "electron"), 3)
    1.969
    """
    if particle == "photon":
        return PLANCK_TIMES_C_EV_M / energy_eV
    return PLANCK_TIMES_C_EV_M / math.sqrt(energy_eV * (energy_eV + 2 * ELECTRON_REST_ENERGY_EV))


def compute_pixel_size(wavelength_m: float, distance_m: float, size: int, detector_pixel_m: float) -> float:
    """Return the width of an object pixel, metres: `wavelength * distance / (N * detector pixel)`.

    Args:
        wavelength_m: Wavelength, metres.
        distance_m: Sample to detector, metres.
        size: Edge N of a pattern, pixels.
        detector_pixel_m: Width of a detector pixel, metres.

    >>> 1e9 * compute_pixel_size(1e-10, 2.0, 200, 100e-6)
    10.0
    """
    return wavelength_m * distance_m / (size * detector_pixel_m)


def typical_illumination(illumination: Real[np.ndarray, "*canvas"]) -> np.floating[Any] | float:
    """Return the 95th percentile of the illuminated pixels; infinite where none is illuminated.

    The largest value would follow a single pixel in the middle of the scan where steps are uneven.
    """
    positive = illumination[illumination > 0]
    return np.percentile(positive, 95) if positive.size else math.inf


def illumination_mask(
    illumination: Real[np.ndarray, "*canvas"], fraction: float = WELL_ILLUMINATED_FRACTION
) -> Bool[np.ndarray, "*canvas"]:
    """Return the pixels whose illumination exceeds a fraction of the typical one.

    Args:
        illumination: Photons per object pixel.
        fraction: Threshold as a fraction of `typical_illumination`.

    >>> illumination_mask(np.array([0.0, 5.0, 40.0, 100.0, 100.0])).tolist()
    [False, False, True, True, True]
    """
    return illumination > fraction * typical_illumination(illumination)


def compute_fresnel_number(pixel_size_m: float, distance_m: float, wavelength_m: float) -> float:
    """Return the Fresnel number of a pixel: its square over wavelength and distance.

    Args:
        pixel_size_m: Object pixel, metres.
        distance_m: From the sample to the detector, metres; behind a focus, over the magnification.
        wavelength_m: Wavelength, metres.
    """
    return pixel_size_m**2 / (wavelength_m * distance_m)


def tilt_to_frequency(
    tilt_mrad: Sequence[float], pixel_size_m: float, wavelength_m: float
) -> Float64[np.ndarray, " 2"]:
    """Return the spatial frequency of a wave along a tilted axis: sine of the angle over the wavelength.

    Args:
        tilt_mrad: Angles (y, x) against the beam, milliradians.
        pixel_size_m: Object pixel, metres.
        wavelength_m: Wavelength, metres.

    Returns:
        Cycles per object pixel (y, x).
    """
    return np.sin(1e-3 * np.asarray(tilt_mrad, float)) * pixel_size_m / wavelength_m


def frequency_to_tilt(
    frequency: Sequence[float] | Float64[np.ndarray, " 2"], pixel_size_m: float, wavelength_m: float
) -> list[float]:
    """Return the angles of a wave against the beam, milliradians: the inverse of `tilt_to_frequency`.

    >>> [round(angle, 9) for angle in frequency_to_tilt(tilt_to_frequency((3.0, -2.0), 4e-11, 2e-12), 4e-11, 2e-12)]
    [3.0, -2.0]
    """
    return [float(1e3 * np.arcsin(value * wavelength_m / pixel_size_m)) for value in frequency]


def contrast_length(fresnel_number: float, contrast: float) -> float:
    """Return the period of a weak phase ripple that propagation turns into intensity with some contrast, pixels.

    The contrast is twice the phase times the sine of the delay `pi f^2 / F` (contrast transfer function).

    >>> round(contrast_length(0.12, 0.2), 1)
    16.2
    """
    return float(np.sqrt(np.pi / (fresnel_number * np.arcsin(contrast / 2))))


def far_field_intensity(probe: Complex[np.ndarray, "mode y x"]) -> Float64[np.ndarray, "y x"]:
    """Return the photons of a probe on the detector without a sample, zero frequency at N//2.

    Args:
        probe: Modes, (mode, y, x), sqrt(photons).

    >>> far_field_intensity(np.ones((1, 2, 2), np.complex64)).round(6).tolist()
    [[0.0, 0.0], [0.0, 4.0]]
    """
    fields = np.fft.fftshift(np.fft.fft2(probe.astype(np.complex128), norm="ortho"), axes=(-2, -1))
    return np.asarray(np.square(np.abs(fields)).sum(0))
