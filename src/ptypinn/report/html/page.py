"""Self-contained HTML pages: one template and one style for all."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from ptypinn._version import __version__
from ptypinn.report.figures.colours import DARK_THEME, LIGHT_THEME, gradients
from ptypinn.report.html.page_elements import Page

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES, TEMPLATE = "report/templates", "page.html.jinja"
_CODE = re.compile(r"`([^`]+)`")


def render_page(page: Page) -> str:
    """A page as HTML text; every text is escaped, and a name that the template does not know is an error."""
    template = templates(TEMPLATES).get_template(TEMPLATE)
    return template.render(page=page, version=__version__, light=LIGHT_THEME, dark=DARK_THEME, gradients=gradients())


@functools.cache
def templates(folder: str) -> Environment:
    """The templates in a folder of the package; every text in them is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    found = Environment(
        loader=PackageLoader("ptypinn", folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["prose"] = prose
    found.filters["breakable"] = breakable
    return found


def prose(text: str) -> Markup:
    """Text with what stands in backticks as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))


def breakable(name: str) -> Markup:
    """A name that breaks after its underscores where a line is too short for it."""
    return escape(name).replace("_", Markup("_<wbr>"))
