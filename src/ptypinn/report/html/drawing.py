"""Figures as drawings inside a page: text stays text, and colours follow the page, light or dark."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

from ptypinn.report.figures.colours import THEME_VARIABLES
from ptypinn.report.html.page_elements import Drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RASTER_DPI = 150
_COLOUR = re.compile("|".join(map(re.escape, THEME_VARIABLES)), re.I)
_FAMILY = re.compile(r"font-family: [^;\"]+;? ?")
_FONT = re.compile(r"(font: (?:\w+ )*[\d.]+px )[^;\"]+")


def drawing_of(figure: Figure, key: str, alt: str) -> Drawing:
    """A figure as a drawing of a page.

    Args:
        figure: What to draw.
        key: Prefix of all names inside, unlike that of every other drawing of the page.
        alt: What it shows, in words.
    """
    return Drawing(svg_of(figure, key), alt, float(figure.get_figwidth()))


def svg_of(figure: Figure, key: str) -> str:
    """A figure as an `svg` element to stand in HTML.

    Args:
        figure: What to draw; parts marked as rasterized become pictures inside.
        key: Prefix of all names inside, unlike that of every other drawing of the page.
    """
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": key, "svg.image_inline": True}):
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", metadata=nothing, dpi=RASTER_DPI, transparent=True)
    return _for_page(buffer.getvalue(), key)


def _for_page(text: str, key: str) -> str:
    """Without what only files of their own need, with names, colours and fonts of the page."""
    text = text[text.index("<svg") :].strip()
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    head, body = text[: text.index(">")], text[text.index(">") :]
    text = re.sub(r'\s(?:xmlns(?::\w+)?|version|width|height)="[^"]*"', "", head) + body
    text = text.replace("xlink:href", "href")
    text = re.sub(r'\bid="([^"]+)"', rf'id="{key}-\1"', text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{key}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{key}-\1)", text)
    text = _FAMILY.sub("", _FONT.sub(r"\1system-ui, sans-serif", text))
    return _COLOUR.sub(lambda found: THEME_VARIABLES[found[0].lower()], re.sub(r"\n\s*", "\n", text))
