"""Cards of scans and reconstructions for notebooks: small HTML without scripts, in the colours of the notebook.

A card is cheap: of a scan it reads one pattern, of an object so many rows and columns as a thumbnail needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from markupsafe import escape

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.report.figures.colours import COUNTS_MAP, ColourScale
from ptypinn.report.figures.display import frame_of, step_for, view_of
from ptypinn.report.figures.images import ScaledImage, mode_photons, object_images, probe_images
from ptypinn.report.html.page import TEMPLATES, templates
from ptypinn.report.figures.panels import Dots, Panel, alt_of, dots_of, extent, panel_of
from ptypinn.report.text import repr_text as one_line

THUMBNAIL_PX = 192
"""Longest edge of a picture."""
SAMPLE_PX = 768
"""An object is drawn from at most so many of its rows and columns, evenly spread."""
FAINTEST_COUNT = 0.5
TEMPLATE = "card.html.jinja"

Shown = TypeVar("Shown", ScanData, Reconstruction)


@dataclass(frozen=True)
class Card:
    """What a card shows."""

    title: str
    """What it is about."""
    name: str
    """Name of its file; empty where there is none."""
    facts: list[tuple[str, str]]
    """Labels and values."""
    pictures: list[Panel | Dots]
    """Side by side."""
    remarks: list[str]
    """Sentences below."""


def card(shown: Shown, draw: Callable[[Shown], Card]) -> str:
    """The card as HTML, or the line of `repr` where it cannot be drawn: notebooks must not fail at a picture."""
    try:
        return templates(TEMPLATES).get_template(TEMPLATE).render(card=draw(shown))
    except Exception:
        return f"<pre>{escape(repr(shown))}</pre>"


def recon_card(recon: Reconstruction) -> Card:
    """Amplitude and phase of the object, small, and what is known."""
    height, width = map(float, recon.object.shape)
    facts = [
        ("object", f"{one_line.size_of(recon.object)} px"),
        ("field", extent(height, width, recon.pixel_size_m)),
        ("pixel", one_line.pixel_of(recon.pixel_size_m).removeprefix("pixels of ")),
        ("probe", one_line.modes_of(recon.probe).replace(" probe ", " ")),
        ("positions", f"{len(recon.positions_px)}"),
        *one_line.headlines(recon),
    ]
    remarks = [f"The {recon.scale_note}."] if recon.scale_note else []
    return Card("Reconstruction", "", facts, _object_panels(recon), remarks)


def scan_card(scan: ScanData) -> Card:
    """One pattern, the positions and the strongest probe mode, small, and what is known."""
    height, width = (float(span) + scan.size for span in np.ptp(scan.positions_px, axis=0))
    facts = [
        ("patterns", one_line.patterns_of(scan).replace(" patterns of", ",")),
        ("field", extent(height, width, scan.pixel_size_m)),
        ("pixel", one_line.pixel_of(scan.pixel_size_m).removeprefix("pixels of ")),
        ("energy", one_line.energy_of(scan) or "not known"),
        ("probe", one_line.probe_of(scan).replace(" probe ", " ")),
    ]
    if bad := int(np.sum(~scan.good)):
        facts.append(("masked", f"{bad} of {scan.good.size} pixels"))
    if scan.truth is not None:
        facts.append(("truth", f"{one_line.size_of(scan.truth)} px"))
    pictures, remarks = _pattern_panel(scan)
    pictures = [*pictures, dots_of(scan.positions_px + scan.size / 2, scan.pixel_size_m)]
    if scan.probe is not None:
        pictures.append(_probe_panel(scan.probe, scan))
    return Card("Scan", one_line.name_of(scan), facts, pictures, remarks)


def _object_panels(recon: Reconstruction) -> list[Panel | Dots]:
    stride = step_for(recon.object.shape, SAMPLE_PX)
    thin = (slice(None, None, stride),) * 2
    sample = replace(
        recon, object=recon.object[thin], illumination=recon.illumination[thin], uncertainty=None, unscaled=None
    )
    images = object_images(view_of(sample, frame_of(sample), THUMBNAIL_PX))
    return [_panel(replace(drawn, step=drawn.step * stride), recon.pixel_size_m) for drawn in images]


def _pattern_panel(scan: ScanData) -> tuple[list[Panel | Dots], list[str]]:
    """The pattern in the middle of the scan; where it cannot be read, why."""
    middle = scan.n_patterns // 2
    try:
        counts = np.where(scan.good, scan.counts[middle : middle + 1][0].astype(np.float64), np.nan)
    except (InputError, OSError) as error:
        return [], [f"Pattern {middle} cannot be read: {error}."]
    top = float(np.nanmax(counts, initial=10.0))
    scale = ColourScale(COUNTS_MAP, np.log10(FAINTEST_COUNT), np.log10(top), "counts", decades=True)
    logarithm = np.log10(np.maximum(counts, FAINTEST_COUNT))
    return [_panel(ScaledImage(f"Pattern {middle}", logarithm, scale), None, bar=False)], []


def _probe_panel(probe: np.ndarray, scan: ScanData) -> Panel:
    strongest = int(np.argmax(mode_photons(probe)))
    amplitude, _ = probe_images(probe[strongest : strongest + 1])[0]
    unit = "√photons" if scan.probe_gauge == "calibrated" else "arbitrary"
    scale = replace(amplitude.scale, unit=unit)
    return _panel(replace(amplitude, title="Probe", scale=scale), scan.pixel_size_m)


def _panel(drawn: ScaledImage, pixel_size_m: float | None, bar: bool = True) -> Panel:
    return panel_of(
        drawn.image,
        drawn.scale,
        drawn.title,
        alt_of(drawn),
        pixel_size_m=pixel_size_m,
        step=drawn.step,
        bar=bar,
        most_px=THUMBNAIL_PX,
    )
