"""Electron scans that are turned against the detector: positions as the patterns show them, before anything is solved.

Iterations move positions by what patterns demand, and so find small errors; a turned raster of a crystal has many
places where a pattern fits, and no way there.
"""

from __future__ import annotations

import warnings

from ptypinn.data.beam_centre import mean_pattern
from ptypinn.data.beam_survey import SCAN_ROTATION, survey_beam, turn_back
from ptypinn.data.probe_candidates import complete_pattern
from ptypinn.data.scan import ScanData


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
    turned = turn_back(scan.positions_px, record)
    return scan.replace(positions_px=turned, provenance={**scan.provenance, SCAN_ROTATION: record})
