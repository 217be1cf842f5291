"""Energy, distance and detector pixel of a scan, the object pixel that follows, and errors where one is missing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ptypinn.config.load import LoadConfig
from ptypinn.config.shared import option_name
from ptypinn.errors import InputError
from ptypinn.io.units import length_in_m
from ptypinn.physics.optics import PLANCK_TIMES_C_EV_M, Particle, compute_wavelength

Pair = Sequence[float | None] | np.ndarray
"""Numbers along y and x; None where one is not known."""
NAMES = ("energy_eV", "detector_distance_m", "detector_pixel_m")
PLAUSIBLE = {
    "energy_eV": (1e-4, 1e7, "eV"),
    "detector_distance_m": (1e-7, 1e4, "m"),
    "detector_pixel_m": (1e-9, 1e-1, "m"),
}
"""Limits of the numbers of diffraction experiments, terahertz waves to electrons: beyond, their unit is another one."""
SAME_EDGE = 1e-3
"""Maximum relative difference of the edges of a square pixel."""
WORDS = {"energy_eV": "an energy", "detector_distance_m": "a distance", "detector_pixel_m": "a detector pixel"}


@dataclass(frozen=True)
class Optics:
    """The numbers of far-field diffraction; None where neither the file nor an option has it."""

    energy_eV: float | None = None
    """Energy of a photon, kinetic energy of an electron, electron volts."""
    detector_distance_m: float | None = None
    """Sample to detector, metres."""
    detector_pixel_m: float | None = None
    """Detector pixel, metres."""
    particle: Particle = "photon"
    """Diffracted particle."""

    @classmethod
    def read(
        cls,
        source: str,
        config: LoadConfig,
        file_numbers: Mapping[str, float | None],
        places: Mapping[str, str],
        particle: Particle = "photon",
    ) -> Optics:
        """Read the numbers of a file; options replace them.

        Args:
            source: Name of the file for messages.
            config: Reading options.
            file_numbers: Numbers of the file by their names here.
            places: Where in the file each of them lies.
            particle: What files of the format usually hold.

        Raises:
            InputError: Where a number is not positive, or so far from any experiment that its unit must be wrong.
        """
        numbers = {name: getattr(config, name) or file_numbers.get(name) for name in NAMES}
        for name, value in numbers.items():
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InputError(source, places[name], str(value), "a positive number")
            low, high, unit = PLAUSIBLE[name]
            if value is not None and getattr(config, name) is None and not low <= value <= high:
                actual = f"{WORDS[name]} of {value:.3g} {unit}{_wavelength_text(name, value)}"
                expected = f"{low:g} to {high:g} {unit}; the file states another unit than its number has"
                raise InputError(source, places[name], actual, f"{expected}: {option_name(name)} replaces it")
        return cls(**numbers, particle=particle if config.particle == "auto" else config.particle)

    def pixel_size_m(self, size: int) -> float | None:
        """Return the object pixel, `wavelength * distance / (N * detector pixel)`, metres; None without a number.

        Args:
            size: Edge N of a pattern, pixels.
        """
        if self.energy_eV is None or self.detector_distance_m is None or self.detector_pixel_m is None:
            return None
        wavelength_m = compute_wavelength(self.energy_eV, self.particle)
        return wavelength_m * self.detector_distance_m / (size * self.detector_pixel_m)

    def require_pixel_size_m(self, source: str, config: LoadConfig, size: int, places: Mapping[str, str]) -> float:
        """Return the object pixel for positions in metres; `--pixel-size-m` has priority over the far field's.

        Raises:
            InputError: Where a number lacks, naming the place in the file and the options that supply it.
        """
        pixel = config.pixel_size_m or self.pixel_size_m(size)
        if pixel is None:
            name = next(name for name in NAMES if getattr(self, name) is None)
            raise InputError(
                source, places[name], "nothing here", f"a value, or {option_name(name)} (or --pixel-size-m)"
            )
        return pixel

    def fields(self) -> dict[str, Any]:
        """Return the numbers by the names of the fields of `ScanData`."""
        return {**{name: getattr(self, name) for name in NAMES}, "particle": self.particle}


def require_square(source: str, place: str, what: str, sizes: Pair, unit: str, option: str) -> None:
    """Raise `InputError` where pixels differ along rows and columns.

    Args:
        source: Name of the file for messages.
        place: Where their size lies.
        what: Name of the pixels, such as `detector pixels`.
        sizes: Size along y and x; a single one, or one that is not a positive number, passes.
        unit: Unit of the sizes for messages.
        option: Field of `LoadConfig` that replaces the sizes by a single one.
    """
    y, x = (float(sizes[0] or 0), float(sizes[1] or 0)) if len(sizes) > 1 else (0.0, 0.0)
    if y > 0 and x > 0 and abs(y / x - 1) > SAME_EDGE:
        expected = f"square {what}; {option_name(option)} takes them as square"
        raise InputError(source, place, f"{what} of {y:.4g} x {x:.4g} {unit} (y, x)", expected)


def _wavelength_text(name: str, value: float) -> str:
    return f" (a wavelength of {PLANCK_TIMES_C_EV_M / value:.3g} m)" if name == "energy_eV" else ""


def position_unit_px(source: str, config: LoadConfig, pixel_m: float | None) -> float:
    """Return the unit of positions that `positions_unit` names, object pixels; 1 where it names none.

    Args:
        source: Name of the file for messages.
        config: Reading options.
        pixel_m: Object pixel, metres; None where it is not known.

    Raises:
        InputError: Where positions are lengths and the object pixel is not known.
    """
    metres = length_in_m(config.positions_unit)
    if metres is None:
        return 1.0
    if pixel_m is None:
        expected = "--energy-eV with --detector-distance-m and --detector-pixel-m, or --pixel-size-m"
        raise InputError(source, "object pixel", f"none for positions in {config.positions_unit}", expected)
    return metres / pixel_m
