"""Style of matplotlib figures: a blank figure, image axes with a colour bar and a scale bar, axes of curves."""

from __future__ import annotations

import functools
import io
import re
from typing import TYPE_CHECKING

import numpy as np

from ptypinn.report.figures.colours import LIGHT_THEME, THEME_VARIABLES, ColourScale, amplitude_scale
from ptypinn.report.figures.display import bin_image, choose_binning
from ptypinn.utils.number_format import scale_bar

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

INK, ACCENT, MUTED, ASIDE = (LIGHT_THEME[name] for name in ("ink", "accent", "rule", "muted"))
SOFT = LIGHT_THEME["soft"]
MAX_PX = 1600
"""Longest edge of an image in a figure; a larger one is averaged over blocks first."""


@functools.cache
def _figure_class() -> type[Figure]:
    """Return the class of figures; matplotlib is loaded with the first of them."""
    from matplotlib.figure import Figure

    class NotebookFigure(Figure):
        """A figure that notebooks show without pyplot, and that is freed when nothing refers to it."""

        def _repr_png_(self) -> bytes:
            return png_bytes(self)

    return NotebookFigure


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches, drawn by Agg without any display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = _figure_class()(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def escape_mathtext(text: str) -> str:
    r"""Return text from a file for a figure: a dollar sign stands for itself and begins no formula.

    >>> escape_mathtext("a$b")
    'a\\$b'
    """
    return text.replace("$", r"\$")


def png_bytes(figure: Figure, dpi: int = 110) -> bytes:
    """Return the figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


RASTER_DPI = 150
_COLOUR = re.compile("|".join(map(re.escape, THEME_VARIABLES)), re.I)
_FAMILY = re.compile(r"font-family: [^;\"]+;? ?")
_FONT = re.compile(r"(font: (?:\w+ )*[\d.]+px )[^;\"]+")


def svg_of(figure: Figure, key: str) -> str:
    """Return a figure as an `svg` element to stand in HTML: text stays text, colours follow the page, light or dark.

    Args:
        figure: The figure; rasterized parts become pictures inside.
        key: Prefix of all names inside, different from that of every other drawing of the page.
    """
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": key, "svg.image_inline": True}):
        no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", metadata=no_metadata, dpi=RASTER_DPI, transparent=True)
    return _adapt_to_page(buffer.getvalue(), key)


def _adapt_to_page(text: str, key: str) -> str:
    """Return an SVG file without what only files need, with names, colours and fonts of the page."""
    text = text[text.index("<svg") :].strip()
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    head, body = text[: text.index(">")], text[text.index(">") :]
    text = re.sub(r'\s(?:xmlns(?::\w+)?|version|width|height)="[^"]*"', "", head) + body
    text = text.replace("xlink:href", "href")
    text = re.sub(r'\bid="([^"]+)"', rf'id="{key}-\1"', text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{key}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{key}-\1)", text)
    text = _FAMILY.sub("", _FONT.sub(r"\1system-ui, sans-serif", text))
    return _COLOUR.sub(lambda match: THEME_VARIABLES[match[0].lower()], re.sub(r"\n\s*", "\n", text))


def style_axes(axes: Axes, label_pt: int = 8) -> None:
    """Style the axes of curves: no frame above and to the right, small labels, a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=label_pt)
    axes.grid(alpha=0.25, lw=0.6)


def show_image(
    axes: Axes,
    image: np.ndarray,
    title: str,
    scale: ColourScale | None = None,
    pixel_size_m: float | None = None,
    *,
    bar: bool = True,
    binning: int = 1,
) -> AxesImage:
    """Draw an image with its title, colour bar and scale bar; NaN pixels stay blank.

    Args:
        axes: Axes to draw on.
        image: Real image, (height, width).
        title: Text above.
        scale: Colour map and its limits; None for that of an amplitude.
        pixel_size_m: Object pixel, metres; None draws the scale bar in pixels.
        bar: Draw a scale bar.
        binning: Object pixels along the edge of a pixel of the image.
    """
    scale = scale or amplitude_scale(image)
    height, width = image.shape
    drawn = axes.imshow(
        bin_image(image, choose_binning(image.shape, MAX_PX)),
        cmap=scale.name,
        vmin=scale.low,
        vmax=scale.high,
        interpolation="auto",
        interpolation_stage="rgba",
        extent=(-0.5, width - 0.5, height - 0.5, -0.5),
    )
    axes.set_facecolor(SOFT)
    axes.set_title(title, fontsize=10, color=INK)
    axes.set_xticks([])
    axes.set_yticks([])
    add_colour_bar(axes, drawn, scale.unit)
    if bar:
        add_scale_bar(axes, image.shape, pixel_size_m, binning)
    return drawn


def add_colour_bar(axes: Axes, drawn: AxesImage, unit: str) -> None:
    """Draw the colour bar of an image at its right edge."""
    bar = axes.figure.colorbar(drawn, cax=axes.inset_axes((1.02, 0.0, 0.04, 1.0)))
    bar.ax.tick_params(labelsize=8)
    bar.set_label(unit, fontsize=8)


def add_scale_bar(axes: Axes, shape: tuple[int, ...], pixel_size_m: float | None, binning: int = 1) -> None:
    """Draw a bar of round length, about a quarter of the width, in the lower left corner."""
    from matplotlib.patches import Rectangle

    height, width = shape
    length_px, label = scale_bar(width * binning, pixel_size_m)
    length_px /= binning
    x, y, thick = 0.04 * width, 0.95 * height, 0.015 * height
    box, extent = (x - 0.02 * width, y - 0.085 * height), (length_px + 0.04 * width, 0.12 * height)
    axes.add_patch(Rectangle(box, *extent, color="black", alpha=0.5, lw=0))
    axes.add_patch(Rectangle((x, y), length_px, thick, color="white", lw=0))
    axes.text(x + length_px / 2, y - 0.01 * height, label, color="white", fontsize=8, ha="center", va="bottom")
