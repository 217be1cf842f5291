"""What a reconstruction says about its experiment: the faults that it names, their sizes, and the true ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from ptypinn.data.calibration import measure_fraction
from ptypinn.data.descan import DESCAN
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.data.survey_record import SURVEY
from ptypinn.metrics.position_errors import measure_position_errors
from ptypinn.physics.experiment import aberrate_probe
from ptypinn.physics.probe_variation import measure_change
from ptypinn.report.text.experiment import experiment_record
from truth_comparison import round_digits

MAX_SIZE_ERROR = 0.2
"""Largest error of a size, as a fraction of the true one."""
MIN_OFFSET_PX = 0.3
"""Offset of the beam that is named, detector pixels."""
POSITIONS = {"positions", "drift", "affine", "rotation"}
TERM_OF = {
    **dict.fromkeys(POSITIONS, "positions"),
    **{"motion": "modes", "coherence": "modes", "point_spread": "point_spread", "probe_variation": "probe_variation"},
    **{"flux": "flux", "flux_drift": "flux", "background": "background", "descan": "beam"},
    "descan_linear": "descan",
    **{"beam_offset": "offset", "ramp": "offset", "saturation": "saturation", "hot_pixels": "masked pixels"},
    **{"cosmic_rays": "cosmic rays", "empty_frames": "frames left out", "repeated_frames": "frames left out"},
}
"""What a reconstruction names, by the fault that was put in."""
COMPANIONS = {
    "saturation": {"masked pixels"},
    "modes": {"positions"},
    "probe_variation": {"positions"},
    "beam": {"offset"},
    "descan": {"offset"},
}
"""What is right to name as well: positions in the middle of a motion, a mean tilt of the probe or of the beam, and
pixels that saturate in many patterns."""


def compare_claims(recon: Reconstruction, simulated: ScanData, blind: ScanData) -> dict[str, Any]:
    """Return what is named and was put in (claimed size, true size or null), what was missed, and what is false.

    Args:
        recon: Reconstruction of `blind`.
        simulated: The scan with its true values, all frames and readings as they were simulated.
        blind: The scan without them, as it was read: without the frames and pixels that are no measurement.
    """
    claimed, true = read_claims(recon), true_sizes(simulated, blind)
    right = set(true).union(*(COMPANIONS.get(name, set()) for name in true))
    return {
        "named": {name: [_round(claimed[name]), _round(size)] for name, size in true.items() if name in claimed},
        "missed": sorted(set(true) - set(claimed)),
        "falsely_named": sorted(set(claimed) - right),
    }


def read_claims(recon: Reconstruction) -> dict[str, float]:
    """Return the size of everything that a reconstruction names as corrected, masked or left out."""
    record, info = experiment_record(recon), recon.provenance.get("scan", {})
    sizes = {name: term["size"] for name, term in record.items() if isinstance(term, Mapping) and term.get("corrected")}
    offset = np.hypot(*record.get("beam_offset_px", (0.0, 0.0)))
    survey = info.get(SURVEY, {})
    counted = {
        "offset": offset if offset >= MIN_OFFSET_PX else 0,
        "descan": info.get(DESCAN, {}).get("size_px") or 0,
        "saturation": survey.get("saturation_level") or 0,
        "masked pixels": survey.get("masked_pixels", 0),
        "cosmic rays": survey.get("cosmic_rays", {}).get("readings", 0),
        "frames left out": len(survey.get("frames_left_out", ())),
    }
    return {**sizes, **{name: float(size) for name, size in counted.items() if size}}


def true_sizes(simulated: ScanData, blind: ScanData) -> dict[str, float | None]:
    """Return the true size of everything that differs from an ideal experiment; None where a fault has none.

    Sizes are in the units of the claims; motion has none as a fraction of photons in further modes.

    Args:
        simulated: The scan as it was simulated.
        blind: The same as it was read, without its true values.
    """
    true = simulated.experiment
    if true is None:
        return {}
    left_out = true.empty_frames, true.repeated_frames
    measured: dict[str, Callable[[], float | None]] = {
        "positions": lambda: measure_position_errors(simulated.positions_px, true.positions_px).rms_px,
        "modes": lambda: _mode_fraction(true.probe) if len(true.probe) > 1 else None,
        "point_spread": lambda: float(true.faults["point_spread"]),
        "probe_variation": lambda: _varying_fraction(true.probe, true.aberrations_rad),
        "flux": lambda: None if true.flux is None else float(true.flux.std() / true.flux.mean()),
        "background": lambda: None if true.background is None else measure_fraction(blind, np.float32(true.background)),
        "beam": lambda: None if true.beam_px is None else float(np.sqrt(true.beam_px.var(0).mean())),
        "descan": lambda: float(true.faults["descan_linear"]),
        "offset": lambda: float(np.hypot(*np.atleast_1d(true.faults.get("beam_offset", true.faults.get("ramp"))))),
        "saturation": lambda: float(true.faults["saturation"]),
        "masked pixels": lambda: None if true.hot_pixels is None else float(len(true.hot_pixels)),
        "cosmic rays": lambda: None if true.cosmic_rays is None else float(len(true.cosmic_rays)),
        "frames left out": lambda: float(sum(len(part) for part in left_out if part is not None)),
    }
    names = dict.fromkeys(TERM_OF[fault] for fault in true.faults if fault in TERM_OF)
    return {name: measured[name]() for name in names}


def _mode_fraction(probe: np.ndarray) -> float:
    """Return the fraction of the photons outside of the strongest orthogonal mode."""
    powers = np.linalg.svd(probe.reshape(len(probe), -1), compute_uv=False) ** 2
    return float(1 - powers[0] / powers.sum())


def _varying_fraction(probe: np.ndarray, aberrations_rad: np.ndarray | None) -> float | None:
    """Return the fraction of the photons in what changes of a probe, its motion (the tilts) left out."""
    if aberrations_rad is None:
        return None
    still = torch.from_numpy(aberrations_rad * [1.0, 0.0, 0.0])
    return measure_change(aberrate_probe(torch.from_numpy(probe), still), torch.eye(len(still)))


def _round(size: float | None) -> float | None:
    return None if size is None else round_digits(size)


def summarise_claims(records: list[Mapping[str, Any]]) -> str:
    """Return how many faults are named, at the right size, and how many names are false.

    Args:
        records: Results of `compare_claims`.
    """
    pairs = [pair for record in records for pair in record["named"].values()]
    sized = [claimed / true for claimed, true in pairs if true]
    put_in = len(pairs) + sum(len(record["missed"]) for record in records)
    right = sum(abs(ratio - 1) <= MAX_SIZE_ERROR for ratio in sized)
    false = sum(bool(record["falsely_named"]) for record in records)
    return (
        f"faults named: {len(pairs)} of {put_in}; size within {MAX_SIZE_ERROR:.0%}: {right} of {len(sized)}; "
        f"something named that was not put in: {false} of {len(records)} runs"
    )
