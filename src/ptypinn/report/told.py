"""Pictures and their values in words, for captions and for those who cannot see them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ptypinn.report.digits import metres
from ptypinn.report.images import ScaledImage
from ptypinn.report.panels import Panel, panel_of


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
