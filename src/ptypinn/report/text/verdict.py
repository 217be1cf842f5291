"""The sentence at the top of a report, can this picture be trusted, and those on its experiment.

Every departure from the ideal experiment has its size, and whether it was corrected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ptypinn.data.beam_centre import BeamOffset
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.metrics.summary import FAR_ABOVE_NOISE
from ptypinn.stages.evaluate import Evaluation
from ptypinn.utils.files import number
from ptypinn.utils.number_format import format_number

EXPLAINED = 1.1
"""Residual over counting noise up to which a picture explains its data."""
NOT_EVALUATED = (
    "Neither the measured patterns nor a reference took part, so nothing here was checked. "
    "`ptypinn evaluate RUN --scan SCAN` checks it."
)
RECORD = "experiment"
"""Key of the record in the provenance of a reconstruction."""


@dataclass(frozen=True)
class Verdict:
    """The first statement of a page, with its reasons."""

    level: Literal["good", "open", "warn"]
    """`good`: nothing stands against the result; `open`: something is undecided; `warn`: a check raises a warning."""
    statement: str
    """One sentence."""
    reasons: Sequence[str] = ()
    """Measurements it rests on, or warnings."""
    question: str = "Can I trust it?"
    """The question that it answers."""


def trust_verdict(evaluation: Evaluation, evaluated: bool) -> Verdict:
    """Return the verdict on a picture.

    Args:
        evaluation: Metrics and warnings.
        evaluated: True if the picture was evaluated; otherwise the metrics are those of its file.
    """
    if evaluation.warnings:
        number = len(evaluation.warnings)
        checks = "one check raises a warning" if number == 1 else f"{number} checks raise warnings"
        return Verdict("warn", f"With care: {checks}.", evaluation.warnings)
    reasons = [*_fit_reasons(evaluation.metrics), *_reference_reasons(evaluation)]
    if not evaluated or not reasons:
        return Verdict("open", "Undecided: this picture was not checked.", [*reasons, NOT_EVALUATED])
    ratio = evaluation.metrics.get("residual_over_noise")
    if ratio is None:
        return Verdict("open", "As far as the reference goes; the measured patterns took no part.", reasons)
    if ratio < EXPLAINED:
        statement = "Yes, as far as the data can show: only counting noise is left, and no check raises a warning."
        return Verdict("good", statement, reasons)
    if ratio < FAR_ABOVE_NOISE:
        return Verdict("open", "Mostly: it explains most of its data, and no check raises a warning.", reasons)
    return Verdict("open", "In part: a small part of the data is left unexplained.", reasons)


def _fit_reasons(metrics: dict[str, float]) -> list[str]:
    reasons = []
    if "residual_over_noise" in metrics:
        ratio = metrics["residual_over_noise"]
        reasons.append(f"Predicted and measured patterns differ by {ratio:.3g} times what counting noise alone makes.")
    if "flux_closure" in metrics:
        reasons.append(f"Predicted over measured photons: {metrics['flux_closure']:#.4g}; 1 is right.")
    return reasons


def _reference_reasons(evaluation: Evaluation) -> list[str]:
    metrics, comparison = evaluation.metrics, evaluation.comparison
    if "output_vs_truth_ratio" not in metrics:
        return []
    kind = "reference" if comparison is None else comparison.kind
    sentence = f"The mean amplitude is {metrics['output_vs_truth_ratio']:#.4g} times that of the {kind}, nothing fitted"
    error = metrics.get("complex_error")
    return [sentence + ("." if error is None else f"; the image is off by {100 * error:.2g} % in all.")]


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
