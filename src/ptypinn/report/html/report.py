"""The report of a run, one self-contained HTML file: its sections in order, and its provenance.

Command, inputs, versions and settings are there so that the result can be reproduced.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.report.figures.panels import ReconstructionPanels, make_panels
from ptypinn.report.html.experiment_section import experiment_section, recorded_positions
from ptypinn.report.html.metrics_section import (
    convergence_section,
    cost_section,
    key_metrics,
    metrics_section,
    resolution_section,
)
from ptypinn.report.html.object_section import comparison_section, object_figures, probe_section, uncertainty_section
from ptypinn.report.html.page import Block, Cell, Code, Facts, Fold, Page, Points, Section, Table, cell_of, render_page
from ptypinn.report.html.patterns_section import dose_section, patterns_section
from ptypinn.report.html.scale_section import scale_section
from ptypinn.report.html.slices_section import slices_section
from ptypinn.report.text.verdict import trust_verdict
from ptypinn.stages.evaluate import Evaluation, recorded_evaluation
from ptypinn.utils.atomic_files import write_text
from ptypinn.utils.number_format import format_length, format_number
from ptypinn.utils.plain_values import to_plain

PROVENANCE = "provenance", "Provenance"
"""Key and title of the last section."""
_INNERMOST = re.compile(r"[\[{][^\[\]{}]*[\]}]")


def write_report(
    recon: Reconstruction,
    path: str | Path,
    evaluation: Evaluation | None = None,
    scan: ScanData | None = None,
    run: Mapping[str, Any] | None = None,
    panels: ReconstructionPanels | None = None,
) -> Path:
    """Write the report of a reconstruction, atomically.

    Args:
        recon: The reconstruction.
        path: The HTML file to write.
        evaluation: Its metrics; without them those stored in the reconstruction are shown.
        scan: The scan, for predicted beside measured patterns.
        run: Record of the run that made it, as `RunFolder.record` gives it.
        panels: Its panels, where they were drawn before.

    Returns:
        The path.
    """
    return write_text(Path(path), render_report(recon, evaluation, scan, run, panels))


def render_report(
    recon: Reconstruction,
    evaluation: Evaluation | None = None,
    scan: ScanData | None = None,
    run: Mapping[str, Any] | None = None,
    panels: ReconstructionPanels | None = None,
) -> str:
    """Return the report of a reconstruction as HTML text; see `write_report`."""
    metrics, evaluated = _finite(evaluation or recorded_evaluation(recon)), evaluation is not None
    recorded = None if scan is None else recorded_positions(recon, scan)
    scan = None if scan is None else recon.scan_part(scan)
    run = run or {}
    panels = panels or make_panels(recon, metrics.comparison)
    return render_page(
        Page(
            title=_title(recon, scan),
            kind=_kind(recon, run),
            facts=_facts(recon, scan, run),
            verdict=trust_verdict(metrics, evaluated),
            hero=object_figures(recon, panels),
            tiles=key_metrics(recon, metrics),
            sections=[
                uncertainty_section(recon, metrics, panels),
                experiment_section(recon, recorded),
                slices_section(recon, panels.region),
                comparison_section(metrics, panels.comparison, evaluated),
                resolution_section(metrics, recon.pixel_size_m),
                patterns_section(recon, scan, metrics.fit),
                probe_section(recon, panels.probe),
                dose_section(recon, metrics.fit, panels, scan),
                convergence_section(recon.history),
                scale_section(metrics.diagnosis),
                metrics_section(metrics),
                cost_section(recon.provenance),
                provenance_section(run, recon.provenance),
            ],
        )
    )


def _finite(evaluation: Evaluation) -> Evaluation:
    """Return the evaluation without metrics that are not finite, which a file may hold."""
    finite = {name: value for name, value in evaluation.metrics.items() if math.isfinite(value)}
    return replace(evaluation, metrics=finite)


def _title(recon: Reconstruction, scan: ScanData | None) -> str:
    """Return the name of the scan's file; of the reconstruction where there is none."""
    scan_record = recon.provenance.get("scan")
    record = scan_record if isinstance(scan_record, Mapping) else {}
    name = scan.provenance.get("file") if scan is not None else None
    file = name or record.get("file") or recon.provenance.get("file")
    return Path(str(file)).name if file else "Reconstruction"


