"""Departures of an experiment from the ideal one in words: term, size, and whether it was corrected."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ptypinn.data.beam_centre import BeamOffset
from ptypinn.data.depth import SLICES, describe_slices, slice_uncertainties
from ptypinn.data.descan import DESCAN, follows_disk
from ptypinn.data.detector_mtf import MTF
from ptypinn.data.monitor import MONITOR, describe_monitor, monitor_record
from ptypinn.data.near_field import describe_geometry
from ptypinn.data.probe_candidates import PROBE_ESTIMATE
from ptypinn.data.reception import RECEPTION, describe_reception
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan_rotation import SCAN_ROTATION
from ptypinn.data.survey_record import SURVEY, describe_left_out
from ptypinn.metrics.misfit_causes import name_unsought
from ptypinn.metrics.position_errors import MOVED, PositionErrors
from ptypinn.report.text.scan import name_quanta
from ptypinn.utils.number_format import format_length, format_number
from ptypinn.utils.plain_values import number

DEGENERATE = (
    "Its size is known to about 20 %: a background trades with the contrast of the sample, and the noise of both is in "
    "the uncertainty. A measured one (`--dark`) settles it."
)
MIN_ROTATION_DEG, MIN_STRETCH, MIN_REST_PX = 0.1, 0.003, 0.1
"""Errors of positions that are named: rotation, scales and shear, and what is left."""
RECORD = "experiment"
"""Key of the record in the provenance of a reconstruction."""


def experiment_record(recon: Reconstruction) -> Mapping[str, Any]:
    """Return what a reconstruction has on record about its experiment; empty where that is nothing."""
    record, monitor = recon.provenance.get(RECORD), _find_monitor(recon)
    return {**(record if isinstance(record, Mapping) else {}), **({MONITOR: dict(monitor)} if monitor else {})}


def experiment_sentences(recon: Reconstruction) -> list[str]:
    """Return one sentence for every departure from the ideal experiment that was looked at, largest causes first."""
    record = experiment_record(recon)
    names = ("beam", "background", "flux", "probe_variation", "positions", "point_spread", "modes")
    quanta = name_quanta(recon)
    beam, background, flux, variation, positions, spread, modes = (_Finding.of(record.get(name)) for name in names)
    return [
        *_geometry_sentences(recon),
        *slice_sentences(recon),
        *_rotation_sentences(recon),
        *_descan_sentences(recon),
        *_probe_sentences(recon),
        *([] if beam is None else _beam_sentences(beam)),
        *([] if background is None else _background_sentences(background, quanta)),
        *_dark_sentences(recon, quanta),
        *_monitor_sentences(recon),
        *([] if flux is None else _flux_sentences(flux, quanta, recon)),
        *([] if variation is None else _variation_sentences(variation, quanta)),
        *([] if positions is None else _position_sentences(positions, record["positions"])),
        *([] if spread is None else _spread_sentences(spread)),
        *_mtf_sentences(recon),
        *([] if modes is None else _mode_sentences(modes, quanta)),
        *_offset_sentences(record, recon),
        *_loss_sentences(recon),
        *([f"The scan was too large to look for {causes}."] if (causes := name_unsought(recon)) else []),
    ]


def _loss_sentences(recon: Reconstruction) -> list[str]:
    """Return which frames of a scan were lost while it was received, and which are left out for a defect."""
    scan = recon.provenance.get("scan")
    reception, survey = (scan.get(name) if isinstance(scan, Mapping) else None for name in (RECEPTION, SURVEY))
    lost = describe_reception(reception) if isinstance(reception, Mapping) else []
    with contextlib.suppress(AttributeError, LookupError, TypeError, ValueError):  # a record of another program
        lost += [f"{line[:1].upper()}{line[1:]}." for line in describe_left_out(survey or {})]
    return lost


def _geometry_sentences(recon: Reconstruction) -> list[str]:
    """Return the geometry of a near-field scan."""
    if recon.fresnel_number is None:
        return []
    scan = recon.provenance.get("scan")
    words = describe_geometry(recon.fresnel_number, scan if isinstance(scan, Mapping) else {})
    return [f"The patterns are images, in the {words}."]


def slice_sentences(recon: Reconstruction) -> list[str]:
    """Return the depth of the sample where it was looked for."""
    record = recon.provenance.get(SLICES)
    sentences = [f"The sample is {describe_slices(record)}."] if isinstance(record, Mapping) else []
    if errors := slice_uncertainties(recon):
        values = ", ".join(format_number(error, 2) for error in errors)
        sentences.append(f"The expected error of a pixel, slice by slice: {values}.")
    return sentences


@dataclass(frozen=True)
class _Finding:
    """A term of the experiment on record."""

    size: float
    misfit: str
    """Verb and clause on the misfit before and after."""
    corrected: bool

    @classmethod
    def of(cls, record: Any) -> _Finding | None:
        """Read a record; None where it is none."""
        values = {key: number(value) for key, value in record.items()} if isinstance(record, Mapping) else {}
        size, before, after = (values.get(key) for key in ("size", "misfit_before", "misfit_after"))
        if size is None or before is None or after is None:
            return None
        verb = "falls" if after < before else "rises"
        misfit = f"{verb} from {format_number(before, 3)} to {format_number(after, 3)} times counting noise"
        return cls(size, misfit, bool(record.get("corrected")))


def _rotation_sentences(recon: Reconstruction) -> list[str]:
    """Return the turn of the positions that the patterns of an electron scan showed."""
    scan = recon.provenance.get("scan")
    record = scan.get(SCAN_ROTATION) if isinstance(scan, Mapping) else None
    values = {key: number(value) for key, value in record.items()} if isinstance(record, Mapping) else {}
    degrees, error = values.get("degrees"), values.get("error_degrees")
    if degrees is None or error is None:
        return []
    return [
        f"The scan is turned by {degrees:.3g} +- {error:.2g} degrees against the detector, as the shifts of tilted "
        "images or the deflection of the beam show: the positions are turned back by as much."
    ]


def _descan_sentences(recon: Reconstruction) -> list[str]:
    """Return the motion of the disk of an electron scan that the beam follows."""
    if not follows_disk(recon.provenance) or recon.beam_px is None:
        return []
    record = recon.provenance["scan"][DESCAN]
    size, error, angle = (number(record.get(name)) for name in ("size_px", "error_px", "size_mrad"))
    if size is None or error is None:
        return []
    milliradians = "" if angle is None else f" ({angle:.3g} mrad)"
    return [
        f"The bright-field disk moves with the scan position, by {size:.2f} +- {error:.2g} detector pixels"
        f"{milliradians} over the scan, as without a perfect descan: the prediction moves with it."
    ]


def _mtf_sentences(recon: Reconstruction) -> list[str]:
    """Return that a measured point spread is part of the prediction."""
    scan = recon.provenance.get("scan")
    record = scan.get(MTF) if isinstance(scan, Mapping) else None
    if recon.mtf is None or not isinstance(record, Mapping):
        return []
    source, half = record.get("file"), number(record.get("half_nyquist"))
    origin = f" (`{source}`)" if source else ""
    value = "" if half is None else f", {half:.2f} at half of Nyquist's frequency"
    return [f"The detector blurs by a measured modulation transfer function{origin}{value}: the prediction has it."]


def _probe_sentences(recon: Reconstruction) -> list[str]:
    """Return how a probe was found where the scan had none."""
    scan = recon.provenance.get("scan")
    record = scan.get(PROBE_ESTIMATE) if isinstance(scan, Mapping) else None
    values = {key: number(value) for key, value in record.items()} if isinstance(record, Mapping) else {}
    curvature, diameter, defocus = (values.get(key) for key in ("curvature", "diameter_px", "defocus_m"))
    if curvature is None or diameter is None or not isinstance(record, Mapping):
        return []
    if record.get("model") == "lens":
        side = "downstream" if curvature < 0 else "upstream"
        distance = "" if not defocus else f", the sample {format_length(abs(defocus))} {side} of the focus"
        shape = f"behind a lens, out of focus by about {abs(curvature):.2g} waves at the rim of its pupil{distance}"
    else:
        kind = "an aperture" if record.get("model") == "aperture" else "a Gaussian beam"
        shape = f"of {kind}, with a phase of about {curvature:.2g} rad at its rim"
    return [
        f"The probe to start from was found on the patterns around the middle of the scan: {shape}, {diameter:.3g} px "
        "in diameter. A defocus that is known (`--probe-model`) or a measured probe (`--probe`) is safer."
    ]


def _beam_sentences(term: _Finding) -> list[str]:
    size = f"by {term.size:.2g} detector pixels (rms along one axis)"
    if term.corrected:
        return [
            f"The beam moves slowly over the detector, {size}: solved for together with the object. The misfit "
            f"{term.misfit}."
        ]
    return [
        f"The patterns move slowly over the detector, {size}, but a beam that does so explains little: the misfit "
        f"{term.misfit}. It was not taken in; the sample, or another cause, is more likely."
    ]


def _spread_sentences(term: _Finding) -> list[str]:
    size = f"a point spread of {term.size:.2g} detector pixels (standard deviation)"
    if term.corrected:
        return [f"The detector blurs, {size}: part of the prediction. The misfit {term.misfit}."]
    return [
        f"A detector that blurs, {size}, explains little: the misfit {term.misfit}. It was not taken in; another "
        "cause is more likely."
    ]


def _variation_sentences(term: _Finding, quanta: str) -> list[str]:
    share = f"{100 * term.size:.2g} % of its {quanta}"
    if term.corrected:
        return [
            f"The probe changes slowly over the scan, by {share}: solved for together with object and positions. The "
            f"misfit {term.misfit}. Slow phases and warps of the object are known less well than without."
        ]
    return [
        f"A probe that changes slowly over the scan, by {share}, explains little: the misfit {term.misfit}. It "
        "was not taken in; another cause is more likely."
    ]


def _background_sentences(term: _Finding, quanta: str) -> list[str]:
    share = f"{100 * term.size:.2g} % of the {quanta}"
    if term.corrected:
        return [
            f"A background of the frames, {share}, was solved for together with the object. The misfit "
            f"{term.misfit}. {DEGENERATE}"
        ]
    return [
        f"There are more counts than predicted where little is predicted, but a background, {share}, explains little: "
        f"the misfit {term.misfit}. It was not taken in; another cause is more likely."
    ]


def _dark_sentences(recon: Reconstruction, quanta: str) -> list[str]:
    scan = recon.provenance.get("scan")
    dark = scan.get("dark") if isinstance(scan, Mapping) else None
    photons = number(dark.get("photons_per_frame")) if isinstance(dark, Mapping) else None
    if recon.background is None or photons is None:
        return []
    return [f"A measured background of {format_number(photons, 3)} {quanta} per frame is part of the prediction."]


def _monitor_sentences(recon: Reconstruction) -> list[str]:
    """Return what the beam monitor of a scan shows, and whether it was used."""
    sentence = describe_monitor(_find_monitor(recon))
    return [sentence] if sentence else []


def _find_monitor(recon: Reconstruction) -> Mapping[str, Any]:
    scan = recon.provenance.get("scan")
    return monitor_record(scan) if isinstance(scan, Mapping) else {}


def _flux_sentences(term: _Finding, quanta: str, recon: Reconstruction) -> list[str]:
    size, misfit = term.size, term.misfit
    if term.corrected:
        beside = " beside that of the beam monitor" if _find_monitor(recon).get("applied") else ""
        return [
            f"The flux varies by {100 * size:.2g} % from frame to frame (standard deviation){beside}: solved for "
            f"together with the object. The misfit {misfit}."
        ]
    return [
        f"The {quanta} of the frames differ from the prediction, but a flux that varies from frame to frame explains "
        f"little: the misfit {misfit}. It was not taken in; another cause is more likely."
    ]


def _position_sentences(term: _Finding, record: Mapping[str, Any]) -> list[str]:
    errors = PositionErrors.from_record(record)
    if not term.corrected or errors is None:
        return [
            f"Positions that were solved for, {term.size:.2g} px (rms) from the recorded ones, explain little: the "
            f"misfit {term.misfit}. They were not taken in; another cause is more likely."
        ]
    parts = [
        *([f"turned by {errors.rotation_deg:.3g}°"] if abs(errors.rotation_deg) >= MIN_ROTATION_DEG else []),
        *(
            f"{100 * abs(scale):.2g} % too {'wide' if scale > 0 else 'narrow'} along {axis}"
            for axis, scale in (("y", errors.scale_y), ("x", errors.scale_x))
            if abs(scale) >= MIN_STRETCH
        ),
        *([f"sheared by {100 * abs(errors.shear):.2g} %"] if abs(errors.shear) >= MIN_STRETCH else []),
        *([f"off by {errors.rest_px:.2g} px (rms) beside that"] if errors.rest_px >= MIN_REST_PX else []),
    ]
    causes = f": {', '.join(parts)}" if parts else ""
    if MOVED in record:
        return [
            f"The positions moved by {errors.rms_px:.2g} px (rms) from the recorded ones{causes}, together with the "
            f"modes of the probe: what is slow of that trades with the probe. The misfit {term.misfit}."
        ]
    return [
        f"The recorded positions are off by {errors.rms_px:.2g} px (rms){causes}. They were solved for together with "
        f"the object. The misfit {term.misfit}."
    ]


def _mode_sentences(term: _Finding, quanta: str) -> list[str]:
    causes = "a partially coherent beam, a detector that blurs, or motion during the exposure"
    if term.corrected:
        return [
            f"Further incoherent modes of the probe hold {100 * term.size:.2g} % of the {quanta}: {causes}. They were "
            f"solved for together with the object. The misfit {term.misfit}."
        ]
    return [
        f"Further incoherent modes of the probe ({causes}) explain little: the misfit {term.misfit}. They were "
        "not taken in; another cause is more likely."
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
    places = {"probe": "the probe, which was solved for, holds", "beam": "the wave behind the sample has"}
    return places.get(str(record.get("ramp_in")), "the object has")
