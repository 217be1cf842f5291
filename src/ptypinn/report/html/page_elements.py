"""What pages are made of: sections of pictures, drawings, tables, facts and sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ptypinn.report.figures.panels import Panel
from ptypinn.report.text.metric_labels import DASH, digits_of

WIDE_IN = 6.5


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
    """Its unit, with what else is to be said in small print."""
    remark: str = ""
    """Small print on a line of its own."""
    code: bool = False
    """The remark is a name that programs know."""


def cell_of(value: object, unit: str = "", digits: int = 4) -> Cell:
    """A number with its unit, or a dash where there is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return Cell(DASH)
    return Cell(digits_of(float(value), digits), value=float(value), unit=unit)


@dataclass(frozen=True)
class Points:
    """Sentences, one point each."""

    kind: ClassVar[str] = "points"
    sentences: Sequence[str]
    """In backticks: what programs know."""


@dataclass(frozen=True)
class Drawing:
    """A drawing of lines and text."""

    kind: ClassVar[str] = "drawing"
    svg: str
    """The `svg` element."""
    alt: str
    """What it shows, in words."""
    width_in: float
    """How wide it wants to be, inches."""

    @property
    def wide(self) -> bool:
        """Whether it scrolls sideways on a phone rather than shrink."""
        return self.width_in > WIDE_IN


@dataclass(frozen=True)
class Figures:
    """Pictures and drawings side by side, in rows as the page is wide."""

    kind: ClassVar[str] = "figures"
    items: Sequence[Panel | Drawing]
    """What is shown."""
    caption: str = ""
    """What to look for."""
    columns: int = 3
    """How many stand in a row where the page is wide."""

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
    """What the table holds."""
    header: Sequence[str]
    """Names of the columns."""
    rows: Sequence[Sequence[Cell]]
    """The cells."""
    words: Sequence[int] = ()
    """Columns of text; all others but the first are of numbers."""
    wide: bool = False
    """As wide as it needs, scrolling sideways."""


@dataclass(frozen=True)
class Facts:
    """Labels and values."""

    kind: ClassVar[str] = "facts"
    items: Sequence[tuple[str, Cell]]
    """In order."""


@dataclass(frozen=True)
class Code:
    """Text for programs, word by word."""

    kind: ClassVar[str] = "code"
    text: str
    """The text."""


@dataclass(frozen=True)
class Fold:
    """Details that are folded away until they are asked for; printed in full."""

    kind: ClassVar[str] = "fold"
    summary: str
    """What is inside."""
    blocks: Sequence[Block]
    """The details."""


Block = Points | Figures | Table | Facts | Code | Fold


@dataclass(frozen=True)
class Section:
    """A part of a page under a heading of its own."""

    key: str
    """Name of its place in the page."""
    title: str
    """The heading."""
    blocks: Sequence[Block] = ()
    """What it shows; nothing where it is absent."""
    absent: str = ""
    """Why there is nothing to show, in a sentence."""


@dataclass(frozen=True)
class Verdict:
    """What a reader should know first."""

    level: Literal["good", "open", "warn"]
    """Nothing stands against the result; something cannot be told; something does."""
    answer: str
    """One sentence."""
    reasons: Sequence[str] = ()
    """What it rests on, or what to look out for."""
    question: str = "Can I trust it?"
    """What it answers."""


@dataclass(frozen=True)
class Page:
    """A page."""

    title: str
    """Heading, and name of the page."""
    kind: str
    """What kind of page it is."""
    sections: Sequence[Section]
    """In order."""
    verdict: Verdict | None = None
    """What comes first."""
    tiles: Sequence[tuple[str, Cell]] = ()
    """Key figures."""
    hero: Figures | None = None
    """The pictures that answer what there is to see."""
    facts: Sequence[tuple[str, Cell]] = field(default_factory=list)
    """What was measured and how."""
