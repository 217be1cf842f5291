"""Aberrations of the lens that made a probe, from the phase of its pupil.

A probe in the far field of a round aperture has the phase `-2 pi / wavelength * chi` there, with (Krivanek, Dellby and
Lupini 1999), for an angle a from the axis in the direction p,

    chi = C10 a^2 / 2 + C12 a^2 cos 2(p - p12) / 2 + C21 a^3 cos(p - p21) / 3 + C23 a^3 cos 3(p - p23) / 3 + C30 a^4 / 4

C10 is the distance of the sample from the focus, positive where the sample is downstream; users of microscopes call its
negative the defocus.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Complex64, Float64

from ptypinn.data.bright_field import fit_bright_field
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.physics.optics import compute_wavelength, power_at_edge
from ptypinn.utils.number_format import format_measured_length

USED_RADIUS = 0.93
"""Part of the radius of the pupil that is fitted: its rim is blurred."""
ROUNDS = 4
"""Fits of the phase that the last one leaves."""
MAX_RESIDUAL_RAD = 0.7
"""Largest root mean square of the phase that a fit may leave."""
MAX_EDGE_POWER = 0.03
"""Largest fraction of the probe's power at the edge of its array."""
MIN_PIXELS = 30
"""Fewest pixels of the pupil."""
TERMS: dict[str, tuple[int, int]] = {"C10": (2, 0), "C12": (2, 2), "C21": (3, 1), "C23": (3, 3), "C30": (4, 0)}
"""Power of the angle, and symmetry, of every aberration."""


@dataclass(frozen=True)
class Aberration:
    """One coefficient."""

    size_m: float
    """Coefficient, metres; of one with a direction its size."""
    error_m: float
    """Its standard error by what the fit leaves, metres."""
    direction_rad: float | None = None
    """Direction from the x axis towards the y axis, radians; None of round ones."""


@dataclass(frozen=True)
class Aberrations:
    """Aberrations of a lens, and its aperture."""

    semi_angle_rad: float
    """Radius of the pupil, radians."""
    terms: dict[str, Aberration]
    """Coefficients by their names."""

    def describe(self) -> list[tuple[str, str]]:
        """Return labels and values in words."""
        first = self.terms["C10"]
        side = "downstream" if first.size_m > 0 else "upstream"
        rows = [
            ("semi-angle", f"{1e3 * self.semi_angle_rad:.4g} mrad"),
            ("defocus", f"sample {_with_error(first)} {side} of the focus"),
        ]
        for name, label in (("C12", "astigmatism C12"), ("C21", "coma C21"), ("C23", "astigmatism C23")):
            term = self.terms[name]
            degrees = math.degrees(term.direction_rad or 0.0)
            rows.append((label, f"{_with_error(term)} at {degrees:.3g} degrees"))
        last = self.terms["C30"]
        return [*rows, ("spherical C30", format_measured_length(last.size_m, last.error_m))]

    def to_record(self) -> dict[str, float | None]:
        """Return plain numbers for JSON, with their units in the names."""
        record: dict[str, float | None] = {"semi_angle_mrad": 1e3 * self.semi_angle_rad}
        for name, term in self.terms.items():
            record |= {f"{name}_m": term.size_m, f"{name}_error_m": term.error_m}
            if term.direction_rad is not None:
                record[f"{name}_direction_deg"] = math.degrees(term.direction_rad)
        return record


def _with_error(term: Aberration) -> str:
    return format_measured_length(abs(term.size_m), term.error_m)


def measure_aberrations(recon: Reconstruction, optics: Mapping[str, Any]) -> Aberrations | None:
    """Return the aberrations of the first mode of the probe of an electron scan; None where they are unknown.

    A probe that is cut off by its array has a blurred pupil, and states none.

    Args:
        recon: The reconstruction; of a thick sample, the focus is seen from its first slice.
        optics: Energy, electron volts, and the particle.
    """
    energy, particle = optics.get("energy_eV"), optics.get("particle")
    if recon.pixel_size_m is None or not isinstance(energy, int | float) or not energy > 0 or particle != "electron":
        return None
    if power_at_edge(recon.probe[:1]) > MAX_EDGE_POWER:
        return None
    return fit_aberrations(recon.probe[0], recon.pixel_size_m, compute_wavelength(energy, particle))


