"""The `info` stage: optics, sampling, dose, overlap and doubtful entries of a scan, before anything else."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ptypinn.config.load import InfoConfig
from ptypinn.data.beam_centre import BeamOffset, measure_beam_offset
from ptypinn.data.beam_survey import BeamSurvey, survey_beam
from ptypinn.data.calibration import background_photons
from ptypinn.data.monitor import monitor_record
from ptypinn.data.near_field import GEOMETRY, resolve_geometry
from ptypinn.data.pattern_form import ShadowMotion, describe_shadow, measure_shadow
from ptypinn.data.positions import PositionSurvey, canvas_frame, survey_positions
from ptypinn.data.reception import RECEPTION, describe_reception
from ptypinn.data.scan import ScanData
from ptypinn.data.statistics import PatternSurvey, survey_patterns
from ptypinn.data.survey_record import SURVEY, describe_survey
from ptypinn.errors import InputError
from ptypinn.io.crop import DOUBTS, LEFT_OUT
from ptypinn.io.optics import NAMES
from ptypinn.io.padding import PADDED_FROM
from ptypinn.io.provenance import UNREAD
from ptypinn.physics.optics import equivalent_diameter, mode_photons, power_at_edge

DEFAULTS = InfoConfig()
LENGTHS = "lengths in metres; they are in pixels meanwhile"
MISSING = {
    "probe": ("--probe", "a start for the probe; `reconstruct` and `refine` find one without"),
    "energy_eV": ("--energy-eV", LENGTHS),
    "detector_distance_m": ("--detector-distance-m", LENGTHS),
    "detector_pixel_m": ("--detector-pixel-m", LENGTHS),
}
NUMBERS = ("energy_eV", "wavelength_m", "detector_distance_m", "detector_pixel_m", "pixel_size_m")
SATURATED_PEAK = 50
"""Smaller largest counts coincide by chance."""
SATURATED_SHARE = 0.05
"""Share of the patterns that must have the same largest count before the detector is suspected."""
EDGE_POWER = 1e-3
"""Share of the probe's power at the edge of its array above which the array is too small."""
MIN_OVERLAP = 0.5
MIN_WARNED_OFFSET_PX = 0.75
"""Smallest offset of the patterns, detector pixels, that whole pixels of --centre-px make smaller."""


