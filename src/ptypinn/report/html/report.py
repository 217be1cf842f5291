"""`write_report`: one self-contained HTML file with the pictures, the figures of merit and where they came from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.report.figures.display import frame_of
from ptypinn.report.html.curve_sections import convergence_section, resolution_section
from ptypinn.report.html.dose_section import exposure_section
from ptypinn.report.html.metrics_section import key_figures, merit_section
from ptypinn.report.html.object_section import comparison_section, object_panels, probe_section
from ptypinn.report.html.page import render_page
from ptypinn.report.html.page_elements import Cell, Page, cell_of
from ptypinn.report.html.patterns_section import patterns_section
from ptypinn.report.html.provenance_section import origin_section
from ptypinn.report.html.scale_section import scale_section
from ptypinn.report.html.uncertainty_section import trust_section
from ptypinn.report.text.metric_labels import metres
from ptypinn.report.text.verdict import verdict_of
from ptypinn.stages.evaluate import Evaluation, recorded_evaluation
from ptypinn.utils.files import write_text


def write_report(
    recon: Reconstruction,
    path: str | Path,
    evaluation: Evaluation | None = None,
    scan: ScanData | None = None,
    run: Mapping[str, Any] | None = None,
) -> Path:
    """Write the report of a reconstruction, atomically.

    Args:
        recon: What to report on.
        path: The HTML file to write.
        evaluation: Its figures of merit; without them those kept in the reconstruction are shown.
        scan: The scan, for predicted beside measured patterns.
        run: Record of the run that made it, as `RunFolder.record` gives it.

    Returns:
        The path.
    """
    return write_text(Path(path), render_report(recon, evaluation, scan, run))


def render_report(
    recon: Reconstruction,
    evaluation: Evaluation | None = None,
    scan: ScanData | None = None,
    run: Mapping[str, Any] | None = None,
) -> str:
    """The report of a reconstruction as HTML text; see `write_report`."""
    result, judged = _finite(evaluation or recorded_evaluation(recon)), evaluation is not None
    scan = None if scan is None else recon.scan_part(scan)
    run = run or {}
    pixel, frame = recon.pixel_size_m, frame_of(recon)
    return render_page(
        Page(
            title=_title(recon, scan),
            kind=_kind(recon, run),
            facts=_facts(recon, scan, run),
            verdict=verdict_of(result, judged),
            hero=object_panels(recon, frame),
            tiles=key_figures(recon, result),
            sections=[
                trust_section(recon, result, frame),
                comparison_section(result, pixel, judged),
                resolution_section(result, pixel),
                patterns_section(recon, scan, result.fit),
                probe_section(recon),
                exposure_section(recon, result.fit, frame, scan),
                convergence_section(recon.history),
                scale_section(result.diagnosis),
                merit_section(result),
                origin_section(run, recon.provenance),
            ],
        )
    )


def _finite(result: Evaluation) -> Evaluation:
    """The figures without those of a file that are no numbers."""
    known = {name: value for name, value in result.metrics.items() if math.isfinite(value)}
    return replace(result, metrics=known)


def _title(recon: Reconstruction, scan: ScanData | None) -> str:
    """Name of the scan's file; of the reconstruction where there is none."""
    known = recon.provenance.get("scan")
    record = known if isinstance(known, Mapping) else {}
    named = scan.provenance.get("file") if scan is not None else None
    file = named or record.get("file") or recon.provenance.get("file")
    return Path(str(file)).name if file else "Reconstruction"


def _kind(recon: Reconstruction, run: Mapping[str, Any]) -> str:
    stage = str(run.get("stage") or recon.provenance.get("stage") or "")
    return f"Ptychographic reconstruction{f', {stage}' if stage else ''}"


def _facts(recon: Reconstruction, scan: ScanData | None, run: Mapping[str, Any]) -> list[tuple[str, Cell]]:
    edge = recon.probe.shape[-1]
    facts = [("Patterns", Cell(f"{len(recon.positions_px)} of {edge} × {edge} px"))]  # noqa: RUF001
    facts.append(("Object pixel", Cell(metres(recon.pixel_size_m) if recon.pixel_size_m else "size not known")))
    if scan is not None and scan.energy_eV is not None:
        facts.append(("Energy", Cell(f"{scan.energy_eV / 1e3:.6g} keV")))
    facts.append(("Probe modes", cell_of(len(recon.probe))))
    if recon.scale_note:
        facts.append(("Prediction scaling", Cell(recon.scale_note)))
    if run.get("started"):
        facts.append(("Made", Cell(str(run["started"])[:16].replace("T", " "), unit="UTC")))
    return facts
