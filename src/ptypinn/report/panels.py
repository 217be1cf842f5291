"""Pictures of a page: an array through a colour map, with a colour scale, a scale bar and an outline of the page's own.

The picture holds nothing but its pixels. What stands around it is text and vector drawing, so that it reads on a phone,
on paper and on a dark page alike.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from PIL import Image

from ptypinn.report.colours import ColourScale
from ptypinn.report.style import scale_bar_of
from ptypinn.report.view import reduced, step_for

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
