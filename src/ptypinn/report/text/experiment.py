"""Departures of an experiment from the ideal one in words: term, size, and whether it was corrected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ptypinn.data.beam_centre import BeamOffset
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.utils.number_format import format_number
from ptypinn.utils.serialise import number

RECORD = "experiment"
"""Key of the record in the provenance of a reconstruction."""


def experiment_record(recon: Reconstruction) -> Mapping[str, Any]:
    """Return what a reconstruction has on record about its experiment; empty where that is nothing."""
    record = recon.provenance.get(RECORD)
    return record if isinstance(record, Mapping) else {}


def experiment_sentences(recon: Reconstruction) -> list[str]:
    """Return one sentence for every departure from the ideal experiment that was looked at, largest causes first."""
    record = experiment_record(recon)
    return [*_flux_sentences(record.get("flux")), *_offset_sentences(record, recon)]


def _flux_sentences(record: Any) -> list[str]:
    values = {key: number(value) for key, value in record.items()} if isinstance(record, Mapping) else {}
    size, before, after = (values.get(key) for key in ("size", "misfit_before", "misfit_after"))
    if size is None or before is None or after is None:
        return []
    misfit = f"from {format_number(before, 3)} to {format_number(after, 3)} times counting noise"
    if record.get("corrected"):
        return [
            f"The flux varies by {100 * size:.2g} % from frame to frame (standard deviation): solved for together with "
            f"the object. The misfit falls {misfit}."
        ]
    return [
        f"The photons of the frames differ from the prediction, but a flux that varies from frame to frame explains "
        f"little: the misfit falls {misfit}. It was not taken in; another cause is more likely."
    ]


def _offset_sentences(record: Mapping[str, Any], recon: Reconstruction) -> list[str]:
    offset = record.get("beam_offset_px")
    if not isinstance(offset, list) or len(offset) != 2 or any(number(value) is None for value in offset):
        return []
    beam = BeamOffset(float(offset[0]), float(offset[1]), recon.probe.shape[-1])
    sentence = f"{beam.describe()}, by the detector or by a wedge-shaped sample"
    slope = float(np.hypot(*beam.ramp))
    return [
        f"{sentence[:1].upper()}{sentence[1:]}: {_place_of_ramp(record)} a phase ramp of {slope:.2g} rad per pixel. "
        "`--centre-px` takes out whole pixels."
    ]


def _place_of_ramp(record: Mapping[str, Any]) -> str:
    in_probe = record.get("ramp_in") == "probe"
    return "the probe, which was solved for, holds" if in_probe else "the object has"
