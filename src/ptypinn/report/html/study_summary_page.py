"""The summary of several runs: `bias_summary.json`, `bias_summary.md`, and one self-contained page of figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptypinn.report.figures.images import comparison_images
from ptypinn.report.figures.panels import draw_panels
from ptypinn.report.figures.study import bias_figure, stage_figure
from ptypinn.report.html.page import Block, Cell, Drawing, Facts, Figures, Page, Points, Section, Table, render_page
from ptypinn.report.html.report import provenance_section
from ptypinn.report.text.metric_labels import METRIC_LABELS
from ptypinn.studies.aggregate import BiasSummary
from ptypinn.utils.atomic_files import write_json, write_text
from ptypinn.utils.number_format import DASH

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUMMARY_JSON, SUMMARY_TABLE = "bias_summary.json", "bias_summary.md"
RATIO_TOLERANCE, STAGE_TOLERANCE = 0.03, 0.02


COLUMNS = (
    "run",
    "scenario",
    "prediction scaling",
    "ratio",
    "Pearson r",
    "amplitude bias: mean",
    "median",
    "5 % to 95 %",
    "phase bias, rad: mean",
    "median",
    "5 % to 95 %",
    "scale match, %",
    "stage furthest off",
    "not finite",
    "training",
)
"""Headings of the table."""


def write_summary(
    summary: BiasSummary, folder: Path, page: Path, title: str, run: Mapping[str, Any] | None = None
) -> None:
    """Write summary, table and page, each atomically, once all are rendered.

    Args:
        summary: Summary of the runs.
        folder: Folder of `bias_summary.json` and `bias_summary.md`.
        page: The HTML file.
        title: Heading of the page.
        run: Record of the run that makes it, as `RunFolder.record` gives it.
    """
    content, table, text = summary.as_json(), markdown(summary, title), render_summary(summary, title, run)
    write_json(folder / SUMMARY_JSON, content)
    write_text(folder / SUMMARY_TABLE, table)
    write_text(page, text)


def render_summary(summary: BiasSummary, title: str, run: Mapping[str, Any] | None = None) -> str:
    """Return the page as HTML text."""
    sections = [_left_out(summary), _limits(summary), _table(summary), *_overview(summary.rows), *_runs(summary)]
    return render_page(
        Page(
            title=title,
            kind="Summary of runs",
            facts=_facts(summary),
            sections=[*(section for section in sections if section), provenance_section(run or {})],
        )
    )


def markdown(summary: BiasSummary, title: str) -> str:
    """Return the table as a page of Markdown."""
    lines = [f"# {title}", "", f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    for row in summary.rows:
        texts = [f"**{cell.text}**" if cell.off else cell.text for cell in _cells(row)]
        lines.append(f"| {' | '.join(text.replace('|', '/') for text in texts)} |")
    lines += [
        "",
        "Bias is reconstruction minus truth on well-illuminated pixels, with no amplitude fitted. Bold: out of range.",
    ]
    lines += [line for text in summary.limits for line in ("", text)]
    if summary.skipped:
        lines += ["", "## Left out", "", *(f"- {gone.line}" for gone in summary.skipped)]
    return "\n".join(lines) + "\n"


def _facts(summary: BiasSummary) -> list[tuple[str, Cell]]:
    ratios = [ratio for row in summary.rows if (ratio := row["output_vs_truth_ratio"]) is not None]
    facts = [("Runs", f"{len(summary.rows)}, {len(summary.skipped)} left out")]
    facts.append(("Scenarios", ", ".join(dict.fromkeys(row["scenario"] for row in summary.rows))))
    facts.append(("Amplitude over truth", f"{min(ratios):.4f} to {max(ratios):.4f}" if ratios else DASH))
    return [(label, Cell(text)) for label, text in facts]


def _left_out(summary: BiasSummary) -> Section | None:
    return (
        Section("skipped", "Left out", [Points([gone.line for gone in summary.skipped])]) if summary.skipped else None
    )


def _limits(summary: BiasSummary) -> Section | None:
    return Section("limits", "What limits the runs", [Points(summary.limits)]) if summary.limits else None


def _table(summary: BiasSummary) -> Section:
    remark = (
        "Bias is reconstruction minus truth on well-illuminated pixels, with no amplitude fitted. A marked value is "
        "out of the range of healthy runs."
    )
    table = Table("Every run", COLUMNS, [_cells(row) for row in summary.rows], words=(1, 2), wide=True)
    return Section("runs", "One row per run", [table, Points([remark])])


def _overview(rows: Sequence[Mapping[str, Any]]) -> list[Section]:
    caption = (
        "Reconstruction minus truth on well-illuminated pixels, no amplitude fitted, one global phase removed. A bar "
        "off zero is a bias; a wide bar is scatter."
    )
    sections = [_drawn("bias", "Bias", bias_figure(rows), f"Bias of amplitude and phase of {len(rows)} runs.", caption)]
    stages = stage_figure(rows)
    if stages is not None:
        caption = "The factor that every stage puts on the object's amplitude. All at 1: no stage loses amplitude."
        sections.append(_drawn("stages", "Stage ratios", stages, "Factors of the stages, one marker per run.", caption))
    return sections


def _drawn(key: str, title: str, figure: Figure, alt: str, caption: str) -> Section:
    drawing = Drawing.of_figure(figure, f"{key}-drawing", alt)
    return Section(key, title, [Figures([drawing], caption, 1)])


def _runs(summary: BiasSummary) -> list[Section]:
    caption = (
        "The panels of a row have one colour scale: the difference spans as many units as truth and reconstruction "
        "do. Blank was not compared."
    )
    sections = []
    for number, (row, run) in enumerate(zip(summary.rows, summary.runs, strict=True), start=1):
        assert run.evaluation.comparison is not None
        remarks = [f"Diagnosis: {row['verdict']}."] if row["verdict"] else []
        blocks: list[Block] = [Points(remarks), Facts(_run_facts(row))]
        rows = comparison_images(run.evaluation.comparison, equal_spans=True)
        for pictures, text in zip(rows, ("", caption), strict=True):
            blocks.append(Figures(draw_panels(pictures, run.recon.pixel_size_m), text))
        sections.append(Section(f"run-{number}", row["run"], blocks))
    return sections


def _run_facts(row: Mapping[str, Any]) -> list[tuple[str, Cell]]:
    names = ("output_vs_truth_ratio", "complex_error", "pearson_r_amplitude", "frc_half_bit_px")
    facts = [(METRIC_LABELS[name].label, f"{_number(row[name])} {METRIC_LABELS[name].unit}".strip()) for name in names]
    model = " ".join(str(part) for part in (row["model"], row["gridsize"] and f"gridsize {row['gridsize']}") if part)
    scale = row["prediction_scale"]
    factor = "" if scale["factor"] is None else f", factor {_number(scale['factor'])}"
    items = [("Model", model), ("Photons per pattern", _number(row["photons"]))]
    items.append(("Prediction scaling", f"{scale['source'] or DASH}{factor}"))
    unseen = row["unseen"]
    if unseen["pixels"]:
        figures = f"ratio {_number(unseen['output_vs_truth_ratio'])}, r {_number(unseen['pearson_r_amplitude'])}"
        items.append(("Where no training pattern was", figures))
    return [(label, Cell(text)) for label, text in (*facts, *items) if text not in ("", DASH)]


def _cells(row: Mapping[str, Any]) -> list[Cell]:
    ratio, parity, health = row["output_vs_truth_ratio"], row["scale_parity"], row["training_health"]
    furthest = _furthest(row["stage_ratios"])
    bad = sum(row["non_finite"].values())
    return [
        Cell(row["run"]),
        Cell(row["scenario"]),
        Cell(row["prediction_scale"]["source"] or DASH),
        Cell(DASH) if ratio is None else Cell(f"{ratio:.4f}", abs(ratio - 1) > RATIO_TOLERANCE),
        Cell(_number(row["pearson_r_amplitude"])),
        *_bias_cells(row["amplitude_bias"]),
        *_bias_cells(row["phase_bias_rad"]),
        Cell(_number(parity["scale_match_pct"], 8), bool(parity["scale_discrepancy_flag"])),
        Cell(DASH) if furthest is None else Cell(f"{furthest[0]}: {furthest[1]:.4g}", _is_off(furthest[1])),
        Cell(str(bad), bad > 0),
        _health(health),
    ]


def _bias_cells(bias: Mapping[str, float]) -> list[Cell]:
    span = f"{bias['p05']:+.3f} to {bias['p95']:+.3f}"
    return [Cell(f"{bias['mean']:+.4f}"), Cell(f"{bias['median']:+.4f}"), Cell(span)]


def _furthest(stages: Sequence[Mapping[str, Any]]) -> tuple[str, float] | None:
    """Return the stage on the path whose ratio is furthest from 1."""
    ratios = [(str(s["stage"]), float(s["ratio"])) for s in stages if s["on_path"] and s["ratio"] and s["ratio"] > 0]
    return max(ratios, key=lambda pair: abs(math.log(pair[1])), default=None)


def _is_off(ratio: float) -> bool:
    return abs(ratio - 1) > STAGE_TOLERANCE


def _health(health: Mapping[str, Any]) -> Cell:
    epochs, bad = health["epochs_completed"], health["nan_count"]
    if epochs is None:
        return Cell(DASH)
    stopped = ", stopped early" if health["stopped_early"] else ""
    return Cell(f"{epochs} epochs{stopped}" + (f", {bad} NaN" if bad else ""), bool(bad))


def _number(value: Any, digits: int = 4) -> str:
    return f"{value:.{digits}g}" if isinstance(value, int | float) and not isinstance(value, bool) else DASH
