"""`write_report`: one self-contained HTML file with panels, metrics and provenance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.report.figures.panels import ReconstructionPanels, make_panels
from ptypinn.report.html.curve_sections import convergence_section, resolution_section
from ptypinn.report.html.experiment_section import experiment_section, recorded_positions
from ptypinn.report.html.metrics_section import dose_section, key_metrics, metrics_section
from ptypinn.report.html.object_section import comparison_section, object_figures, probe_section
from ptypinn.report.html.page import Cell, Page, cell_of, render_page
from ptypinn.report.html.patterns_section import patterns_section
from ptypinn.report.html.provenance_section import provenance_section
from ptypinn.report.html.scale_section import scale_section
from ptypinn.report.html.uncertainty_section import uncertainty_section
from ptypinn.report.text.verdict import trust_verdict
from ptypinn.stages.evaluate import Evaluation, recorded_evaluation
from ptypinn.utils.files import write_text
from ptypinn.utils.number_format import format_length


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
                comparison_section(metrics, panels.comparison, evaluated),
                resolution_section(metrics, recon.pixel_size_m),
                patterns_section(recon, scan, metrics.fit),
                probe_section(recon, panels.probe),
                dose_section(recon, metrics.fit, panels, scan),
                convergence_section(recon.history),
                scale_section(metrics.diagnosis),
                metrics_section(metrics),
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
