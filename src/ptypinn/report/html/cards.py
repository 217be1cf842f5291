"""Cards of scans and reconstructions for notebooks: small HTML without scripts, in the colours of the notebook.

A card is cheap: of a scan it reads one pattern, of an object as many rows and columns as a thumbnail needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar

import numpy as np
from jaxtyping import Float64
from markupsafe import escape

from ptypinn.data import repr_text
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.physics.optics import mode_photons
from ptypinn.report.figures.colours import COUNTS_MAP, ColourScale
from ptypinn.report.figures.display import choose_binning, find_visible_region, view_object
from ptypinn.report.figures.images import ScaledImage, object_images, probe_images
from ptypinn.report.figures.panels import Panel, Titled, describe_extent, make_panel
from ptypinn.report.html.templates import TEMPLATES, templates

THUMBNAIL_PX = 192
"""Longest edge of a picture."""
SAMPLE_PX = 768
"""An object is drawn from at most so many of its rows and columns, evenly spread."""
MIN_COUNT = 0.5
"""Count with the darkest colour of the logarithmic scale."""
TEMPLATE = "card.html.jinja"
MAX_DOTS = 400
"""Positions that are drawn, evenly spread over the scan."""
DOTS_EXTENT = 88.0
"""The longer side of what the positions cover, in a square of 100."""

Content = TypeVar("Content", ScanData, Reconstruction)


@dataclass(frozen=True)
class PositionDots(Titled):
    """Positions ready to stand in a card."""

    kind: ClassVar[str] = "dots"
    path: str
    """Subpaths of no length, which round line ends turn into dots."""
    size: float
    """Diameter of a dot, in a square of 100."""


@dataclass(frozen=True)
class Card:
    """Content of a card."""

    title: str
    """Kind of object."""
    name: str
    """Name of its file; empty where there is none."""
    facts: list[tuple[str, str]]
    """Labels and values."""
    pictures: list[Panel | PositionDots]
    """Side by side."""
    remarks: list[str]
    """Sentences below."""


def render_card(content: Content, make_card: Callable[[Content], Card]) -> str:
    """Return the card as HTML, or the line of `repr` where it cannot be drawn: notebooks must not fail at a picture."""
    try:
        return templates(TEMPLATES).get_template(TEMPLATE).render(card=make_card(content))
    except Exception:
        return f"<pre>{escape(repr(content))}</pre>"


def html_card(content: ScanData | Reconstruction) -> str:
    """Return the notebook card of a scan or a reconstruction as HTML."""
    if isinstance(content, Reconstruction):
        return render_card(content, recon_card)
    return render_card(content, scan_card)


def recon_card(recon: Reconstruction) -> Card:
    """Return amplitude and phase of the object, small, with its facts."""
    height, width = map(float, recon.object.shape)
    facts = [
        ("object", f"{repr_text.describe_size(recon.object)} px"),
        ("field", describe_extent(height, width, recon.pixel_size_m)),
        ("pixel", repr_text.describe_pixel(recon.pixel_size_m).removeprefix("pixels of ")),
        ("probe", repr_text.describe_modes(recon.probe).replace(" probe ", " ")),
        ("positions", f"{len(recon.positions_px)}"),
        *repr_text.select_headlines(recon),
    ]
    remarks = [f"The {recon.scale_note}."] if recon.scale_note else []
    return Card("Reconstruction", "", facts, _object_panels(recon), remarks)


def scan_card(scan: ScanData) -> Card:
    """Return one pattern, the positions and the strongest probe mode, small, with the facts of the scan."""
    height, width = (float(span) + scan.size for span in np.ptp(scan.positions_px, axis=0))
    facts = [
        ("patterns", repr_text.describe_patterns(scan).replace(" patterns of", ",")),
        ("field", describe_extent(height, width, scan.pixel_size_m)),
        ("pixel", repr_text.describe_pixel(scan.pixel_size_m).removeprefix("pixels of ")),
        ("energy", repr_text.describe_energy(scan) or "unknown"),
        ("probe", repr_text.describe_probe(scan).replace(" probe ", " ")),
    ]
    if bad := int(np.sum(~scan.good)):
        facts.append(("masked", f"{bad} of {scan.good.size} pixels"))
    if scan.truth is not None:
        facts.append(("truth", f"{repr_text.describe_size(scan.truth)} px"))
    pictures, remarks = _pattern_panel(scan)
    pictures = [*pictures, draw_dots(scan.positions_px + scan.size / 2, scan.pixel_size_m)]
    if scan.probe is not None:
        pictures.append(_probe_panel(scan.probe, scan))
    return Card("Scan", repr_text.file_name(scan), facts, pictures, remarks)


def draw_dots(centres_px: Float64[np.ndarray, "patterns 2"], pixel_size_m: float | None) -> PositionDots:
    """Return probe centres (y, x), row downwards, at most 400 of them, evenly spread over the scan.

    Args:
        centres_px: Object pixels.
        pixel_size_m: Object pixel, metres; None gives the extent in pixels.
    """
    span = np.ptp(centres_px, axis=0)
    chosen = centres_px[:: -(-len(centres_px) // MAX_DOTS)]
    points = 50 + DOTS_EXTENT / max(float(span.max()), 1e-12) * (chosen - centres_px.min(axis=0) - span / 2)
    path = "".join(f"M{x:.1f} {y:.1f}h0" for y, x in points)
    size = float(np.clip(40 / np.sqrt(len(chosen)), 1.6, 6.0))
    text = f"{len(centres_px)} probe positions over {describe_extent(float(span[0]), float(span[1]), pixel_size_m)}."
    return PositionDots("Positions", text, path, round(size, 2))


def _object_panels(recon: Reconstruction) -> list[Panel | PositionDots]:
    stride = choose_binning(recon.object.shape, SAMPLE_PX)
    thinned = (slice(None, None, stride),) * 2
    sample = replace(
        recon, object=recon.object[thinned], illumination=recon.illumination[thinned], uncertainty=None, unscaled=None
    )
    images = object_images(view_object(sample, find_visible_region(sample), THUMBNAIL_PX))
    return [_thumbnail(replace(drawn, binning=drawn.binning * stride), recon.pixel_size_m) for drawn in images]


def _pattern_panel(scan: ScanData) -> tuple[list[Panel | PositionDots], list[str]]:
    """Return the pattern in the middle of the scan, or the reason why it cannot be read."""
    middle = scan.n_patterns // 2
    try:
        counts = np.where(scan.good, scan.counts[middle : middle + 1][0].astype(np.float64), np.nan)
    except (InputError, OSError) as error:
        return [], [f"Pattern {middle} cannot be read: {error}."]
    top = float(np.nanmax(counts, initial=10.0))
    scale = ColourScale(COUNTS_MAP, np.log10(MIN_COUNT), np.log10(top), "counts", decades=True)
    logarithm = np.log10(np.maximum(counts, MIN_COUNT))
    return [_thumbnail(ScaledImage(f"Pattern {middle}", logarithm, scale), None, bar=False)], []


def _probe_panel(probe: np.ndarray, scan: ScanData) -> Panel:
    strongest = int(np.argmax(mode_photons(probe)))
    amplitude, _ = probe_images(probe[strongest : strongest + 1])[0]
    unit = amplitude.scale.unit if scan.probe_gauge == "calibrated" else "arbitrary"
    scale = replace(amplitude.scale, unit=unit)
    return _thumbnail(replace(amplitude, title="Probe", scale=scale), scan.pixel_size_m)


def _thumbnail(drawn: ScaledImage, pixel_size_m: float | None, bar: bool = True) -> Panel:
    return make_panel(drawn, pixel_size_m, bar=bar, max_px=THUMBNAIL_PX)
