"""The sentence at the top of a report: can this picture be trusted, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ptypinn.metrics.summary import ABOVE_NOISE
from ptypinn.stages.evaluate import Evaluation

EXPLAINED = 1.05
"""Residual over counting noise up to which a picture explains its data: up to 1.04 on scans without faults."""
NOT_EVALUATED = (
    "Neither the measured patterns nor a reference took part, so nothing here was checked. "
    "`ptypinn evaluate RUN --scan SCAN` checks it."
)


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
    if ratio < ABOVE_NOISE:
        return Verdict("open", "Mostly: it explains most of its data, and no check raises a warning.", reasons)
    return Verdict("open", "In part: a small part of the data is left unexplained.", reasons)


def _fit_reasons(metrics: dict[str, float]) -> list[str]:
    reasons = []
    if "residual_over_noise" in metrics:
        ratio = metrics["residual_over_noise"]
        reasons.append(f"Predicted and measured patterns differ by {ratio:.3g} times what counting noise alone makes.")
    if "flux_closure" in metrics:
        reasons.append(f"Predicted over measured counts: {metrics['flux_closure']:#.4g}; 1 is right.")
    return reasons


def _reference_reasons(evaluation: Evaluation) -> list[str]:
    metrics, comparison = evaluation.metrics, evaluation.comparison
    if "output_vs_truth_ratio" not in metrics:
        return []
    kind = "reference" if comparison is None else comparison.kind
    sentence = f"The mean amplitude is {metrics['output_vs_truth_ratio']:#.4g} times that of the {kind}, nothing fitted"
    error = metrics.get("complex_error")
    return [sentence + ("." if error is None else f"; the image is off by {100 * error:.2g} % in all.")]
