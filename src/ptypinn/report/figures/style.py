"""What all figures share: a blank figure, image axes with a colour bar, a scale bar, round numbers."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ptypinn.report.figures.colours import LIGHT_THEME, ColourScale, amplitude_scale
from ptypinn.report.figures.display import reduced, step_for
from ptypinn.report.text.metric_labels import metres

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

INK, ACCENT, MUTED, ASIDE = (LIGHT_THEME[name] for name in ("ink", "accent", "rule", "muted"))
SOFT = LIGHT_THEME["soft"]
MOST_PX = 1600
"""Longest edge of an image in a figure; a larger one is averaged over blocks first."""


class ShownFigure(Figure):
    """A figure that notebooks show as a picture without pyplot, and that nothing keeps alive when it is let go."""

    def _repr_png_(self) -> bytes:
        return png_bytes(self)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure in inches, drawn by Agg without any display."""
    figure = ShownFigure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def literal(text: str) -> str:
    """Text from a file for a figure: a dollar sign is one, and begins no formula."""
    return text.replace("$", r"\$")


def png_bytes(figure: Figure, dpi: int = 110) -> bytes:
    """The figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def quiet(axes: Axes, label_pt: int = 8) -> None:
    """Axes of curves: no frame above and to the right, small labels, a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=label_pt)
    axes.grid(alpha=0.25, lw=0.6)


def show_image(
    axes: Axes,
    image: np.ndarray,
    title: str,
    scale: ColourScale | None = None,
    pixel_size_m: float | None = None,
    scale_bar: bool = True,
    step: int = 1,
) -> AxesImage:
    """Draw an image with its title, colour bar and scale bar; NaN pixels stay blank.

    Args:
        axes: Where to draw.
        image: Real image, (height, width).
        title: Text above.
        scale: What the colours mean; None for that of an amplitude.
        pixel_size_m: Object pixel, metres; None draws the scale bar in pixels.
        scale_bar: Draw a scale bar.
        step: Object pixels along the edge of a pixel of the image.
    """
    scale = scale or amplitude_scale(image)
    axes.set_facecolor(SOFT)
    height, width = image.shape
    small = reduced(image, step_for(image.shape, MOST_PX))
    drawn = axes.imshow(
        small,
        cmap=scale.name,
        vmin=scale.low,
        vmax=scale.high,
        interpolation="auto",
        interpolation_stage="rgba",
        extent=(-0.5, width - 0.5, height - 0.5, -0.5),
    )
    axes.set_title(title, fontsize=10, color=INK)
    axes.set_xticks([])
    axes.set_yticks([])
    bar = axes.figure.colorbar(drawn, cax=axes.inset_axes((1.02, 0.0, 0.04, 1.0)))
    bar.ax.tick_params(labelsize=8)
    bar.set_label(scale.unit, fontsize=8)
    if scale_bar:
        add_scale_bar(axes, image.shape, pixel_size_m, step)
    return drawn


def add_scale_bar(axes: Axes, shape: tuple[int, ...], pixel_size_m: float | None, step: int = 1) -> None:
    """Draw a bar of round length, about a quarter of the width, in the lower left corner."""
    height, width = shape
    length_px, label = scale_bar_of(width * step, pixel_size_m)
    length_px /= step
    x, y, thick = 0.04 * width, 0.95 * height, 0.015 * height
    box, extent = (x - 0.02 * width, y - 0.085 * height), (length_px + 0.04 * width, 0.12 * height)
    axes.add_patch(Rectangle(box, *extent, color="black", alpha=0.5, lw=0))
    axes.add_patch(Rectangle((x, y), length_px, thick, color="white", lw=0))
    axes.text(x + length_px / 2, y - 0.01 * height, label, color="white", fontsize=8, ha="center", va="bottom")


def scale_bar_of(width_px: int, pixel_size_m: float | None) -> tuple[float, str]:
    """Length in pixels and label of a scale bar for an image `width_px` wide: 1, 2 or 5 times a power of ten."""
    pixel = pixel_size_m or 1.0
    target = 0.3 * width_px * pixel
    decade = 10.0 ** np.floor(np.log10(target))
    length = decade * max(step for step in (1.0, 2.0, 5.0) if step * decade <= target * (1 + 1e-9))
    if pixel_size_m is None:
        return float(max(length, 1.0)), f"{max(length, 1.0):.0f} px"
    return float(length / pixel), metres(length)
