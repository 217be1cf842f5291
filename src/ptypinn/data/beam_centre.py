"""Beam centre: the offset of the patterns against the far field of the probe.

An offset of the detector, or a wedge-shaped sample, multiplies every exit wave by a phase ramp. It is an exact freedom
of the problem: `(P exp(i k r), O)` and `(P, O exp(i k r))` predict the same counts. Solvers and networks see the object
without the ramp, on a probe that holds it. A known probe gives the ramp back to the object afterwards; one that was
solved for keeps it, and the object has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Complex64, Float64

from ptypinn.data.descan import follows_disk
from ptypinn.data.moved_frames import group_shifts, roll_frames
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.physics.optics import far_field_intensity

MAX_PATTERNS = 1024
"""Patterns of which the mean is taken: evenly spaced over the scan."""
MIN_OFFSET_PX = 0.25
"""Smaller offsets are left in the object: slow phases of the sample and counting noise move the centre as far."""
OFFSET_RECORD = ("beam_offset_px", "phase_ramp_rad_per_px", "ramp_in")
"""Names of an offset on record."""
MAX_SILENT = 0.05
"""Largest fraction of the far field on pixels without a count in any pattern, of which a part of the detector may be
dead and not masked."""


@dataclass(frozen=True)
class BeamOffset:
    """Displacement of the patterns against the far field of the probe, and the phase ramp that explains it."""

    y_px: float = 0.0
    """Along the rows, detector pixels."""
    x_px: float = 0.0
    """Along the columns, detector pixels."""
    size: int = 1
    """Edge N of a pattern, pixels."""

    @property
    def distance_px(self) -> float:
        """Length of the displacement, detector pixels."""
        return float(np.hypot(self.y_px, self.x_px))

    @property
    def ramp(self) -> tuple[float, float]:
        """Slope (y, x) of the phase ramp, radians per object pixel."""
        return 2 * np.pi * self.y_px / self.size, 2 * np.pi * self.x_px / self.size

    def describe(self) -> str:
        """Return the displacement as a clause, with the pixel of the centre.

        >>> BeamOffset(0.0, 1.04, 64).describe()
        'the patterns are centred 1.04 detector pixels beside the zero frequency, at row 32 and column 33'
        """
        row, column = (f"{self.size // 2 + round(value, 1):g}" for value in (self.y_px, self.x_px))
        place = f"{self.distance_px:.3g} detector pixels beside the zero frequency"
        return f"the patterns are centred {place}, at row {row} and column {column}"

    def to_record(self) -> dict[str, Any]:
        """Return the displacement as plain values for the provenance."""
        return {"beam_offset_px": [self.y_px, self.x_px], "phase_ramp_rad_per_px": list(self.ramp)}


def measure_beam_offset(scan: ScanData, mean: Float64[np.ndarray, "y x"] | None = None) -> BeamOffset:
    """Return the displacement of the mean pattern against the far field of the probe, or of the zero frequency.

    Centres are circular means, which follow a cyclic shift of the patterns exactly, however large: the phase of the
    first Fourier coefficient. Without a probe the reference is the zero frequency at N//2. Where much of the far field
    falls on pixels that never count, which shift the centre as a dead part of the detector does, no offset is measured.

    Args:
        scan: The scan; its probe may be of any scale.
        mean: Mean pattern on good pixels; taken over some of the patterns where it is not at hand.
    """
    mean, reference = mean_pattern(scan) if mean is None else mean, _reference_pattern(scan)
    diffracted = mean if scan.background is None else np.where(scan.good, np.maximum(mean - scan.background, 0), 0)
    y, x = (wrap_distance(d, scan.size) for d in circular_centre(diffracted) - circular_centre(reference))
    moved = np.roll(reference, (round(y), round(x)), (0, 1))
    hidden = moved[scan.good & (mean == 0)].sum() > MAX_SILENT * moved.sum()
    return BeamOffset(size=scan.size) if hidden else BeamOffset(y, x, scan.size)


def estimate_ramp(scan: ScanData) -> BeamOffset:
    """Return the displacement that a solver takes out of the object: none below `MIN_OFFSET_PX`."""
    offset = measure_beam_offset(scan)
    return offset if offset.distance_px >= MIN_OFFSET_PX else BeamOffset(size=scan.size)


def move_ramp_to_probe(scan: ScanData, offset: BeamOffset) -> ScanData:
    """Return a scan whose probe holds the phase ramp of the patterns, so that its object has none.

    Args:
        scan: Scan with a probe, which may vary.
        offset: Displacement of its patterns.
    """
    if not offset.distance_px:
        return scan
    images = scan.probe_variation
    return scan.replace(
        probe=add_phase_ramp(scan.require_probe(), offset.ramp),
        probe_variation=None if images is None else add_phase_ramp(images, offset.ramp),
    )


def remove_ramp(recon: Reconstruction, offset: BeamOffset) -> Reconstruction:
    """Return a reconstruction without the phase ramp in its object; its probe holds it."""
    return _with_ramp(recon, tuple(-slope for slope in offset.ramp)) if offset.distance_px else recon


def restore_ramp(recon: Reconstruction, offset: BeamOffset, *, probe_solved: bool = False) -> Reconstruction:
    """Return a reconstruction with the phase ramp on record, and in its object where the probe is known.

    Args:
        recon: Reconstruction whose probe holds the ramp.
        offset: Displacement of the patterns.
        probe_solved: The probe was solved for, and keeps the ramp; without, this is the inverse of `remove_ramp`.
    """
    if not offset.distance_px:
        return recon
    slope = tuple(-value for value in mean_slope(recon)) if probe_solved else offset.ramp
    if probe_solved:  # what the object still has of the ramp is the probe's, too
        rest_y, rest_x = (value * offset.size / (2 * np.pi) for value in slope)
        offset = BeamOffset(offset.y_px - rest_y, offset.x_px - rest_x, offset.size)
    record = {**offset.to_record(), "ramp_in": "probe" if probe_solved else "object"}
    return replace(_with_ramp(recon, slope), provenance=record_experiment(recon, record))


def move_ramp_behind(scan: ScanData, recon: Reconstruction, offset: BeamOffset) -> tuple[ScanData, Reconstruction]:
    """Return a scan whose patterns are displaced behind the sample, and a reconstruction without the ramp.

    A beam that is displaced on the detector alone passes straight through a thick sample; a ramp in its probe does not.

    Args:
        scan: The scan, its probe without the ramp.
        recon: Reconstruction whose probe holds the ramp.
        offset: Displacement of the patterns.
    """
    if not offset.distance_px:
        return scan, recon
    opposite, images = (-offset.ramp[0], -offset.ramp[1]), recon.probe_variation
    moved = replace(
        recon,
        probe=add_phase_ramp(recon.probe, opposite),
        probe_variation=None if images is None else add_phase_ramp(images, opposite),
        provenance=record_experiment(recon, {**offset.to_record(), "ramp_in": "beam"}),
    )
    return _displace_beam(scan, offset), moved


def move_beam_behind(scan: ScanData) -> tuple[ScanData, BeamOffset]:
    """Return a scan whose beam is displaced behind a thick sample, as far as its patterns are, and that offset.

    Args:
        scan: Scan with a probe that has no ramp.
    """
    offset = estimate_ramp(scan)
    if not offset.distance_px:
        return scan, offset
    return _displace_beam(scan, offset), offset


def _displace_beam(scan: ScanData, offset: BeamOffset) -> ScanData:
    """Return a scan all of whose patterns are displaced on the detector, beside the motion that they have."""
    path = np.zeros((scan.n_patterns, 2)) if scan.beam_px is None else scan.beam_px
    return scan.replace(beam_px=path + np.array([offset.y_px, offset.x_px]))


def drop_false_offset(recon: Reconstruction, scan: ScanData) -> Reconstruction:
    """Return a reconstruction without an offset on record that its background had caused.

    Args:
        recon: The reconstruction, its ramp restored.
        scan: The scan with the background of the reconstruction.
    """
    if recon.background is None or estimate_ramp(scan).distance_px:
        return recon
    record = recon.provenance.get("experiment", {})
    rest = {name: value for name, value in record.items() if name not in OFFSET_RECORD}
    provenance = {name: value for name, value in recon.provenance.items() if name != "experiment"}
    return replace(recon, provenance={**provenance, "experiment": rest} if rest else provenance)


def flatten_curvature(recon: Reconstruction) -> Reconstruction:
    """Return a reconstruction whose beam moves so that its object has no curved phase; it predicts the same counts.

    Only for motion that is slow in time, see `physics.slow_freedoms`, or that of the disk of an electron scan.

    Args:
        recon: Reconstruction with the motion of the beam.
    """
    import torch

    from ptypinn.physics.slow_freedoms import curved_phase, fit_curvature, is_slow, linear_motions

    assert recon.beam_px is not None
    size, places = recon.probe.shape[-1], recon.positions_px + recon.probe.shape[-1] // 2
    centre, middle = places.mean(0), (float(size // 2), float(size // 2))
    motions = linear_motions(torch.from_numpy(places))
    free = is_slow(motions) if not follows_disk(recon.provenance) else torch.ones(len(motions), dtype=torch.bool)
    mask = torch.from_numpy(recon.well_illuminated())
    matrix = fit_curvature(torch.from_numpy(recon.object), mask, free, size)
    curved = curved_phase(matrix, (size, size), middle, size).numpy().astype(np.complex64)
    images = recon.probe_variation
    flat = curved_phase(-matrix, recon.object.shape, (float(centre[0]), float(centre[1])), size).numpy()
    return replace(
        recon,
        object=np.where(recon.illumination > 0, recon.object * flat, recon.object).astype(np.complex64),
        probe=recon.probe * curved,
        probe_variation=None if images is None else images * curved,
        beam_px=recon.beam_px + (places - centre) @ matrix.numpy(),
    )


def mean_slope(recon: Reconstruction) -> tuple[float, float]:
    """Return the mean slope (y, x) of the phase on well-illuminated pixels, radians per pixel, wrapped."""
    return measure_slope(recon.object, recon.well_illuminated())


def measure_slope(
    image: Complex64[np.ndarray, "height width"], mask: Bool[np.ndarray, "height width"]
) -> tuple[float, float]:
    """Return the mean slope (y, x) of the phase of an image on the pixels of a mask, radians per pixel, wrapped."""
    canvas = image.astype(np.complex128)
    down = (canvas[1:] * canvas[:-1].conj())[mask[1:] & mask[:-1]]
    across = (canvas[:, 1:] * canvas[:, :-1].conj())[mask[:, 1:] & mask[:, :-1]]
    return float(np.angle(down.sum())), float(np.angle(across.sum()))


def record_experiment(recon: Reconstruction, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the provenance of a reconstruction with more on record about the experiment."""
    return {**recon.provenance, "experiment": {**recon.provenance.get("experiment", {}), **record}}


