"""Templates of pages, in which every text is escaped."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = "report/templates"
"""Folder of the templates of reports."""
_CODE = re.compile(r"`([^`]+)`")


@functools.cache
def templates(folder: str) -> Environment:
    """Return the templates in a folder of the package; every text in them is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("ptypinn", folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["prose"] = prose
    environment.filters["breakable"] = breakable
    return environment


def prose(text: str) -> Markup:
    """Return text as HTML, with the parts in backticks as code.

    >>> prose("see `a<b`")
    Markup('see <code>a&lt;b</code>')
    """
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))


def breakable(name: str) -> Markup:
    """Return a name that may break after its underscores where a line is too short for it.

    >>> breakable("flux_closure")
    Markup('flux_<wbr>closure')
    """
    return escape(name).replace("_", Markup("_<wbr>"))
