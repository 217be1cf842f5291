"""The pages of a diagnosis and of a dose study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ptypinn.report.figures.study import dose_figure
from ptypinn.report.html.curve_sections import convergence_section
from ptypinn.report.html.drawing import drawing_of
from ptypinn.report.html.page import render_page
from ptypinn.report.html.page_elements import Cell, Figures, Page, Section, Table, Verdict, cell_of
from ptypinn.report.html.provenance_section import origin_section
from ptypinn.report.html.scale_section import diagnosis_section, verdict_sentence

if TYPE_CHECKING:
    from ptypinn.stages.diagnose import Diagnosis
    from ptypinn.studies.dose import DoseStudy


def render_diagnosis(diagnosis: Diagnosis, name: str, notes: Sequence[str], run: Mapping[str, Any]) -> str:
    """Where amplitude went, as HTML text.

    Args:
        diagnosis: The diagnosis.
        name: What was diagnosed.
        notes: Remarks on how it came about.
        run: Record of the run, as `RunFolder.record` gives it.
    """
    answer = "Yes: every stage preserves the scale." if diagnosis.healthy else "No: see which stage does not preserve it."
    told = [verdict_sentence(diagnosis), *(f"Note: {note}." for note in notes)]
    verdict = Verdict("good" if diagnosis.healthy else "warn", answer, told, "Is the amplitude right?")
    tiles = [(diagnosis.total_name.replace("_", " "), cell_of(diagnosis.total))]
    sections = [diagnosis_section(diagnosis), origin_section(run)]
    return render_page(Page(name, "Scale diagnosis", sections, verdict, tiles))


def render_dose(study: DoseStudy, run: Mapping[str, Any]) -> str:
    """What doses do to the object, as HTML text; see `render_diagnosis`."""
    checks = study.checks
    failed = [check for check in checks if not check.passed]
    answer = (
        f"Yes: all {len(checks)} checks pass." if not failed else f"No: {len(failed)} of {len(checks)} checks fail."
    )
    verdict = Verdict("warn" if failed else "good", answer, [], "Does the amplitude stay right at every dose?")
    rows = [
        [
            Cell(check.name),
            cell_of(check.value),
            Cell(f"{check.low:.5g} to {check.high:.5g}"),
            Cell("passed" if check.passed else "failed", off=not check.passed),
        ]
        for check in checks
    ]
    table = Table("What the study must show", ("Check", "Found", "Passes", "Result"), rows, words=(2, 3), wide=True)
    alt = f"Amplitude ratio, error and resolution over the dose, {len(study.points)} points."
    drawing = drawing_of(dose_figure(study.points), "dose-drawing", alt)
    sections = [
        Section("curves", "Over the dose", [Figures([drawing], "Bars are one standard deviation over the seeds.", 1)]),
        Section("checks", "Checks", [table]),
        origin_section(run),
    ]
    return render_page(Page("Dose study", "Study", sections, verdict, [("Jobs", cell_of(len(study.rows)))]))


RISE, STILL_FALLING = 0.05, 0.02
"""Shares of the whole fall of the validation loss: it rose after its lowest, or still fell over the last tenth."""
NEXT = "How good its pictures are, `ptypinn evaluate` tells of each."

History = Mapping[str, Sequence[float]]


def render_training(title: str, history: History, run: Mapping[str, Any], remarks: Sequence[str] = ()) -> str:
    """The page as HTML text.

    Args:
        title: Heading.
        history: Losses and learning rate by epoch; NaN where an epoch has none.
        run: Record of the run, as `RunFolder.record` gives it.
        remarks: What else there is to say, in sentences.
    """
    return render_page(
        Page(
            title=title,
            kind=f"Training, {run.get('stage', '')}",
            verdict=verdict_of(history, remarks),
            tiles=_tiles(history, run),
            sections=[convergence_section(history, "epoch"), origin_section(run)],
        )
    )


def verdict_of(history: History, remarks: Sequence[str] = ()) -> Verdict:
    """Whether the validation loss fell, and whether it still did at the end."""
    loss, question = _validation(history), "Did it learn?"
    if loss.size < 2:
        return Verdict("open", "Not known: too few epochs were validated.", [*remarks, NEXT], question)
    best, fall = int(np.argmin(loss)), float(loss[0] - loss.min())
    told = f"The validation loss went from {loss[0]:.5g} to {loss[-1]:.5g}, lowest at epoch {best + 1} of {loss.size}."
    reasons = [told, *remarks, NEXT]
    if not fall > 0:
        return Verdict("warn", "No: the validation loss never fell.", reasons, question)
    if loss[-1] - loss.min() > RISE * fall:
        return Verdict("warn", "It did, and then learned noise: the validation loss rose again.", reasons, question)
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
    """The loss on what was held out, epochs without one left out."""
    values = next((values for name, values in history.items() if name.startswith("val")), [])
    loss = np.asarray(values, np.float64)
    return loss[np.isfinite(loss)]
