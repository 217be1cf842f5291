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
    """Return a page as HTML text; every text is escaped, and an undefined name in the template is an error."""
    template = templates(TEMPLATES).get_template(TEMPLATE)
    return template.render(page=page, version=__version__, light=LIGHT_THEME, dark=DARK_THEME, gradients=gradients())


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
