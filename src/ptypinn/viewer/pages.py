"""The pages of the viewer, and the scripts and style sheets that they are made of."""

from __future__ import annotations

from importlib import resources

from ptypinn._version import __version__
from ptypinn.report.html.page import templates

TEMPLATES = "viewer/templates"
MEDIA_TYPES = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}

KEYBOARD_HELP = (
    ("arrows", "move"),
    ("+ and -", "zoom"),
    ("0", "show all of it"),
    ("1", "one pixel on the screen per pixel"),
    ("Enter", "pick the position nearest to the middle"),
    ("N and B", "next pattern, and the one before"),
    ("P", "show all positions"),
    ("L", "profile across the middle"),
    ("Esc", "remove the profile"),
)
"""What keys do while the object has the focus."""


def render_list_page() -> str:
    """The page with all runs."""
    return templates(TEMPLATES).get_template("list.html.jinja").render(version=__version__)


def render_run_page(name: str) -> str:
    """The page of one run."""
    return templates(TEMPLATES).get_template("run.html.jinja").render(name=name, version=__version__, keys=KEYBOARD_HELP)


def render_missing_page() -> str:
    """The page in place of a run that there is not."""
    return templates(TEMPLATES).get_template("gone.html.jinja").render(version=__version__)


def load_assets() -> dict[str, tuple[str, bytes]]:
    """Media type and content of everything that pages load, by name."""
    folder = resources.files("ptypinn.viewer") / "static"
    return {
        entry.name: (MEDIA_TYPES[entry.name.rsplit(".", 1)[1]], entry.read_bytes())
        for entry in folder.iterdir()
        if entry.name.rsplit(".", 1)[-1] in MEDIA_TYPES
    }
