"""Electron scans as their patterns show them, before anything is solved: turned positions, and a disk that moves.

Iterations move positions by what patterns demand, and so find small errors; a turned raster of a crystal has many
places where a pattern fits, and no way there.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ptypinn.data.beam_survey import BeamSurvey, survey_beam
from ptypinn.data.bright_field import BrightField, fit_bright_field
from ptypinn.data.descan import DESCAN, Descan, follows_disk, measure_descan
from ptypinn.data.orientation import rotation_matrix, undo_matrix
from ptypinn.data.probe_candidates import Pattern, complete_mean
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.utils.plain_values import number

SCAN_ROTATION = "scan_rotation"
"""Key of the record of a turn of the positions against the recorded ones."""


class StillDisk(NamedTuple):
    """The bright-field disk of a scan, which does not move with the position by more than its error."""

    mean: Pattern
    """Mean pattern (`complete_mean`)."""
    motion: tuple[Descan, BrightField]
    """`measure_descan` of the scan."""


def straighten_scan(scan: ScanData, still: StillDisk | None = None) -> tuple[ScanData, BeamSurvey | None]:
    """Turn the positions of an electron scan to the axes of the detector, where its patterns show a turn.

    Axes that are flipped or exchanged raise a warning that names the options which put them right: the picture would be
    that of a mirrored sample.

    Args:
        scan: The scan; one of photons is returned as it is.
        still: Its disk, where `follow_disk` has measured it.

    Returns:
        The scan, and the beam that its patterns show; None for one of photons, and without a bright-field disk.
    """
    if scan.particle != "electron" or scan.fresnel_number is not None:
        return scan, None
    bare = scan.replace(probe=None, probe_gauge="relative", truth=None)
    beam = survey_beam(bare, complete_mean(bare) if still is None else still.mean, motion=still and still.motion)
    if beam is None:
        return scan, None
    for sentence in beam.orientation_faults():
        warnings.warn(f"{scan.source}: {sentence}", stacklevel=2)
    if (shown := beam.orientation) is None or not beam.is_turned:
        return scan, beam
    about = [float(value) for value in scan.positions_px.mean(0)]
    record = {"degrees": beam.turn_deg, "error_degrees": shown.rotation_error_deg, "about_px": about}
    return _turn_back(scan, record), beam


def follow_disk(scan: ScanData) -> tuple[ScanData, StillDisk | None]:
    """Return an electron scan whose patterns move with its bright-field disk, where that moves with the position.

    Args:
        scan: The scan; one whose beam is known to move, or whose disk stands still, is returned as it is.

    Returns:
        The scan, and a disk that was found to stand still; None for other scans, and where that cannot be told.
    """
    if scan.particle != "electron" or scan.fresnel_number is not None or scan.beam_px is not None:
        return scan, None
    mean = complete_mean(scan)
    disk = fit_bright_field(mean, scan.good)
    motion = None if disk is None else measure_descan(scan, disk)
    if motion is None or not motion[0].is_large:
        return scan, None if motion is None else StillDisk(mean, motion)
    descan = motion[0]
    provenance = {**scan.provenance, DESCAN: descan.to_record()}
    return scan.replace(beam_px=descan.path_px(scan.positions_px), provenance=provenance), None


def repeat_path(scan: ScanData, recon: Reconstruction) -> ScanData:
    """Return a scan whose beam moves as in a reconstruction of it that follows the disk; the scan for others."""
    if recon.beam_px is None or not follows_disk(recon.provenance) or len(recon.beam_px) != scan.n_patterns:
        return scan
    return scan.replace(beam_px=recon.beam_px, provenance={**scan.provenance, DESCAN: recon.provenance["scan"][DESCAN]})


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
    """Return a scan with its positions turned back by a record of degrees and the place that stays, and with it.

    A truth that they leave is left out.
    """
    matrix, about = rotation_matrix(math.radians(record["degrees"])), np.asarray(record["about_px"], np.float64)
    turned = undo_matrix(scan, matrix, about)
    return turned.replace(provenance={**scan.provenance, SCAN_ROTATION: dict(record)})
