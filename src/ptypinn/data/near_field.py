"""Near-field scans: the shadow of a sample in a beam that diverges from a focus, or is parallel.

By the Fresnel scaling theorem the shadow behind a focus is that of a parallel beam over a shorter distance, magnified
(Paganin, Coherent X-Ray Optics, sect. 4.4.1). So patterns and object share pixels: those of the detector over the
magnification. The probe is the beam without its spherical phase.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ptypinn.config.shared import option_name
from ptypinn.data.pattern_form import ShadowMotion, describe_shadow, measure_shadow
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.physics.optics import compute_fresnel_number
from ptypinn.utils.number_format import format_length
from ptypinn.utils.plain_values import number

NEEDS = {
    "energy_eV": "photon energy",
    "detector_distance_m": "detector distance",
    "detector_pixel_m": "detector pixel",
    "pixel_size_m": "object pixel",
}
"""Numbers without which a near-field scan cannot be solved, and their names."""
GEOMETRY = "near_field"
"""Key of the geometry in the provenance of a scan."""


@dataclass(frozen=True)
class Projection:
    """Geometry of a beam that diverges from a focus before the sample.

    >>> round(Projection(3.65e-3, 1.12, 55e-6, 9.79e-11).magnification, 2)
    307.85
    """

    focus_distance_m: float
    """From the focus to the sample, metres; infinite for a parallel beam."""
    detector_distance_m: float
    """From the sample to the detector, metres."""
    detector_pixel_m: float
    """Detector pixel, metres."""
    wavelength_m: float
    """Wavelength, metres."""

    @property
    def magnification(self) -> float:
        """Size of the shadow over that of the sample."""
        return 1 + self.detector_distance_m / self.focus_distance_m

    @property
    def pixel_size_m(self) -> float:
        """Object pixel, metres."""
        return self.detector_pixel_m / self.magnification

    @property
    def fresnel_number(self) -> float:
        """Fresnel number of an object pixel."""
        return compute_fresnel_number(
            self.pixel_size_m, self.detector_distance_m / self.magnification, self.wavelength_m
        )

    def to_record(self) -> dict[str, float]:
        """Return focus and magnification for the provenance of a scan."""
        return {"focus_distance_m": self.focus_distance_m, "magnification": self.magnification}

    def require_sampling(self, size: int, source: str) -> None:
        """Raise `InputError` where the distance is too long for patterns of some edge, pixels."""
        if self.fresnel_number * size < 1:
            length = self.detector_distance_m / self.magnification
            actual = f"{length:.3g} m of propagation in {size} pixels of {self.pixel_size_m:.3g} m"
            limit = length * self.fresnel_number * size
            raise InputError(source, "geometry", actual, f"at most {limit:.3g} m, for longer ones are not sampled")


def resolve_geometry(scan: ScanData, shadow: ShadowMotion | None = None) -> ScanData:
    """Return a near-field scan on the pixels of its shadow, any other as it is.

    The focus is where the options of reading have it, or else where the motion of the patterns shows it.

    Args:
        scan: The scan.
        shadow: Motion of its patterns; measured here where None.

    Raises:
        InputError: Where the scan is near-field, and numbers that its geometry needs are missing.
    """
    option, focus = scan.option("geometry", "auto"), scan.option("focus_distance_m", None)
    if scan.fresnel_number is not None or option == "far-field":
        return scan
    if focus is not None:
        return to_near_field(scan, focus)
    shadow = measure_shadow(scan) if shadow is None else shadow
    if option == "near-field" or shadow.is_projection:
        return to_near_field(scan, estimate_focus_distance(scan, shadow))
    return scan


def estimate_focus_distance(scan: ScanData, shadow: ShadowMotion) -> float:
    """Return the distance of the focus from the sample that the motion of the patterns shows, metres.

    Raises:
        InputError: Where it does not show one.
    """
    _require_numbers(scan)
    assert scan.detector_distance_m is not None
    if shadow.magnification is None or not shadow.magnification > 1 or not shadow.is_projection:
        expected = "patterns that move with the sample, magnified; or --focus-distance-m"
        raise InputError(scan.source, "geometry", describe_shadow(shadow), expected)
    return scan.detector_distance_m / (shadow.magnification - 1)


def to_near_field(scan: ScanData, focus_distance_m: float) -> ScanData:
    """Return a scan on the pixels of its shadow.

    Args:
        scan: The scan; one that is near-field already is brought to another focus.
        focus_distance_m: From the focus to the sample, metres; infinite for a parallel beam.

    Raises:
        InputError: Where numbers are missing, or the distance is too long for the pixels.
    """
    if (padded := scan.option("pad_px", None)) is not None:
        expected = "nothing in a near field, whose patterns share their pixels with the object"
        raise InputError(scan.source, "--pad-px", str(padded), expected)
    projection = describe_projection(scan, focus_distance_m)
    projection.require_sampling(scan.size, scan.source)
    return scan.rescale_pixel(projection.pixel_size_m).replace(
        fresnel_number=projection.fresnel_number, provenance={**scan.provenance, GEOMETRY: projection.to_record()}
    )


def describe_projection(scan: ScanData, focus_distance_m: float) -> Projection:
    """Return the geometry of a scan with a focus at some distance, metres."""
    _require_numbers(scan)
    assert scan.detector_distance_m is not None
    assert scan.detector_pixel_m is not None
    assert scan.wavelength_m is not None
    if not focus_distance_m > 0 or math.isnan(focus_distance_m):
        raise InputError("--focus-distance-m", "", str(focus_distance_m), "a positive number")
    return Projection(focus_distance_m, scan.detector_distance_m, scan.detector_pixel_m, scan.wavelength_m)


def describe_geometry(fresnel_number: float, provenance: Mapping[str, Any]) -> str:
    """Describe the geometry of a near-field scan in words.

    Args:
        fresnel_number: Of an object pixel.
        provenance: That of the scan.
    """
    record = provenance.get(GEOMETRY)
    record = record if isinstance(record, Mapping) else {}
    focus, magnification, spread = (
        number(record.get(n)) for n in ("focus_distance_m", "magnification", "uncertainty_m")
    )
    if focus is None or magnification is None:
        return f"near field: Fresnel number {fresnel_number:.3g} of an object pixel"
    length = format_length(focus, 4) if spread is None else f"{format_length(focus, 4)} +- {format_length(spread, 2)}"
    return f"near field: a focus {length} before the sample, magnified {magnification:.4g} times"


def _require_numbers(scan: ScanData) -> None:
    missing = [name for name in NEEDS if getattr(scan, name) is None]
    if missing:
        options = ", ".join(option_name(name) for name in missing)
        raise InputError(scan.source, NEEDS[missing[0]], "none", f"one, which a near-field scan needs: {options}")
