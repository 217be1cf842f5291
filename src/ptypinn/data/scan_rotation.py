"""Electron scans that are turned against the detector: positions as the patterns show them, before anything is solved.

Iterations move positions by what patterns demand, and so find small errors; a turned raster of a crystal has many
places where a pattern fits, and no way there.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from ptypinn.data.beam_survey import BeamSurvey, survey_beam
from ptypinn.data.orientation import rotation_matrix
from ptypinn.data.probe_candidates import complete_mean
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.utils.plain_values import number

SCAN_ROTATION = "scan_rotation"
"""Key of the record of a turn of the positions against the recorded ones."""


def straighten_scan(scan: ScanData) -> tuple[ScanData, BeamSurvey | None]:
    """Turn the positions of an electron scan to the axes of the detector, where its patterns show a turn.

    Axes that are flipped or exchanged raise a warning that names the options which put them right: the picture would be
    that of a mirrored sample.

    Args:
        scan: The scan; one of photons is returned as it is.

    Returns:
        The scan, and the beam that its patterns show; None for one of photons, and without a bright-field disk.
    """
    if scan.particle != "electron" or scan.fresnel_number is not None:
        return scan, None
    bare = scan.replace(probe=None, probe_gauge="relative", truth=None)
    beam = survey_beam(bare, complete_mean(bare))
    if beam is None:
        return scan, None
    for sentence in beam.orientation_faults():
        warnings.warn(f"{scan.source}: {sentence}", stacklevel=2)
    if (shown := beam.orientation) is None or not beam.is_turned:
        return scan, beam
    about = [float(value) for value in scan.positions_px.mean(0)]
    record = {"degrees": beam.turn_deg, "error_degrees": shown.rotation_error_deg, "about_px": about}
    return _turn_back(scan, record), beam


def repeat_turn(scan: ScanData, recon: Reconstruction) -> ScanData:
    """Return a scan with the turn of its positions that a reconstruction of it has on record; the scan for none."""
    origin = recon.provenance.get("scan")
    record = origin.get(SCAN_ROTATION) if isinstance(origin, Mapping) else None
    if not isinstance(record, Mapping) or SCAN_ROTATION in scan.provenance:
        return scan
    about = record.get("about_px")
    if not isinstance(about, list) or len(about) != 2 or None in map(number, (record.get("degrees"), *about)):
        return scan
    return _turn_back(scan, record)


def _turn_back(scan: ScanData, record: Mapping[str, Any]) -> ScanData:
    """Return a scan with its positions turned back by a record of degrees and the place that stays, and with it."""
    angle, about = math.radians(record["degrees"]), np.asarray(record["about_px"], np.float64)
    positions_px = (scan.positions_px - about) @ rotation_matrix(angle) + about
    return scan.replace(positions_px=positions_px, provenance={**scan.provenance, SCAN_ROTATION: dict(record)})
