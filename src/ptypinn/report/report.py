"""`write_report`: one self-contained HTML file with the pictures, the figures of merit and where they came from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ptypinn.data.atomic import write_text
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.evaluate import Evaluation
from ptypinn.report.curves import convergence_figure, frc_figure
from ptypinn.report.data_figures import patterns_figure
from ptypinn.report.figures import comparison_figure, object_figure, probe_figure
from ptypinn.report.page import Picture, picture_of, render_page
from ptypinn.report.scale_section import scale_section
from ptypinn.report.style import metres
from ptypinn.report.trust_section import trust_section
from ptypinn.report.words import HEADLINE, row_of, rows_of


def write_report(
    recon: Reconstruction,
    path: str | Path,
    evaluation: Evaluation | None = None,
    scan: ScanData | None = None,
    command: str | None = None,
) -> Path:
    """Write the report of a reconstruction, atomically.

    Args:
        recon: What to report on.
        path: The HTML file to write.
        evaluation: Its figures of merit; without them those kept in the reconstruction are shown.
        scan: The scan, for predicted beside measured patterns.
        command: Command line that makes the same result.

    Returns:
        The path.
    """
    return write_text(Path(path), render_report(recon, evaluation, scan, command))


def render_report(
    recon: Reconstruction,
    evaluation: Evaluation | None = None,
    scan: ScanData | None = None,
    command: str | None = None,
) -> str:
    """The report of a reconstruction as HTML text; see `write_report`."""
    result = evaluation or Evaluation(dict(recon.metrics))
    scan = None if scan is None else recon.scan_part(scan)
    return render_page(
        "report.html.jinja",
        title=scan.source if scan is not None else str(recon.provenance.get("file", "Reconstruction")),
        facts=_facts(recon, scan),
        warnings=result.warnings,
        judged=evaluation is not None,
        headline=[row_of(name, result.metrics, {}) for name in HEADLINE if name in result.metrics],
        rows=rows_of(result.metrics, result.notes),
        pictures=_pictures(recon, result, scan),
        trust=trust_section(recon, result),
        scale=scale_section(recon),
        provenance=json.dumps(dict(recon.provenance), indent=2, default=str, ensure_ascii=False),
        command=command,
    )


def _facts(recon: Reconstruction, scan: ScanData | None) -> list[tuple[str, str]]:
    height, width = recon.object.shape
    photons = float(np.sum(np.abs(recon.probe.astype(np.complex128)) ** 2))
    facts = [
        ("Patterns", f"{len(recon.positions_px)} of {recon.probe.shape[-1]} x {recon.probe.shape[-1]} pixels"),
        ("Object", f"{height} x {width} pixels"),
        ("Probe", f"{len(recon.probe)} mode{'s' * (len(recon.probe) > 1)}, {photons:.4g} photons per pattern"),
    ]
    if recon.scale_note:
        facts.append(("Prediction scaling", recon.scale_note))
    if recon.pixel_size_m is not None:
        field = f"{metres(height * recon.pixel_size_m)} x {metres(width * recon.pixel_size_m)}"
        facts.append(("Pixel", f"{metres(recon.pixel_size_m)}; the canvas is {field}"))
    if scan is not None and scan.energy_eV is not None:
        facts.append(("Energy", f"{scan.energy_eV:.6g} eV"))
    return facts


def _pictures(recon: Reconstruction, result: Evaluation, scan: ScanData | None) -> list[Picture]:
    pixel = recon.pixel_size_m
    pictures = [
        picture_of(
            "Object", "Transmission where the probe lit the sample; grey was not measured.", object_figure(recon)
        )
    ]
    if result.comparison is not None:
        pictures.append(
            picture_of(
                f"Compared with the {result.comparison.kind}",
                "Images of a row share one colour scale. Structure in a difference is an error; grain is noise.",
                comparison_figure(result.comparison, pixel, recon.scale_note),
            )
        )
    if result.frc is not None:
        caption = "Two images agree up to the frequency where the curve first falls below the threshold."
        pictures.append(picture_of("Resolution", caption, frc_figure(result.frc, pixel)))
    if result.fit is not None and scan is not None:
        caption = "Differences of square roots scatter by about one half where only counting noise is left."
        pictures.append(picture_of("Patterns", caption, patterns_figure(recon, scan, result.fit)))
    pictures.append(
        picture_of(
            "Probe",
            "Incoherent modes with their shares of the power; the phase is drawn where there is light.",
            probe_figure(recon),
        )
    )
    if any(len(values) > 1 for values in recon.history.values()):
        caption = "A held-out loss that rises while the loss falls means that noise is being fitted."
        pictures.append(picture_of("Convergence", caption, convergence_figure(recon.history)))
    return pictures
