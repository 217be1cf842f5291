"""The summary of several runs: `bias_summary.json`, `bias_summary.md`, and one self-contained page of figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptypinn.data.atomic import write_json, write_text
from ptypinn.report.bias_figures import bias_figure, run_figure, stage_figure
from ptypinn.report.page import Picture, picture_of, render_page
from ptypinn.report.words import WORDS
from ptypinn.studies.aggregate import BiasSummary

SUMMARY_JSON, SUMMARY_TABLE = "bias_summary.json", "bias_summary.md"
DASH = "–"  # noqa: RUF001 - a dash for people
RUN_DPI = 85
"""Dots per inch of the pictures of a run, of which there may be many: as wide as the page shows them."""
RATIO_TOLERANCE, STAGE_TOLERANCE = 0.03, 0.02


@dataclass(frozen=True)
class Cell:
    """One value of the table."""

    text: str
    """The value as shown."""
    off: bool = False
    """Beyond what a healthy run shows."""


@dataclass(frozen=True)
class Section:
    """One run on the page."""

    name: str
    """Name of the run."""
    verdict: str
    """Where its amplitude went, in a sentence; empty where nobody asked."""
    facts: list[tuple[str, str]]
    """Labels and values."""
    picture: Picture
    """Truth, reconstruction and difference."""


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


def write_summary(summary: BiasSummary, folder: Path, page: Path, title: str, command: str = "") -> None:
    """Write summary, table and page, each atomically, once all are made.

    Args:
        summary: What the runs show.
        folder: Where `bias_summary.json` and `bias_summary.md` go.
        page: The HTML file.
        title: Heading of the page.
        command: Command line that makes the same.
    """
    content, table, text = summary.as_json(), markdown(summary, title), render_summary(summary, title, command)
    write_json(folder / SUMMARY_JSON, content)
    write_text(folder / SUMMARY_TABLE, table)
    write_text(page, text)


def render_summary(summary: BiasSummary, title: str, command: str = "") -> str:
    """The page as HTML text."""
    return render_page(
        "bias.html.jinja",
        title=title,
        facts=_facts(summary),
        skipped=summary.skipped,
        limits=summary.limits,
        pictures=_overview(summary.rows),
        columns=COLUMNS,
        rows=[_cells(row) for row in summary.rows],
        sections=_sections(summary),
        command=command,
    )


def markdown(summary: BiasSummary, title: str) -> str:
    """The table as a page of Markdown."""
    lines = [f"# {title}", "", f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    for row in summary.rows:
        texts = [f"**{cell.text}**" if cell.off else cell.text for cell in _cells(row)]
        lines.append(f"| {' | '.join(text.replace('|', '/') for text in texts)} |")
    lines += [
        "",
        "Bias is reconstruction minus truth on well-lit pixels, with no amplitude fitted. Bold: out of range.",
    ]
    lines += [line for text in summary.limits for line in ("", text)]
    if summary.skipped:
        lines += ["", "## Left out", "", *(f"- {gone.line}" for gone in summary.skipped)]
    return "\n".join(lines) + "\n"


def _facts(summary: BiasSummary) -> list[tuple[str, str]]:
    ratios = [ratio for row in summary.rows if (ratio := row["output_vs_truth_ratio"]) is not None]
    facts = [("Runs", f"{len(summary.rows)}, {len(summary.skipped)} left out")]
    facts.append(("Scenarios", ", ".join(dict.fromkeys(row["scenario"] for row in summary.rows))))
    return [*facts, ("Amplitude over truth", f"{min(ratios):.4f} to {max(ratios):.4f}" if ratios else DASH)]


def _overview(rows: Sequence[Mapping[str, Any]]) -> list[Picture]:
    caption = (
        "Reconstruction minus truth on well-lit pixels, no amplitude fitted, one global phase removed. A bar off zero "
        "is a bias; a wide bar is scatter."
    )
    pictures = [picture_of("Bias", caption, bias_figure(rows))]
    stages = stage_figure(rows)
    if stages is not None:
        caption = "The factor that every stage puts on the object's amplitude. All at 1: no stage loses amplitude."
        pictures.append(picture_of("Stage ratios", caption, stages))
    return pictures


def _sections(summary: BiasSummary) -> list[Section]:
    caption = (
        "The pictures of a row share one colour scale: the difference spans as many units as truth and reconstruction "
        "do. Grey was not compared."
    )
    sections = []
    for row, run in zip(summary.rows, summary.runs, strict=True):
        assert run.evaluation.comparison is not None
        figure = run_figure(run.evaluation.comparison, run.recon.pixel_size_m)
        sections.append(
            Section(row["run"], row["verdict"] or "", _run_facts(row), picture_of(row["run"], caption, figure, RUN_DPI))
        )
    return sections


def _run_facts(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    names = ("output_vs_truth_ratio", "complex_error", "pearson_r_amplitude", "frc_half_bit_px")
    facts = [(WORDS[name].label, f"{_number(row[name])} {WORDS[name].unit}".strip()) for name in names]
    model = " ".join(str(part) for part in (row["model"], row["gridsize"] and f"gridsize {row['gridsize']}") if part)
    scale = row["prediction_scale"]
    factor = "" if scale["factor"] is None else f", factor {_number(scale['factor'])}"
    told = [("Model", model), ("Photons per pattern", _number(row["photons"]))]
    told.append(("Prediction scaling", f"{scale['source'] or DASH}{factor}"))
    unseen = row["unseen"]
    if unseen["pixels"]:
        figures = f"ratio {_number(unseen['output_vs_truth_ratio'])}, r {_number(unseen['pearson_r_amplitude'])}"
        told.append(("Where no training pattern shone", figures))
    return [*facts, *((label, text) for label, text in told if text not in ("", DASH))]


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
    """The stage on the path whose ratio is furthest from 1."""
    told = [(str(s["stage"]), float(s["ratio"])) for s in stages if s["on_path"] and s["ratio"] and s["ratio"] > 0]
    return max(told, key=lambda pair: abs(math.log(pair[1])), default=None)


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
