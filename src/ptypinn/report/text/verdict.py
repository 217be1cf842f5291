"""The answer at the top of a report: can this picture be trusted, in a sentence and its reasons."""

from __future__ import annotations

from ptypinn.metrics.summary import FAR_ABOVE_NOISE
from ptypinn.report.html.page_elements import Verdict
from ptypinn.report.html.uncertainty_section import GOOD
from ptypinn.stages.evaluate import Evaluation

UNJUDGED = (
    "Neither the measured patterns nor a reference took part, so nothing here was checked. "
    "`ptypinn evaluate RUN --scan SCAN` does."
)


def verdict_of(result: Evaluation, judged: bool) -> Verdict:
    """What stands against a picture, or that nothing does.

    Args:
        result: The figures of merit and the warnings.
        judged: Whether anybody evaluated; otherwise the figures are those that the file holds.
    """
    if result.warnings:
        number = len(result.warnings)
        checks = "one check raises a warning" if number == 1 else f"{number} checks raise warnings"
        return Verdict("warn", f"With care: {checks}.", result.warnings)
    reasons = [*_about_counts(result.metrics), *_about_truth(result)]
    if not judged or not reasons:
        return Verdict("open", "Not known yet: this picture was not checked.", [*reasons, UNJUDGED])
    ratio = result.metrics.get("residual_over_noise")
    if ratio is None:
        return Verdict("open", "As far as the reference goes; the measured patterns took no part.", reasons)
    if ratio < GOOD:
        return Verdict(
            "good", "Yes, as far as the data tell: only counting noise is left, and no check raises a warning.", reasons
        )
    if ratio < FAR_ABOVE_NOISE:
        return Verdict("open", "Mostly: it explains most of its data, and no check raises a warning.", reasons)
    return Verdict("open", "In part: something is left that it does not explain, if little.", reasons)


def _about_counts(metrics: dict[str, float]) -> list[str]:
    found = []
    if "residual_over_noise" in metrics:
        ratio = metrics["residual_over_noise"]
        found.append(f"Predicted and measured patterns differ by {ratio:.3g} times what counting noise alone makes.")
    if "flux_closure" in metrics:
        found.append(f"Predicted over measured photons: {metrics['flux_closure']:#.4g}; 1 is right.")
    return found


def _about_truth(result: Evaluation) -> list[str]:
    metrics, kind = result.metrics, "reference" if result.comparison is None else result.comparison.kind
    if "output_vs_truth_ratio" not in metrics:
        return []
    told = f"The mean amplitude is {metrics['output_vs_truth_ratio']:#.4g} times the {kind}'s, with nothing fitted"
    error = metrics.get("complex_error")
    return [told + ("." if error is None else f"; the image is off by {100 * error:.2g} % in all.")]