def fit_aberrations(
    probe: Complex64[np.ndarray, "y x"], pixel_size_m: float, wavelength_m: float
) -> Aberrations | None:
    """Fit the phase of the pupil of a probe; None where the pupil is no disk, or its phase no smooth function.

    Differences of neighbouring pixels give the slopes of the phase without unwrapping it; what a fit leaves is small,
    and fitted again.

    Args:
        probe: Probe on the sample, its middle at N//2.
        pixel_size_m: Object pixel, metres.
        wavelength_m: Wavelength, metres.
    """
    pupil = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(probe.astype(np.complex128)), norm="ortho"))
    power = np.abs(pupil) ** 2
    disk = fit_bright_field(power, np.ones(power.shape, bool))
    if disk is None:
        return None
    y, x = (np.arange(len(power)) - len(power) // 2 - centre for centre in disk.centre_px)
    y, x = np.meshgrid(y / disk.radius_px, x / disk.radius_px, indexing="ij")
    used = np.hypot(y, x) < USED_RADIUS
    if used.sum() < MIN_PIXELS:
        return None
    basis, weights = _make_basis(y, x), np.where(used, power, 0.0)
    values = _fit_slopes(pupil, basis, used)
    for _ in range(ROUNDS):
        left = pupil * np.exp(-1j * (basis @ values))
        left *= np.exp(-1j * np.angle((weights * left / np.maximum(np.abs(left), 1e-30)).sum()))
        values = values + _solve(basis[used], np.angle(left[used]), weights[used])
    left = pupil * np.exp(-1j * (basis @ values))
    phase = np.where(used, np.angle(left * np.exp(-1j * np.angle(left[used].sum()))), 0.0)
    variance = float(np.average(phase**2, weights=weights))
    if variance > MAX_RESIDUAL_RAD**2:
        return None
    semi_angle = disk.radius_px * wavelength_m / (len(power) * pixel_size_m)
    variance *= _correlated_pixels(phase, used)
    errors = np.sqrt(np.diag(_covariance(basis[used], weights[used])) * variance)
    return Aberrations(semi_angle, _to_terms(values, errors, semi_angle, wavelength_m))


def _make_basis(y: Float64[np.ndarray, "y x"], x: Float64[np.ndarray, "y x"]) -> Float64[np.ndarray, "y x term"]:
    """Return the phases of constant, tilts and aberrations of size 1 at the rim, cosine before sine."""
    radius, direction = np.hypot(y, x), np.arctan2(y, x)
    columns = [np.ones_like(y), y, x]
    for power, symmetry in TERMS.values():
        columns.append(radius**power * np.cos(symmetry * direction))
        if symmetry:
            columns.append(radius**power * np.sin(symmetry * direction))
    return np.stack(columns, -1)


def _fit_slopes(
    pupil: np.ndarray, basis: Float64[np.ndarray, "y x term"], used: Bool[np.ndarray, "y x"]
) -> Float64[np.ndarray, " term"]:
    """Return the coefficients by the slopes of the phase between neighbouring pixels; that of the constant is 0."""
    slopes, differences, weights = list[np.ndarray](), list[np.ndarray](), list[np.ndarray]()
    for axis in (0, 1):
        first, second = (np.take(used, range(start, len(used) - 1 + start), axis) for start in (0, 1))
        both = first & second
        product = np.take(pupil, range(1, len(pupil)), axis) * np.take(pupil, range(len(pupil) - 1), axis).conj()
        slopes.append(np.angle(product)[both])
        differences.append(np.diff(basis, axis=axis)[both])
        weights.append(np.abs(product)[both])
    values = _solve(np.concatenate(differences)[:, 1:], np.concatenate(slopes), np.concatenate(weights))
    return np.concatenate([[0.0], values])


def _solve(
    basis: Float64[np.ndarray, "pixel term"],
    phase: Float64[np.ndarray, " pixel"],
    weights: Float64[np.ndarray, " pixel"],
) -> Float64[np.ndarray, " term"]:
    """Return the coefficients of a weighted least-squares fit."""
    roots = np.sqrt(weights)
    return np.linalg.lstsq(basis * roots[:, None], phase * roots, rcond=None)[0]


def _correlated_pixels(phase: Float64[np.ndarray, "y x"], used: Bool[np.ndarray, "y x"]) -> float:
    """Return how many pixels share what a fit leaves of the phase, by its correlation between neighbours."""
    both = [used[1:] & used[:-1], used[:, 1:] & used[:, :-1]]
    products = (phase[1:] * phase[:-1])[both[0]].sum() + (phase[:, 1:] * phase[:, :-1])[both[1]].sum()
    pairs = both[0].sum() + both[1].sum()
    likeness = products / max(pairs, 1) / max(np.mean(phase[used] ** 2), 1e-30)
    return float(((1 + likeness) / max(1 - likeness, 0.05)) ** 2) if likeness > 0 else 1.0


def _covariance(
    basis: Float64[np.ndarray, "pixel term"], weights: Float64[np.ndarray, " pixel"]
) -> Float64[np.ndarray, "term term"]:
    """Return the covariance of the coefficients for pixels of unit variance."""
    return np.linalg.pinv((basis * (weights / weights.mean())[:, None]).T @ basis)


def _to_terms(
    values: Float64[np.ndarray, " term"],
    errors: Float64[np.ndarray, " term"],
    semi_angle: float,
    wavelength_m: float,
) -> dict[str, Aberration]:
    """Return the coefficients in metres from phases at the rim."""
    terms, place = dict[str, Aberration](), 3
    for name, (power, symmetry) in TERMS.items():
        scale = -wavelength_m / (2 * math.pi) * power / semi_angle**power
        if not symmetry:
            terms[name] = Aberration(scale * values[place], abs(scale) * errors[place])
            place += 1
            continue
        cosine, sine = scale * values[place : place + 2]
        error = abs(scale) * float(np.hypot(*errors[place : place + 2])) / math.sqrt(2)
        terms[name] = Aberration(math.hypot(cosine, sine), error, math.atan2(sine, cosine) / symmetry)
        place += 2
    return terms