def _kind(recon: Reconstruction, run: Mapping[str, Any]) -> str:
    stage = str(run.get("stage") or recon.provenance.get("stage") or "")
    return f"Ptychographic reconstruction{f', {stage}' if stage else ''}"


def _facts(recon: Reconstruction, scan: ScanData | None, run: Mapping[str, Any]) -> list[tuple[str, Cell]]:
    edge = recon.probe.shape[-1]
    facts = [("Patterns", Cell(f"{len(recon.positions_px)} of {edge} × {edge} px"))]  # noqa: RUF001
    facts.append(("Object pixel", Cell(format_length(recon.pixel_size_m) if recon.pixel_size_m else "unknown size")))
    if scan is not None and scan.energy_eV is not None:
        facts.append(("Energy", Cell(f"{scan.energy_eV / 1e3:.6g} keV")))
    facts.append(("Probe modes", cell_of(len(recon.probe))))
    if recon.scale_note:
        facts.append(("Prediction scaling", Cell(recon.scale_note)))
    if run.get("started"):
        facts.append(("Made", Cell(str(run["started"])[:16].replace("T", " "), unit="UTC")))
    return facts


def provenance_section(run: Mapping[str, Any], provenance: Mapping[str, Any] | None = None) -> Section:
    """Return command, inputs, versions, settings and the record that the result carries.

    Args:
        run: Record of the run, as `RunFolder.record` gives it; empty where the result was not made by a run.
        provenance: Record in the result itself.
    """
    blocks: list[Block] = [*_command(run), *_inputs(run), *_versions(run)]
    config = run.get("config")
    if isinstance(config, Mapping) and config:
        rows = [[Cell(name), Cell(_text(value))] for name, value in config.items()]
        blocks.append(Fold("Every setting", [Table("Settings of the run", ("Setting", "Value"), rows, words=(1,))]))
    if provenance:
        blocks.append(Fold("The record that the result carries", [Code(_json(provenance))]))
    if not blocks:
        return Section(*PROVENANCE, absent="Nothing is on record.")
    return Section(*PROVENANCE, blocks)


def _command(run: Mapping[str, Any]) -> list[Block]:
    command = run.get("command")
    if not command:
        return [Points(["Made from Python: there is no command line on record, but the settings are."])]
    sources = ["the same files"] if run.get("inputs") else []
    sources += [] if run.get("seed") is None else [f"seed {run['seed']}"]
    sentence = f"The same result is made by one command{', from ' if sources else ''}{' and '.join(sources)}:"
    return [Points([sentence]), Code(shlex.join(map(str, command)))]


def _inputs(run: Mapping[str, Any]) -> list[Block]:
    inputs = run.get("inputs")
    if not isinstance(inputs, Mapping) or not inputs:
        return []
    rows = []
    for name, record in inputs.items():
        fields = record if isinstance(record, Mapping) else {"file": record}
        path = fields.get("path") or fields.get("file") or fields.get("folder")
        cells = (name, path or "", fields.get("format") or "", fields.get("sha256") or "")
        rows.append([Cell(str(cell)) for cell in cells])
    return [Table("Input files", ("Input", "File", "Format", "SHA-256"), rows, words=(1, 2, 3))]


def _versions(run: Mapping[str, Any]) -> list[Block]:
    items = [("Started", run.get("started")), ("Platform", run.get("platform"))]
    timings, versions = run.get("timings_s"), run.get("versions")
    if isinstance(timings, Mapping) and timings:
        items.append(
            (
                "Wall time",
                ", ".join(f"{part} {format_number(float(seconds), 3)} s" for part, seconds in timings.items()),
            )
        )
    if isinstance(versions, Mapping):
        items.append(("Versions", ", ".join(f"{name} {version}" for name, version in versions.items())))
    facts = [(label, Cell(str(value))) for label, value in items if value]
    return [Facts(facts)] if facts else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _json(record: Mapping[str, Any]) -> str:
    """Return a record as JSON; values without a form in JSON are shown as text.

    Lists and objects that hold no others stand on one line.
    """
    plain = json.loads(json.dumps(record, default=_described), parse_constant=lambda _: None)
    text = json.dumps(to_plain(plain), indent=2, ensure_ascii=False)
    return _INNERMOST.sub(lambda match: re.sub(r"\n\s*", " ", match[0]), text)


def _described(value: object) -> Any:
    try:
        return to_plain(value)
    except TypeError:
        return str(value)
