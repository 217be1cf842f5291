"""Panels: images through a colour map, with a colour scale, a scale bar and an outline, for pages and pictures alike.

The PNG of a panel holds nothing but its pixels. A page draws text and scales around it as HTML and SVG, so that it
reads on a phone, on paper and on a dark page; a picture file draws them with Pillow.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from PIL import Image

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.metrics.comparison import Comparison
from ptypinn.metrics.image import bounding_box
from ptypinn.report.figures.colours import ColourScale
from ptypinn.report.figures.display import (
    MAX_PX,
    ObjectView,
    VisibleRegion,
    bin_image,
    choose_binning,
    contour_path,
    find_visible_region,
    view_object,
)
from ptypinn.report.figures.images import (
    DETAIL_PX,
    ScaledImage,
    comparison_images,
    illumination_image,
    object_images,
    probe_images,
    uncertainty_image,
)
from ptypinn.report.text.scan import name_quanta
from ptypinn.utils.number_format import format_length, scale_bar

LEVELS = 255
"""Colours of a panel; the last index stands for pixels without a value."""
COMPRESSION = 3
"""Level of PNG compression: higher ones take longer and gain next to nothing on noise."""
COARSE_PX = 300
"""Panels with fewer pixels along an edge show them as squares."""
PROBE_PX = 256
"""Longest edge of the panel of a probe mode."""


@dataclass(frozen=True)
class Titled:
    """Something to look at under a title."""

    title: str
    """A few words."""
    alt: str
    """Description in words, for those who cannot see it."""


@dataclass(frozen=True)
class Panel(Titled):
    """An image ready to stand in a page or a picture."""

    kind: ClassVar[str] = "panel"
    png: bytes
    """The pixels as a PNG file."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    scale: ColourScale
    """Colour map and its limits."""
    bar: tuple[float, str] | None = None
    """Length of the scale bar as a fraction of the width, and its label."""
    outline: str = ""
    """Path around a region, in pixels of the panel."""

    @property
    def source(self) -> str:
        """The pixels as a `data:` address."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode("ascii")

    @property
    def coarse(self) -> bool:
        """True if single pixels are drawn as squares."""
        return max(self.width, self.height) < COARSE_PX


@dataclass(frozen=True)
class ReconstructionPanels:
    """Panels that the report and the picture files share."""

    region: VisibleRegion
    """Part of the canvas that they show."""
    view: ObjectView
    """Amplitude and phase as drawn."""
    object: list[Panel]
    """Amplitude and phase."""
    probe: list[list[Panel]]
    """Amplitude and phase of each mode."""
    illumination: Panel
    """Photons on every object pixel."""
    uncertainty: Panel | None
    """Expected error of the transmission; None where it was not estimated."""
    comparison: list[list[Panel]]
    """Reference, reconstruction and difference of amplitude, then of phase; empty without a reference."""


def make_panels(recon: Reconstruction, comparison: Comparison | None = None) -> ReconstructionPanels:
    """Draw the panels of a reconstruction.

    Args:
        recon: The reconstruction.
        comparison: The object beside its reference, where there is one.
    """
    region, pixel = find_visible_region(recon), recon.pixel_size_m
    view, sigma = view_object(recon, region), uncertainty_image(recon, region)
    outline, field = contour_path(view.well_illuminated), f"of the object, {describe_field(view, pixel)}"
    objects = [make_panel(image, pixel, where=field, max_px=MAX_PX) for image in object_images(view)]
    modes = enumerate(probe_images(recon.probe, name_quanta(recon)), start=1)
    return ReconstructionPanels(
        region=region,
        view=view,
        object=[replace(panel, outline=outline) for panel in objects],
        probe=[
            [make_panel(image, pixel, where=f"of probe mode {number}", max_px=PROBE_PX) for image in pair]
            for number, pair in modes
        ],
        illumination=make_panel(illumination_image(recon, region), pixel),
        uncertainty=None if sigma is None else make_panel(sigma, pixel),
        comparison=[] if comparison is None else [draw_panels(row, pixel) for row in comparison_images(comparison)],
    )


def draw_panels(
    images: Sequence[ScaledImage], pixel_size_m: float | None, *, bar: bool = True, max_px: int = DETAIL_PX
) -> list[Panel]:
    """Return images as panels; see `make_panel`."""
    return [make_panel(image, pixel_size_m, bar=bar, max_px=max_px) for image in images]


def make_panel(
    drawn: ScaledImage, pixel_size_m: float | None, *, where: str = "", bar: bool = True, max_px: int = DETAIL_PX
) -> Panel:
    """Return an image as a panel, described in words; NaN pixels are transparent.

    Args:
        drawn: The image; a larger one than `max_px` is averaged over blocks.
        pixel_size_m: Object pixel, metres; None labels the scale bar in pixels.
        where: Words behind the title in the description.
        bar: Draw a scale bar.
        max_px: Longest edge of the panel.
    """
    width = drawn.image.shape[1] * drawn.binning
    length_px, label = scale_bar(width, pixel_size_m)
    small = bin_image(drawn.image, choose_binning(drawn.image.shape, max_px))
    height_px, width_px = small.shape
    png, text = encode_png(small, drawn.scale), describe_image(drawn, where)
    return Panel(drawn.title, text, png, width_px, height_px, drawn.scale, (length_px / width, label) if bar else None)


def encode_png(image: np.ndarray, scale: ColourScale) -> bytes:
    """Return the image as a PNG file of at most 256 colours; NaN pixels are transparent."""
    span = max(scale.high - scale.low, 1e-30)
    level = np.nan_to_num(np.clip((image - scale.low) / span, 0, 1)) * (LEVELS - 1)
    index = np.where(np.isfinite(image), np.round(level), LEVELS).astype(np.uint8)
    picture = Image.fromarray(index)
    picture.putpalette([*scale.colours(LEVELS).ravel().tolist(), 128, 128, 128])
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", transparency=LEVELS, compress_level=COMPRESSION)
    return buffer.getvalue()


def describe_image(drawn: ScaledImage, where: str = "") -> str:
    """Return an image in words: its title, its median and the span of nine pixels in ten."""
    finite = drawn.image[np.isfinite(drawn.image)]
    if not finite.size:
        return f"{drawn.title}: no pixel has a value."
    values = (10**value if drawn.scale.decades else value for value in np.percentile(finite, [5, 50, 95]))
    low, middle, high = (f"{value:.3g}" for value in values)
    unit = "" if drawn.scale.decades else f" {drawn.scale.unit}".rstrip()
    place = f" {where}" if where else ""
    return f"{drawn.title}{place}: median {middle}{unit}, nine pixels in ten from {low} to {high}{unit}."


def describe_field(view: ObjectView, pixel_size_m: float | None) -> str:
    """Return the size of the well-illuminated part of a view."""
    mask = view.reference_mask
    rows, columns = bounding_box(mask if mask.any() else np.ones_like(mask))
    height, width = (float(part.stop - part.start) for part in (rows, columns))
    return describe_extent(height * view.binning, width * view.binning, pixel_size_m)


def describe_extent(height_px: float, width_px: float, pixel_size_m: float | None) -> str:
    """Return width times height of a region, in metres where the pixel size is given.

    >>> describe_extent(20.0, 30.0, None), describe_extent(20.0, 30.0, 1e-7)
    ('30 × 20 px', '3 µm × 2 µm')
    """
    if pixel_size_m is None:
        return f"{width_px:.0f} × {height_px:.0f} px"  # noqa: RUF001 - a sign for people
    return f"{format_length(width_px * pixel_size_m)} × {format_length(height_px * pixel_size_m)}"  # noqa: RUF001
