"""Self-contained HTML pages: their elements, one template and one style for all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from ptypinn._version import __version__
from ptypinn.report.figures.colours import DARK_THEME, LIGHT_THEME, gradients
from ptypinn.report.figures.panels import Panel
from ptypinn.report.figures.style import svg_of
from ptypinn.report.html.templates import TEMPLATES, templates
from ptypinn.report.text.verdict import Verdict
from ptypinn.utils.number_format import DASH, format_number

if TYPE_CHECKING:
    from matplotlib.figure import Figure


WIDE_IN = 6.5
"""Drawings wider than this scroll sideways on a phone."""
TEMPLATE = "page.html.jinja"


@dataclass(frozen=True)
class Cell:
    """One value of a table, or of a list of figures."""

    text: str
    """The value as shown."""
    off: bool = False
    """Beyond what a healthy run shows."""
    value: float | None = None
    """The number behind the text, for programs."""
    unit: str = ""
    """Its unit, in small print."""
    remark: str = ""
    """Small print on a line of its own."""
    code: bool = False
    """The remark is a name as in files, set as code."""


def cell_of(value: object, unit: str = "", digits: int = 4) -> Cell:
    """Return a number with its unit, or a dash where there is none.

    >>> cell_of(0.5, "rad").text, cell_of(None).text == DASH
    ('0.5000', True)
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return Cell(DASH)
    return Cell(format_number(float(value), digits), value=float(value), unit=unit)


@dataclass(frozen=True)
class Points:
    """Sentences, one point each."""

    kind: ClassVar[str] = "points"
    sentences: Sequence[str]
    """Words in backticks are set as code."""


@dataclass(frozen=True)
class Drawing:
    """A drawing of lines and text."""

    kind: ClassVar[str] = "drawing"
    svg: str
    """The `svg` element."""
    alt: str
    """Description in words, for those who cannot see it."""
    width_in: float
    """Natural width, inches."""

    @property
    def wide(self) -> bool:
        """True if it scrolls sideways on a phone rather than shrink."""
        return self.width_in > WIDE_IN

    @classmethod
    def of_figure(cls, figure: Figure, key: str, alt: str) -> Drawing:
        """Return a matplotlib figure as a drawing.

        Args:
            figure: The figure.
            key: Prefix of all names inside, different from that of every other drawing of the page.
            alt: Description in words.
        """
        return cls(svg_of(figure, key), alt, float(figure.get_figwidth()))


@dataclass(frozen=True)
class Figures:
    """Pictures and drawings side by side, in rows as the page is wide."""

    kind: ClassVar[str] = "figures"
    items: Sequence[Panel | Drawing]
    """In order."""
    caption: str = ""
    """Text below."""
    columns: int = 3
    """Number in a row on a wide page."""

    @property
    def aspect(self) -> float:
        """Width over height of the first picture."""
        pictures = [item for item in self.items if isinstance(item, Panel)]
        return round(pictures[0].width / pictures[0].height, 3) if pictures else 1.0


@dataclass(frozen=True)
class Table:
    """A table; the first cell of a row names it."""

    kind: ClassVar[str] = "table"
    caption: str
    """Title of the table."""
    header: Sequence[str]
    """Names of the columns."""
    rows: Sequence[Sequence[Cell]]
    """The cells."""
    words: Sequence[int] = ()
    """Columns of text; all others but the first are of numbers."""
    wide: bool = False
    """As wide as its contents, scrolling sideways."""


@dataclass(frozen=True)
class Facts:
    """Labels and values."""

    kind: ClassVar[str] = "facts"
    items: Sequence[tuple[str, Cell]]
    """In order."""


@dataclass(frozen=True)
class Code:
    """Text that is shown verbatim."""

    kind: ClassVar[str] = "code"
    text: str
    """The text."""


@dataclass(frozen=True)
class Fold:
    """Details that open on a click; printed in full."""

    kind: ClassVar[str] = "fold"
    summary: str
    """Title of the details."""
    blocks: Sequence[Block]
    """The details."""


Block = Points | Figures | Table | Facts | Code | Fold


@dataclass(frozen=True)
class Section:
    """A part of a page under a heading of its own."""

    key: str
    """Anchor of the section in the page."""
    title: str
    """The heading."""
    blocks: Sequence[Block] = ()
    """Contents; none where it is absent."""
    absent: str = ""
    """Reason why there is nothing to show, in a sentence."""


@dataclass(frozen=True)
class Page:
    """A page."""

    title: str
    """Heading, and name of the page."""
    kind: str
    """Kind of page."""
    sections: Sequence[Section]
    """In order."""
    verdict: Verdict | None = None
    """First statement."""
    tiles: Sequence[tuple[str, Cell]] = ()
    """Key metrics."""
    hero: Figures | None = None
    """Panels at the top."""
    facts: Sequence[tuple[str, Cell]] = field(default_factory=list)
    """Facts below the title."""


def render_page(page: Page) -> str:
    """Return a page as HTML text; every text is escaped, and an undefined name in the template is an error."""
    template = templates(TEMPLATES).get_template(TEMPLATE)
    return template.render(page=page, version=__version__, light=LIGHT_THEME, dark=DARK_THEME, gradients=gradients())
