"""Self-contained HTML pages: figures as embedded pictures, and templates that share one style."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ptypinn import __version__
from ptypinn.report.style import png_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDE_IN = 8.0


@dataclass(frozen=True)
class Picture:
    """A figure ready to stand in a page."""

    title: str
    """Heading above it."""
    caption: str
    """What to look for."""
    source: str
    """The image as a `data:` address."""
    wide: bool
    """Too wide for a phone: scrolls sideways there rather than shrink."""


def picture_of(title: str, caption: str, figure: Figure, dpi: int = 110) -> Picture:
    """Draw a figure for a page."""
    source = "data:image/png;base64," + base64.b64encode(png_bytes(figure, dpi)).decode("ascii")
    return Picture(title, caption, source, wide=bool(figure.get_figwidth() > WIDE_IN))


def render_page(template: str, **values: Any) -> str:
    """Fill a template of this package; every text is escaped, and a name it lacks is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader("ptypinn", "report/templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return templates.get_template(template).render(version=__version__, **values)
