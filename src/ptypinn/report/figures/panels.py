"""Pictures of a page: an array through a colour map, with a colour scale, a scale bar and an outline of the page's own.

The picture holds nothing but its pixels. What stands around it is text and vector drawing, so that it reads on a phone,
on paper and on a dark page alike.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float64
from PIL import Image
from skimage.measure import approximate_polygon, find_contours

from ptypinn.report.figures.colours import ColourScale
from ptypinn.report.figures.display import reduced, step_for
from ptypinn.report.figures.images import ScaledImage
from ptypinn.report.figures.style import scale_bar_of
from ptypinn.report.text.metric_labels import metres

LEVELS = 255
"""Colours of a picture; the last index stands for pixels without a value."""
COARSE_PX = 300
"""Pictures with fewer pixels along an edge show them as squares."""


@dataclass(frozen=True)
class Titled:
    """Something to look at under a name."""

    title: str
    """Its name."""
    alt: str
    """What is to be seen, for those who cannot see it."""


@dataclass(frozen=True)
class Panel(Titled):
    """A picture ready to stand in a page."""

    kind: ClassVar[str] = "panel"
    source: str
    """The picture as a `data:` address."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    scale: ColourScale
    """What its colours mean."""
    bar: tuple[float, str] | None = None
    """Share of the width, and label, of the scale bar."""
    outline: str = ""
    """Path around a region, in pixels of the picture."""

    @property
    def coarse(self) -> bool:
        """Whether single pixels are to be seen."""
        return max(self.width, self.height) < COARSE_PX


def panel_of(
    image: np.ndarray,
    scale: ColourScale,
    title: str,
    alt: str,
    *,
    pixel_size_m: float | None = None,
    step: int = 1,
    bar: bool = True,
    outline: str = "",
    most_px: int = 512,
) -> Panel:
    """A picture of a real image, (height, width); NaN pixels let the page shine through.

    Args:
        image: The image; a larger one than `most_px` is averaged over blocks.
        scale: Colour map and the values at its ends.
        title: Heading.
        alt: What is to be seen.
        pixel_size_m: Object pixel, metres; None draws the scale bar in pixels.
        step: Object pixels along the edge of a pixel of `image`.
        bar: Draw a scale bar.
        outline: Path around a region, in pixels of `image`, which must not be larger than `most_px` then.
        most_px: Longest edge of the picture.
    """
    width = image.shape[1] * step
    length_px, label = scale_bar_of(width, pixel_size_m)
    drawn = (length_px / width, label) if bar else None
    small = reduced(image, step_for(image.shape, most_px))
    source = "data:image/png;base64," + base64.b64encode(indexed_png(small, scale)).decode("ascii")
    return Panel(title, alt, source, small.shape[1], small.shape[0], scale, drawn, outline)


def indexed_png(image: np.ndarray, scale: ColourScale) -> bytes:
    """The image as a PNG file of at most 256 colours; NaN pixels are transparent."""
    span = max(scale.high - scale.low, 1e-30)
    level = np.nan_to_num(np.clip((image - scale.low) / span, 0, 1)) * (LEVELS - 1)
    index = np.where(np.isfinite(image), np.round(level), LEVELS).astype(np.uint8)
    picture = Image.fromarray(index)
    picture.putpalette([*scale.colours(LEVELS).ravel().tolist(), 128, 128, 128])
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", transparency=LEVELS)
    return buffer.getvalue()


MOST_RINGS, MOST_POINTS = 40, 2000
TOLERANCES_PX = (0.4, 1.0, 2.5, 6.0)


