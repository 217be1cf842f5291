"""The part of a report that tells how much light fell where: dose, and the overlap of the positions."""

from __future__ import annotations

import numpy as np
import torch

from ptypinn.data.reconstruction import DataFit, Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.data.statistics import mean_spacing
from ptypinn.physics.probes import equivalent_diameter
from ptypinn.report.figures.display import Frame
from ptypinn.report.figures.images import light_images
from ptypinn.report.html.page_elements import Cell, Facts, Figures, Section, cell_of
from ptypinn.report.figures.panels import extent, panels_of
from ptypinn.report.html.patterns_section import photons_image
from ptypinn.report.text.metric_labels import digits_of, metres

KEY, TITLE = "dose", "Dose and overlap"
USUAL_OVERLAP = 0.6
LEAST_MOVE_PX = 1e-3
"""Positions that no one moves further were not refined."""


def exposure_section(recon: Reconstruction, fit: DataFit | None, frame: Frame, scan: ScanData | None = None) -> Section:
    """Photons per pattern and per area, spacing and overlap, and the light on the sample.

    Args:
        recon: The reconstruction.
        fit: How it fits the counts, where they were at hand.
        frame: What is worth showing of it.
        scan: Its patterns, for how far positions were moved.
    """
    images, told = light_images(recon, frame)[:1], "Light is what the picture is made of: errors grow where it fades."
    if fit is None:
        told += " The photons of single patterns are not shown: the patterns were not at hand."
    else:
        images.append(photons_image(recon, frame, fit))
        told += " On the right each place has the photons of the nearest pattern."
    return Section(
        KEY,
        TITLE,
        [
            Facts([*_dose(recon, fit, frame), *_overlap(recon), *_moved(recon, scan)]),
            Figures(panels_of(images, recon.pixel_size_m), told),
        ],
    )


def overlap_of(recon: Reconstruction) -> float | None:
    """Linear overlap of neighbouring probes, 1 minus mean spacing over equivalent diameter; None for one position."""
    diameter = _diameter(recon)
    return None if len(recon.positions_px) < 2 or not diameter else 1 - mean_spacing(recon.positions_px) / diameter


def _dose(recon: Reconstruction, fit: DataFit | None, frame: Frame) -> list[tuple[str, Cell]]:
    items: list[tuple[str, Cell]] = []
    if fit is not None:
        photons = fit.per_pattern_photons
        low, high = np.percentile(photons, [5, 95])
        items.append(("Photons per pattern, mean", cell_of(float(photons.mean()))))
        items.append(("Nine patterns in ten", Cell(f"{digits_of(float(low))} to {digits_of(float(high))}")))
        items.append(("Photons in all", cell_of(float(photons.sum()))))
    lit = recon.illumination[frame.box][frame.well_lit]
    if lit.size:
        median = float(np.median(lit))
        items.append(("On a well-lit pixel, median", cell_of(median, "photons")))
        if recon.pixel_size_m is not None:
            per_square_nm = median / (recon.pixel_size_m * 1e9) ** 2
            items.append(("The same by area", cell_of(per_square_nm, "photons/nm²", digits=3)))
    return items


def _overlap(recon: Reconstruction) -> list[tuple[str, Cell]]:
    height, width = (float(span) + 1 for span in np.ptp(recon.positions_px, axis=0))
    items = [("Positions", cell_of(len(recon.positions_px)))]
    items.append(("Span of the positions", Cell(extent(height, width, recon.pixel_size_m))))
    overlap = overlap_of(recon)
    if overlap is None:
        return [*items, ("Overlap of neighbours", Cell("none: one position" if _diameter(recon) else "none: no light"))]
    spacing = mean_spacing(recon.positions_px)
    length = "" if recon.pixel_size_m is None else f" = {metres(spacing * recon.pixel_size_m)}"
    remark = "60 % or more is usual" if overlap < USUAL_OVERLAP else ""
    return [
        *items,
        ("Mean spacing", Cell(f"{spacing:.3g}", value=spacing, unit=f"px{length}")),
        ("Overlap of neighbours", Cell(f"{100 * overlap:.3g}", value=100 * overlap, unit="%", remark=remark)),
    ]


def _moved(recon: Reconstruction, scan: ScanData | None) -> list[tuple[str, Cell]]:
    """How far refinement has moved positions, all together apart: that is where the object lies."""
    if scan is None:
        return []
    shifts = recon.positions_px + np.asarray(recon.origin_px, float) - scan.positions_px
    lengths = np.linalg.norm(shifts - shifts.mean(0), axis=1)
    if lengths.max() < LEAST_MOVE_PX:
        return []
    typical = float(np.sqrt(np.mean(lengths**2)))
    length = "" if recon.pixel_size_m is None else f" = {metres(typical * recon.pixel_size_m)}"
    most = Cell(f"{typical:.2g}", value=typical, unit=f"px{length}", remark=f"at most {lengths.max():.2g} px")
    return [("Positions moved by refinement, rms", most)]


def _diameter(recon: Reconstruction) -> float:
    probe = torch.from_numpy(recon.probe)
    return equivalent_diameter(probe) if float(probe.abs().sum()) > 0 else 0.0
