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

from ptypinn.data.beam_centre import mean_pattern
from ptypinn.data.beam_survey import survey_beam
from ptypinn.data.probe_candidates import complete_pattern
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.utils.plain_values import number

SCAN_ROTATION = "scan_rotation"
"""Key of the record of a turn of the positions against the recorded ones."""


def straighten_scan(scan: ScanData) -> ScanData:
    """Return an electron scan with its positions turned to the axes of the detector, where its patterns show a turn.

    Axes that are flipped or exchanged raise a warning that names the options which put them right: the picture would be
    that of a mirrored sample.

    Args:
        scan: The scan; one of photons is returned as it is.
    """
    if scan.particle != "electron" or scan.fresnel_number is not None:
        return scan
    bare = scan.replace(probe=None, probe_gauge="relative", truth=None)
    beam = survey_beam(bare, complete_pattern(mean_pattern(bare), scan.good))
    if beam is None:
        return scan
    for sentence in beam.orientation_faults():
        warnings.warn(f"{scan.source}: {sentence}", stacklevel=2)
    if (shown := beam.orientation) is None or not beam.is_turned:
        return scan
    about = [float(value) for value in scan.positions_px.mean(0)]
    record = {"degrees": beam.turn_deg, "error_degrees": shown.rotation_error_deg, "about_px": about}
    return _turn_back(scan, record)


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
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    positions_px = (scan.positions_px - about) @ turn + about
    return scan.replace(positions_px=positions_px, provenance={**scan.provenance, SCAN_ROTATION: dict(record)})