def outline_path(region: Bool[np.ndarray, "y x"]) -> str:
    """Outline of a region in the coordinates of its pixels, as SVG path data; empty where the region is.

    Corners are rounded off, by 0.4 pixels or as far as keeps the path below 2,000 points; of a region in many pieces
    only the 40 longest outlines are told.
    """
    found = find_contours(np.pad(region, 1).astype(np.float32), 0.5)
    rings = sorted(found, key=len, reverse=True)[:MOST_RINGS]
    polygons: list[np.ndarray] = []
    for tolerance in TOLERANCES_PX:
        polygons = [approximate_polygon(ring, tolerance) for ring in rings]
        if sum(map(len, polygons)) <= MOST_POINTS:
            break
    before = np.cumsum([0, *map(len, polygons)])[1:]
    return "".join(
        _ring(polygon - 0.5) for polygon, points in zip(polygons, before, strict=True) if points <= MOST_POINTS
    )


def _ring(polygon: np.ndarray) -> str:
    points = " ".join(f"{x:.4g} {y:.4g}" for y, x in polygon[:-1])
    return f"M{points}Z"


MOST_DOTS = 400
REACH = 88.0
"""The longer side of what the positions cover, in a square of 100."""


@dataclass(frozen=True)
class Dots(Titled):
    """Positions ready to stand in a card."""

    kind: ClassVar[str] = "dots"
    path: str
    """Subpaths of no length, which round line ends turn into dots."""
    size: float
    """Diameter of a dot, in a square of 100."""


def dots_of(centres_px: Float64[np.ndarray, "patterns 2"], pixel_size_m: float | None) -> Dots:
    """Probe centres (y, x), row downwards, at most 400 of them, evenly spread over the scan.

    Args:
        centres_px: Object pixels.
        pixel_size_m: Object pixel, metres; None tells the extent in pixels.
    """
    span = np.ptp(centres_px, axis=0)
    chosen = centres_px[:: -(-len(centres_px) // MOST_DOTS)]
    places = 50 + REACH / max(float(span.max()), 1e-12) * (chosen - centres_px.min(axis=0) - span / 2)
    path = "".join(f"M{x:.1f} {y:.1f}h0" for y, x in places)
    size = float(np.clip(40 / np.sqrt(len(chosen)), 1.6, 6.0))
    told = f"{len(centres_px)} probe positions over {extent(float(span[0]), float(span[1]), pixel_size_m)}."
    return Dots("Positions", told, path, round(size, 2))


def alt_of(drawn: ScaledImage, where: str = "") -> str:
    """What an image shows: its title, its typical value and the span of nine pixels in ten."""
    finite = drawn.image[np.isfinite(drawn.image)]
    if not finite.size:
        return f"{drawn.title}: no pixel has a value."
    low, middle, high = (plain(value, drawn) for value in np.percentile(finite, [5, 50, 95]))
    unit = "" if drawn.scale.decades else f" {drawn.scale.unit}".rstrip()
    place = f" {where}" if where else ""
    return f"{drawn.title}{place}: median {middle}{unit}, nine pixels in ten from {low} to {high}{unit}."


def plain(value: float, drawn: ScaledImage) -> str:
    """A value of an image in three digits; the value itself where the image holds its logarithm."""
    return f"{10**value if drawn.scale.decades else value:.3g}"


def panels_of(
    images: Sequence[ScaledImage], pixel_size_m: float | None, *, where: str = "", bar: bool = True, most_px: int = 512
) -> list[Panel]:
    """Images as pictures of a page, each told in words.

    Args:
        images: The images.
        pixel_size_m: Object pixel, metres; None draws scale bars in pixels.
        where: Words behind the title of each, for those who cannot see it.
        bar: Draw scale bars.
        most_px: Longest edge of a picture.
    """
    return [
        panel_of(
            drawn.image,
            drawn.scale,
            drawn.title,
            alt_of(drawn, where),
            pixel_size_m=pixel_size_m,
            step=drawn.step,
            bar=bar,
            most_px=most_px,
        )
        for drawn in images
    ]


def extent(height_px: float, width_px: float, pixel_size_m: float | None) -> str:
    """Width times height of a region, in metres where the pixel is known."""
    if pixel_size_m is None:
        return f"{width_px:.0f} × {height_px:.0f} px"  # noqa: RUF001 - a sign for people
    return f"{metres(width_px * pixel_size_m)} × {metres(height_px * pixel_size_m)}"  # noqa: RUF001