def mean_pattern(scan: ScanData) -> Float64[np.ndarray, "y x"]:
    """Return the mean pattern of up to `MAX_PATTERNS` frames throughout a scan, 0 at bad pixels.

    Frames of a beam that moves are brought back to its mean place by whole pixels.
    """
    index = np.unique(np.linspace(0, scan.n_patterns - 1, min(scan.n_patterns, MAX_PATTERNS)).astype(int))
    if scan.beam_px is not None:
        return _mean_of_moved(scan, index)
    total = np.zeros((scan.size, scan.size))
    for part in np.array_split(index, -(-len(index) // 64)):
        total += np.asarray(scan.counts[part]).sum(0, dtype=np.float64)
    return np.where(scan.good, total, 0.0) / len(index)


def _mean_of_moved(scan: ScanData, index: np.ndarray) -> Float64[np.ndarray, "y x"]:
    """Return the mean of frames that are brought back to the mean place of the beam, where some were measured."""
    assert scan.beam_px is not None
    total, times = np.zeros((2, scan.size, scan.size))
    path = scan.beam_px[index]
    for first in range(0, len(index), 64):
        part = slice(first, min(first + 64, len(index)))
        frames = np.where(scan.good, scan.counts[index[part]], 0)
        for shift, chosen in group_shifts(path, part):
            total += roll_frames(frames[chosen], -shift).sum(0, dtype=np.float64)
            times += chosen.sum() * roll_frames(scan.good[None], -shift)[0]
    return np.where(scan.good, total / np.maximum(times, 1), 0.0)


def add_phase_ramp(
    fields: Complex64[np.ndarray, "*batch y x"], slope: tuple[float, float]
) -> Complex64[np.ndarray, "*batch y x"]:
    """Multiply fields by `exp(i slope . r)`, r counted from pixel (0, 0).

    Args:
        fields: Fields, (..., y, x).
        slope: Slope (y, x), radians per pixel.

    >>> add_phase_ramp(np.ones((1, 3), np.complex64), (0.0, np.pi / 2)).round(3).tolist()
    [[(1+0j), 1j, (-1+0j)]]
    """
    y, x = (np.exp(1j * s * np.arange(n)) for s, n in zip(slope, fields.shape[-2:], strict=True))
    return (fields * y[:, None] * x).astype(np.complex64)


def _with_ramp(recon: Reconstruction, slope: tuple[float, ...]) -> Reconstruction:
    """Add a ramp to the illuminated object, and take it from the probe."""
    canvas = np.where(recon.illumination > 0, add_phase_ramp(recon.object, (slope[0], slope[1])), recon.object)
    opposite = -slope[0], -slope[1]
    images = recon.probe_variation
    return replace(
        recon,
        object=canvas,
        probe=add_phase_ramp(recon.probe, opposite),
        probe_variation=None if images is None else add_phase_ramp(images, opposite),
    )


def _reference_pattern(scan: ScanData) -> Float64[np.ndarray, "y x"]:
    """Return the far field of the probe on good pixels; without a probe, a point at the zero frequency."""
    if scan.probe is None:
        point = np.zeros((scan.size, scan.size))
        point[scan.size // 2, scan.size // 2] = 1.0
        return point
    return np.where(scan.good, far_field_intensity(scan.probe), 0.0)


def wrap_distance(distance: float, size: int) -> float:
    """Return the distance of smallest length on a circle of some circumference, in its unit."""
    return float((distance + size / 2) % size - size / 2)


def circular_centre(image: Float64[np.ndarray, "y x"]) -> Float64[np.ndarray, " 2"]:
    """Return the centre (y, x) of an image whose edges meet: the phase of its first Fourier coefficients, pixels."""
    turn = np.exp(2j * np.pi * np.arange(len(image)) / len(image))
    coefficients = np.array([(image.sum(1) * turn).sum(), (image.sum(0) * turn).sum()])
    return np.angle(coefficients) % (2 * np.pi) * len(image) / (2 * np.pi)