@dataclass(frozen=True)
class ScanInfo:
    """A look at a scan: its fields and the statistics of patterns, positions and probe."""

    scan: ScanData
    """The scan itself."""
    patterns: PatternSurvey
    """Dose, mean pattern, dead pixels."""
    positions: PositionSurvey
    """Extent and spacing."""
    canvas_shape: tuple[int, int]
    """Height and width of the object canvas, pixels."""
    shadow: ShadowMotion
    """True if the patterns are far-field."""
    beam_offset: BeamOffset
    """Displacement of the mean pattern against the far field of the probe or, without one, the zero frequency."""
    probe_diameter_px: float | None
    """Equivalent diameter of the probe, object pixels."""
    beam: BeamSurvey | None = None
    """The beam of an electron scan, from its bright-field disk; None for other scans."""

    @property
    def lazy(self) -> bool:
        """True if the counts stay on disk."""
        return not isinstance(self.scan.counts, np.ndarray)

    @property
    def mode_photons(self) -> list[float]:
        """Photons per pattern in every probe mode (in the probe's own unit while its scale is arbitrary)."""
        if self.scan.probe is None:
            return []
        return mode_photons(self.scan.probe).tolist()

    @property
    def overlap(self) -> float | None:
        """Linear overlap of neighbouring probes: 1 minus mean spacing over the probe's equivalent diameter."""
        if self.probe_diameter_px is None or self.positions.spacing_px is None:
            return None
        return 1 - self.positions.spacing_px / self.probe_diameter_px

    @property
    def missing(self) -> list[dict[str, str]]:
        """Numbers that the file lacks: name, the option that supplies it, and its use."""
        absent = [name for name in MISSING if getattr(self.scan, name) is None]
        record = {} if self.scan.pixel_size_m is None else dict.fromkeys(NAMES, "the record; the object pixel is known")
        return [
            {"name": name, "option": MISSING[name][0], "needed_for": record.get(name, MISSING[name][1])}
            for name in absent
        ]

    @property
    def saturated_patterns(self) -> int:
        """Patterns that share the largest count of the scan, where so many do that the detector cuts it; else 0."""
        largest = self.patterns.peaks.max()
        sharing = int(np.count_nonzero(self.patterns.peaks == largest))
        clipped = largest >= SATURATED_PEAK and sharing >= max(3, SATURATED_SHARE * self.scan.n_patterns)
        return sharing if clipped else 0

    @property
    def warnings(self) -> list[str]:
        """One sentence for everything about the scan that deserves a second look."""
        left_out = [f"left out: {what}" for what in self.scan.provenance.get(LEFT_OUT, [])]
        left_out += self.scan.provenance.get(DOUBTS, [])
        survey = [*describe_reception(self.scan.provenance.get(RECEPTION, {})), *describe_survey(self.survey)]
        beam = [] if self.beam is None else self.beam.warnings()
        return [*left_out, *survey, *(sentence for wrong, sentence in self._doubts() if wrong), *beam]

    @property
    def survey(self) -> Mapping[str, Any]:
        """Record of the pixels that were masked and the frames that were left out when the scan was read."""
        record = self.scan.provenance.get(SURVEY, {})
        assert isinstance(record, Mapping)
        return record

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and texts for JSON; quantities carry their unit in the name, unknown ones are None."""
        return {**self._scan_dict(), **self._measured_dict(), "missing": self.missing, "warnings": self.warnings}

    def _scan_dict(self) -> dict[str, Any]:
        scan = self.scan
        return {
            "file": scan.source,
            "format": scan.provenance.get("format"),
            "n_patterns": scan.n_patterns,
            "size_px": scan.size,
            "padded_from_px": scan.provenance.get(PADDED_FROM),
            "dtype": str(scan.counts.dtype),
            "lazy": self.lazy,
            **{name: getattr(scan, name) for name in NUMBERS},
            "probe_gauge": None if scan.probe is None else scan.probe_gauge,
            "probe_calibration": scan.provenance.get("probe_calibration"),
            "background_photons": background_photons(scan, scan.background),
            "beam_monitor": dict(monitor_record(scan.provenance)) or None,
            "flux_variation": None if scan.flux is None else float(scan.flux.std()),
            "truth_px": None if scan.truth is None else list(scan.truth.shape),
            "simulated_faults": scan.provenance.get("faults"),
            "unread": list(scan.provenance.get(UNREAD, [])),
            "survey": dict(self.survey),
        }

    def _measured_dict(self) -> dict[str, Any]:
        patterns, positions, shadow = self.patterns, self.positions, self.shadow
        return {
            "near_field": shadow.is_projection,
            "near_field_magnification": shadow.magnification if shadow.is_projection else None,
            "focus_distance_m": self.scan.provenance.get(GEOMETRY, {}).get("focus_distance_m"),
            "photons_per_pattern": {
                name: float(getattr(patterns.sums, name)()) for name in ("min", "mean", "max", "std")
            },
            "largest_count": float(patterns.peaks.max()),
            "saturated_patterns": self.saturated_patterns,
            "zero_fraction": patterns.zero_fraction,
            "masked_pixels": int(np.sum(~self.scan.good)),
            "silent_pixels": int(patterns.silent.sum()),
            "dead_pixels": int(patterns.dead.sum()),
            "beam_offset_px": [self.beam_offset.y_px, self.beam_offset.x_px],
            "extent_px": list(positions.extent_px),
            "canvas_px": list(self.canvas_shape),
            "spacing_px": positions.spacing_px,
            "nearest_neighbour_px": positions.nearest_px,
            "overlap": self.overlap,
            "probe_diameter_px": self.probe_diameter_px,
            "probe_mode_photons": self.mode_photons,
            "beam": None if self.beam is None else self.beam.to_record(),
        }

    def _doubts(self) -> list[tuple[bool, str]]:
        dead, empty = int(self.patterns.dead.sum()), int(np.sum(self.patterns.sums <= 0))
        overlap, span = self.overlap, max(self.positions.extent_px)
        peak, edge = self.patterns.peaks.max(), _edge_power(self.scan)
        return [
            (self.shadow.is_projection and self.scan.fresnel_number is None, describe_shadow(self.shadow)),
            (self.scan.n_patterns > 1 and span < 1, f"positions span {span:.3g} object pixels: check their unit"),
            (self.positions.coincident > 0, f"{self.positions.coincident} positions repeat another one exactly"),
            (
                overlap is not None and overlap < MIN_OVERLAP,
                f"probes overlap by {overlap or 0:.0%} only; 60 % or more is usual",
            ),
            (
                self.scan.fresnel_number is None and self.beam_offset.distance_px >= MIN_WARNED_OFFSET_PX,
                f"{self.beam_offset.describe()}: --centre-px; solvers take the phase ramp that it makes into account",
            ),
            (self.saturated_patterns > 0, f"{self.saturated_patterns} patterns peak at exactly {peak:g}: saturation?"),
            (dead > 0, f"{dead} pixels read zero in every pattern and are not masked"),
            (empty > 0, f"{empty} patterns hold no photon"),
            (edge > EDGE_POWER, f"{edge:.1%} of the probe's power lies at the edge of its array"),
        ]


def info(scan: ScanData, config: InfoConfig = DEFAULTS) -> ScanInfo:
    """Look at a scan; its patterns are read once, a batch at a time.

    Args:
        scan: The scan.
        config: How to look.
    """
    patterns, shadow = survey_patterns(scan, config.batch_size), measure_shadow(scan)
    with contextlib.suppress(InputError):  # a near-field scan whose geometry is not known stays on its pixels
        scan = resolve_geometry(scan, shadow)
    return ScanInfo(
        scan=scan,
        patterns=patterns,
        positions=survey_positions(scan.positions_px),
        canvas_shape=canvas_frame(scan)[1],
        shadow=shadow,
        beam_offset=measure_beam_offset(scan, patterns.mean_pattern),
        probe_diameter_px=None if scan.probe is None else equivalent_diameter(scan.probe),
        beam=survey_beam(scan, patterns.mean_pattern, config.batch_size),
    )


def _edge_power(scan: ScanData) -> float:
    return 0.0 if scan.probe is None else power_at_edge(scan.probe)
