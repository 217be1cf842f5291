"""Depth of a thick sample: division into slices, their spacing in metres and in Fresnel numbers, depth of field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Complex64, Float64

from ptypinn.config.shared import option_name
from ptypinn.data.positions import canvas_frame, canvas_positions
from ptypinn.data.reconstruction import Reconstruction, SolverResult
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.physics.optics import compute_fresnel_number, frequency_to_tilt, tilt_to_frequency
from ptypinn.utils.number_format import format_length
from ptypinn.utils.plain_values import number

SLICES = "slices"
"""Key of the stack in the provenance of a reconstruction."""
SLICE_UNCERTAINTY = "slice_uncertainty"
"""Key of the expected error of every slice, in the record of the uncertainty."""
THIN = {"number": 1, "chosen": True}
"""Record of a sample that was found to be thin."""
OF_PHASE_ALONE = "transmission", "depth_variation", "depth_deviance", "holds_probe"
"""Entries in the record of a stack of phase alone that complex slices do not have."""
DEPTH_OF_FIELD = 5.2
"""Depth of field in squares of the resolution over the wavelength (Tsai et al., Opt. Express 24, 29089, 2016)."""
FIELD_FRESNEL_NUMBER = 1 / DEPTH_OF_FIELD
"""Fresnel number of an object pixel over the depth of field."""
NEEDS = {"pixel_size_m": "object pixel", "energy_eV": "energy"}
"""Numbers without which a spacing in metres is of no use, and their names."""

Gaps = Float64[np.ndarray, " gap"]


def compute_depth_of_field(scan: ScanData) -> float | None:
    """Return the depth of field at a resolution of one object pixel, metres; None where the optics are unknown."""
    if scan.pixel_size_m is None or scan.wavelength_m is None:
        return None
    return DEPTH_OF_FIELD * scan.pixel_size_m**2 / scan.wavelength_m


def require_optics(scan: ScanData, need: str) -> None:
    """Raise `InputError` where the object pixel or the energy are unknown, which something needs."""
    missing = [name for name in NEEDS if getattr(scan, name) is None]
    if missing:
        options = ", ".join(option_name(name) for name in missing)
        raise InputError(scan.source, NEEDS[missing[0]], "none", f"one, which {need} needs: {options}")


def compute_gaps(scan: ScanData, spacing_m: Sequence[float]) -> Gaps:
    """Return the Fresnel numbers of an object pixel over gaps.

    Args:
        scan: The scan.
        spacing_m: Distances between slices, metres.

    Raises:
        InputError: Where pixel or energy are unknown, or a distance is too long for patterns of this size.
    """
    require_optics(scan, "a spacing of slices")
    assert scan.pixel_size_m is not None
    assert scan.wavelength_m is not None
    numbers = [compute_fresnel_number(scan.pixel_size_m, spacing, scan.wavelength_m) for spacing in spacing_m]
    if min(numbers) * scan.size < 1:
        limit = scan.size * scan.pixel_size_m**2 / scan.wavelength_m
        actual = f"{format_length(max(spacing_m), 3)} in {scan.size} pixels of {format_length(scan.pixel_size_m, 3)}"
        expected = f"at most {format_length(limit, 3)}, for longer ones are not sampled"
        raise InputError("--slice-spacing-m", "", actual, expected)
    return np.array(numbers)


def compute_tilt(scan: ScanData, tilt_mrad: Sequence[float]) -> Float64[np.ndarray, " 2"]:
    """Return a tilt of the sample in cycles per object pixel.

    Args:
        scan: The scan.
        tilt_mrad: Tilt (y, x), milliradians.

    Raises:
        InputError: Where pixel or energy are unknown.
    """
    require_optics(scan, "a tilt of the sample")
    assert scan.pixel_size_m is not None
    assert scan.wavelength_m is not None
    return tilt_to_frequency(tilt_mrad, scan.pixel_size_m, scan.wavelength_m)


def measure_tilt(scan: ScanData, tilt: Float64[np.ndarray, " 2"] | Sequence[float]) -> list[float] | None:
    """Return a tilt (y, x) in milliradians; None where pixel or energy are unknown."""
    if scan.pixel_size_m is None or scan.wavelength_m is None:
        return None
    return frequency_to_tilt(tilt, scan.pixel_size_m, scan.wavelength_m)


def require_thin(scan: ScanData) -> None:
    """Raise `InputError` for a scan with gaps between slices, which belong to a reconstruction or its options."""
    if scan.gap_fresnel_numbers is not None:
        actual = f"{len(scan.gap_fresnel_numbers)} gaps between slices"
        raise InputError(scan.source, "gap_fresnel_numbers", actual, "none; --slices, or slices of --initial")


def measure_spacing(scan: ScanData, gaps: Gaps) -> list[float] | None:
    """Return the distances between slices, metres; None where pixel or energy are unknown."""
    if scan.pixel_size_m is None or scan.wavelength_m is None:
        return None
    return [float(scan.pixel_size_m**2 / (scan.wavelength_m * value)) for value in gaps]


def describe_stack(scan: ScanData, gaps: Gaps) -> dict[str, Any]:
    """Return number, spacing and depth of field of slices for the provenance of a reconstruction."""
    spacing, depth = measure_spacing(scan, gaps), compute_depth_of_field(scan)
    record: dict[str, Any] = {"number": len(gaps) + 1}
    if spacing is not None and depth is not None:
        record |= {"spacing_m": spacing, "depth_of_field_m": depth}
    if scan.sample_tilt is not None and (tilt := measure_tilt(scan, scan.sample_tilt)) is not None:
        record["tilt_mrad"] = tilt
    return record


def describe_slices(record: Mapping[str, Any]) -> str:
    """Describe a stack in words: its number of slices, their spacing, the depth of field, and the tilt.

    >>> describe_slices({"number": 2, "spacing_m": [5e-6], "depth_of_field_m": 4e-6, "chosen": True})
    'thick: 2 slices, 5 µm apart (depth of field 4 µm), as many as held-out pixels show'
    >>> describe_slices({"number": 9, "spacing_m": [1e-9] * 8, "transmission": "phase", "depth_variation": 0.0})
    'thick: 9 slices of phase alone, 1 nm apart; all are equal'
    >>> describe_slices({"number": 2, "tilt_mrad": [3.0, -4.0], "tilt_uncertainty_mrad": 0.4})
    'thick: 2 slices; tilted by 5 +- 0.4 mrad against the beam, 3 along y and -4 along x'
    """
    count, depth = number(record.get("number")), number(record.get("depth_of_field_m"))
    spacing = record.get("spacing_m")
    if count is None:
        return "unknown"
    if count == 1:
        return "thin: held-out pixels show no second slice"
    is_phase = record.get("transmission") == "phase"
    words = f"thick: {count:.0f} slices" + (" of phase alone" if is_phase else "")
    if isinstance(spacing, list) and spacing and all(number(value) is not None for value in spacing):
        lengths = sorted({format_length(float(value), 3) for value in spacing})
        words += f", {lengths[0]} apart" if len(lengths) == 1 else f", {' and '.join(lengths)} apart"
        spread = number(record.get("spacing_uncertainty_m"))
        words += f" (+- {format_length(spread, 2)})" if spread is not None else ""
    words += f" (depth of field {format_length(float(depth), 3)})" if depth is not None else ""
    if not is_phase:
        words += ", as many as held-out pixels show" if record.get("chosen") else ""
        return words + _describe_tilt(record)
    words += ", of the thickness that the counts show" if record.get("chosen") else ""
    words += _describe_changes(number(record.get("depth_variation"))) + _describe_tilt(record)
    return words + ("; the probe was held, as a free one fits noise" if record.get("holds_probe") is True else "")


def _describe_tilt(record: Mapping[str, Any]) -> str:
    tilt, spread = record.get("tilt_mrad"), number(record.get("tilt_uncertainty_mrad"))
    y, x = map(number, tilt) if isinstance(tilt, list) and len(tilt) == 2 else (None, None)
    if y is None or x is None:
        return ""
    error = f" +- {spread:.2g}" if spread is not None else ""
    return f"; tilted by {np.hypot(y, x):.3g}{error} mrad against the beam, {y:.3g} along y and {x:.3g} along x"


def _describe_changes(variation: float | None) -> str:
    if variation is None:
        return ""
    return f"; their phases change by {100 * variation:.2g} % along the beam" if variation else "; all are equal"


def warn_of_thin_slices(record: Mapping[str, Any]) -> list[str]:
    """Return a sentence where slices are nearer than the depth of field lets them be told apart."""
    spacing, depth = record.get("spacing_m"), number(record.get("depth_of_field_m"))
    count = number(record.get("number"))
    if not isinstance(spacing, list) or not spacing or count is None or record.get("transmission") == "phase":
        return []
    thickness = sum(value for value in map(number, spacing) if value is not None)
    told_apart = thickness / depth + 1.5 if depth is not None and depth > 0 else np.inf
    if not told_apart < count + 1:  # many, or no number
        return []
    useful = int(told_apart)
    if useful >= count or depth is None:
        return []
    return [
        f"{count:.0f} slices over {format_length(thickness, 3)} are more than the depth of field of "
        f"{format_length(depth, 3)} tells apart, which is {useful}: neighbouring slices share what they show."
    ]


def slice_depths(provenance: Mapping[str, Any], count: int) -> list[float] | None:
    """Return the distance of every slice from the first one, metres; None where it is not on record.

    Args:
        provenance: That of a reconstruction.
        count: Its number of slices.

    >>> slice_depths({"slices": {"spacing_m": [1.0, 2.0]}}, 3)
    [0.0, 1.0, 3.0]
    """
    record = provenance.get(SLICES)
    spacing = record.get("spacing_m") if isinstance(record, Mapping) else None
    if not isinstance(spacing, list) or len(spacing) != count - 1 or any(number(value) is None for value in spacing):
        return None
    return [0.0, *np.cumsum(np.asarray(spacing, float)).tolist()]


def slice_uncertainties(recon: Reconstruction) -> list[float]:
    """Return the expected error of every slice of a reconstruction; none where it is not on record."""
    record = recon.provenance.get("trust")
    values = record.get(SLICE_UNCERTAINTY) if isinstance(record, Mapping) else None
    if not isinstance(values, list) or recon.slices is None or len(values) != len(recon.slices):
        return []
    errors = [float(value) for value in values if number(value) is not None]
    return errors if len(errors) == len(values) else []


def restack(
    sample: Complex64[np.ndarray, "*slice height width"], number: int
) -> Complex64[np.ndarray, "_ height width"]:
    """Divide a sample evenly into slices: layers of equal thickness whose product is the same.

    Args:
        sample: Transmission, (height, width), or that of slices of equal thickness.
        number: Number of slices.

    >>> restack(np.full((2, 2), 0.25, np.complex64), 2).real[:, 0, 0].tolist()
    [0.5, 0.5]
    """
    slices = sample.reshape(-1, *sample.shape[-2:])
    edges, cuts = (np.arange(count + 1) / count for count in (len(slices), number))
    overlap = np.minimum(cuts[1:, None], edges[1:]) - np.maximum(cuts[:-1, None], edges[:-1])
    shares = np.clip(overlap, 0, None) * len(slices)
    logarithm = np.log(np.maximum(np.abs(slices), 1e-6)) + 1j * np.stack([unwrap_phase(image) for image in slices])
    return np.exp(np.einsum("ns,syx->nyx", shares, logarithm)).astype(np.complex64)


def flat_stack(scan: ScanData, margin: int = 0) -> Reconstruction:
    """Return slices of vacuum behind the probe of a scan, or a thin object where it has no gaps between slices.

    Args:
        scan: Scan with a probe.
        margin: Pixels to add on every side of the canvas.
    """
    gaps = scan.gap_fresnel_numbers
    origin, extent = canvas_frame(scan, margin)
    slices = None if gaps is None else np.ones((len(gaps) + 1, *extent), np.complex64)
    result = SolverResult(
        object=np.ones(extent, np.complex64),
        illumination=np.zeros(extent, np.float32),
        probe=scan.require_probe(),
        positions_px=canvas_positions(scan, margin),
        origin_px=origin,
        slices=slices,
    )
    return result.reconstruction(scan, {})


def unwrap_phase(image: Complex64[np.ndarray, "height width"]) -> Float64[np.ndarray, "height width"]:
    """Return the phase without jumps by a turn, around that of the mean, radians."""
    middle = np.angle(image.sum()) if image.sum() else 0.0
    phase = np.angle(image * np.exp(-1j * middle)).astype(np.float64)
    if any(np.abs(np.diff(phase, axis=axis)).max(initial=0) > np.pi for axis in range(2)):
        from skimage.restoration import unwrap_phase as unwrap

        phase = np.asarray(unwrap(phase))
    return phase + middle


def project_phase(slices: Complex64[np.ndarray, "slice height width"]) -> Float64[np.ndarray, "height width"]:
    """Return the phase of all slices together, radians: the sum of theirs, each without jumps by a turn.

    That of their product jumps where it exceeds half a turn, as that of a thick sample does.

    >>> round(float(project_phase(np.full((3, 4, 4), np.exp(2j), np.complex64))[0, 0]), 5)
    6.0
    """
    total = np.zeros(slices.shape[1:])
    for image in slices:
        total += unwrap_phase(image)
    return total
