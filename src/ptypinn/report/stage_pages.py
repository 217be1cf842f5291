"""The pages of a diagnosis and of a dose study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ptypinn.report.blocks import Cell, Figures, Page, Section, Table, Verdict, cell_of
from ptypinn.report.dose_figures import dose_figure
from ptypinn.report.drawing import drawing_of
from ptypinn.report.origin_section import origin_section
from ptypinn.report.page import render_page
from ptypinn.report.scale_section import diagnosis_section, verdict_sentence

if TYPE_CHECKING:
    from ptypinn.diagnose import Diagnosis
    from ptypinn.studies.dose import DoseStudy


def render_diagnosis(diagnosis: Diagnosis, name: str, notes: Sequence[str], run: Mapping[str, Any]) -> str:
    """Where amplitude went, as HTML text.

    Args:
        diagnosis: The diagnosis.
        name: What was diagnosed.
        notes: Remarks on how it came about.
        run: Record of the run, as `RunFolder.record` gives it.
    """
    answer = "Yes: every stage keeps the scale." if diagnosis.healthy else "No: see which stage does not keep it."
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
