"""Self-contained HTML pages: one template and one style for all."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

from ptypinn import __version__
from ptypinn.report.blocks import Page
from ptypinn.report.colours import gradients
from ptypinn.report.theme import DARK, LIGHT

TEMPLATE = "page.html.jinja"
_CODE = re.compile(r"`([^`]+)`")


def render_page(page: Page) -> str:
    """A page as HTML text; every text is escaped, and a name that the template does not know is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader("ptypinn", "report/templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["prose"] = prose
    template = templates.get_template(TEMPLATE)
    return template.render(page=page, version=__version__, light=LIGHT, dark=DARK, gradients=gradients())


def prose(text: str) -> Markup:
    """Text with what stands in backticks as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))
