"""Pages of a diagnosis, of a dose study and of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ptypinn.report.figures.study import dose_figure
from ptypinn.report.html.metrics_section import convergence_section
from ptypinn.report.html.page import Cell, Drawing, Figures, Page, Section, Table, cell_of, render_page
from ptypinn.report.html.report import provenance_section
from ptypinn.report.html.scale_section import diagnosis_section, verdict_sentence
from ptypinn.report.text.verdict import Verdict

if TYPE_CHECKING:
    from ptypinn.stages.diagnose import Diagnosis
    from ptypinn.studies.dose import DoseStudy


def render_diagnosis(diagnosis: Diagnosis, name: str, notes: Sequence[str], run: Mapping[str, Any]) -> str:
    """Return the page of a diagnosis as HTML text.

    Args:
        diagnosis: The diagnosis.
        name: Name of the run or file that was diagnosed.
        notes: Remarks on its inputs.
        run: Record of the run, as `RunFolder.record` gives it.
    """
    statement = "Yes: every stage preserves the scale." if diagnosis.healthy else "No: a stage does not preserve it."
    reasons = [verdict_sentence(diagnosis), *(f"Note: {note}." for note in notes)]
    verdict = Verdict("good" if diagnosis.healthy else "warn", statement, reasons, "Is the amplitude right?")
    tiles = [(diagnosis.total_name.replace("_", " "), cell_of(diagnosis.total))]
    sections = [diagnosis_section(diagnosis), provenance_section(run)]
    return render_page(Page(name, "Scale diagnosis", sections, verdict, tiles))


def render_dose(study: DoseStudy, run: Mapping[str, Any]) -> str:
    """Return the page of a dose study as HTML text; see `render_diagnosis`."""
    checks = study.checks
    failed = [check for check in checks if not check.passed]
    statement = f"No: {len(failed)} of {len(checks)} checks fail." if failed else f"Yes: all {len(checks)} checks pass."
    verdict = Verdict("warn" if failed else "good", statement, [], "Does the amplitude stay right at every dose?")
    rows = [
        [
            Cell(check.name),
            cell_of(check.value),
            Cell(f"{check.low:.5g} to {check.high:.5g}"),
            Cell("passed" if check.passed else "failed", off=not check.passed),
        ]
        for check in checks
    ]
    table = Table(
        "Requirements of the study", ("Check", "Measured", "Required", "Result"), rows, words=(2, 3), wide=True
    )
    alt = f"Amplitude ratio, error and resolution over the dose, {len(study.points)} points."
    drawing = Drawing.of_figure(dose_figure(study.points), "dose-drawing", alt)
    sections = [
        Section("curves", "Over the dose", [Figures([drawing], "Bars are one standard deviation over the seeds.", 1)]),
        Section("checks", "Checks", [table]),
        provenance_section(run),
    ]
    return render_page(Page("Dose study", "Study", sections, verdict, [("Jobs", cell_of(len(study.rows)))]))


RISE, STILL_FALLING = 0.05, 0.02
"""Fractions of the whole fall of the validation loss: it rose after its minimum, or still fell over the last tenth."""
NEXT = "`ptypinn evaluate` measures the quality of each picture that it makes."

History = Mapping[str, Sequence[float]]


def render_training(title: str, history: History, run: Mapping[str, Any], remarks: Sequence[str] = ()) -> str:
    """Return the page of a training as HTML text.

    Args:
        title: Heading.
        history: Losses and learning rate by epoch; NaN where an epoch has none.
        run: Record of the run, as `RunFolder.record` gives it.
        remarks: Further sentences.
    """
    return render_page(
        Page(
            title=title,
            kind=f"Training, {run.get('stage', '')}",
            verdict=training_verdict(history, remarks),
            tiles=_tiles(history, run),
            sections=[convergence_section(history, "epoch"), provenance_section(run)],
        )
    )


def training_verdict(history: History, remarks: Sequence[str] = ()) -> Verdict:
    """Return the verdict on a training: did the validation loss fall, and did it still fall at the end?"""
    loss, question = _validation(history), "Did it learn?"
    if loss.size < 2:
        return Verdict("open", "Undecided: too few epochs were validated.", [*remarks, NEXT], question)
    best, fall = int(np.argmin(loss)), float(loss[0] - loss.min())
    course = (
        f"The validation loss went from {loss[0]:.5g} to {loss[-1]:.5g}, lowest at epoch {best + 1} of {loss.size}."
    )
    reasons = [course, *remarks, NEXT]
    if not fall > 0:
        return Verdict("warn", "No: the validation loss never fell.", reasons, question)
    if loss[-1] - loss.min() > RISE * fall:
        return Verdict("warn", "It did, and then fitted noise: the validation loss rose again.", reasons, question)
    if loss[-1 - max(1, loss.size // 10)] - loss[-1] > STILL_FALLING * fall:
        return Verdict("open", "Yes, and it still does: more epochs would go further.", reasons, question)
    return Verdict("good", "Yes: the validation loss fell and has settled.", reasons, question)


def _tiles(history: History, run: Mapping[str, Any]) -> list[tuple[str, Cell]]:
    loss = _validation(history)
    tiles = [("Epochs", cell_of(max(map(len, history.values()), default=0)))]
    if loss.size:
        tiles.append(("Lowest validation loss", cell_of(float(loss.min()))))
    seconds = sum((run.get("timings_s") or {}).values())
    return [*tiles, ("Wall time", cell_of(float(seconds), "s", 3))] if seconds else tiles


def _validation(history: History) -> np.ndarray:
    """Return the loss on held-out data, without epochs that have none."""
    values = next((values for name, values in history.items() if name.startswith("val")), [])
    loss = np.asarray(values, np.float64)
    return loss[np.isfinite(loss)]
