"""The pages of the viewer: list, health, a scan, a run, its report, and the scripts and style sheets that they load."""

from __future__ import annotations

import re
from importlib import resources

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ptypinn._version import __version__
from ptypinn.report.html.templates import templates
from ptypinn.runs.folder import REPORT
from ptypinn.runs.untrusted import MAX_REPORT_BYTES, read_whole
from ptypinn.viewer.responses import HTML, REVALIDATE, etag_response
from ptypinn.viewer.room import Room
from ptypinn.viewer.run_index import Run, RunIndex
from ptypinn.viewer.scan_handlers import find_scan

TEMPLATES = "viewer/templates"
MEDIA_TYPES = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
RUN_ID = re.compile(r"[0-9a-f]{12}")
REPORT_HEADERS = {
    "Content-Security-Policy": (
        "sandbox allow-scripts allow-popups allow-downloads; default-src 'none'; style-src 'unsafe-inline'; "
        "script-src 'unsafe-inline'; img-src data:; font-src data:"
    )
}
"""Headers of a report, which has scripts and styles of its own: isolated from the viewer and from the network."""

KEYBOARD_HELP = (
    ("arrows", "move"),
    ("+ and -", "zoom"),
    ("0", "fit the object to the view"),
    ("1", "one screen pixel per object pixel"),
    ("Enter", "select the position nearest to the centre"),
    ("N and B", "next and previous pattern"),
    ("P", "show all positions"),
    ("L", "profile across the centre"),
    ("Esc", "remove the profile"),
)
"""Keys and their actions while the object has the focus."""


class PageHandlers:
    """Handlers of the addresses that return pages and their static files.

    Args:
        room: Runs and scans on offer.
        read_only: Offer no buttons that start or end jobs.
    """

    def __init__(self, room: Room, read_only: bool) -> None:
        self._index, self._scans, self._assets, self._read_only = room.runs, room.scans, load_assets(), read_only

    def list_page(self, request: Request) -> Response:
        """Return the page with all jobs, scans and runs."""
        return self._page("list.html.jinja")

    def health_page(self, request: Request) -> Response:
        """Return the page on the health of the viewer."""
        return self._page("health.html.jinja")

    def scan_page(self, request: Request) -> Response:
        """Return the page of one scan."""
        try:
            return self._page("scan.html.jinja", name=find_scan(self._scans, request).name)
        except HTTPException as error:
            return self._missing("scan", error.status_code)

    def run_page(self, request: Request) -> Response:
        """Return the page of one run."""
        try:
            return self._page("run.html.jinja", name=find_run(self._index, request).name, keys=KEYBOARD_HELP)
        except HTTPException as error:
            return self._missing("run", error.status_code)

    def report(self, request: Request) -> Response:
        """Return the report of a run, isolated from this server."""
        path = find_run(self._index, request).path / REPORT
        try:
            content = read_whole(path, MAX_REPORT_BYTES)
        except OSError:
            raise HTTPException(404, "no report") from None
        return Response(content, media_type=HTML, headers={**REPORT_HEADERS, "Cache-Control": REVALIDATE})

    def asset(self, request: Request) -> Response:
        """Return a script or a style sheet by its name; only files that were loaded at the start can be named."""
        asset = self._assets.get(request.path_params["name"])
        if asset is None:
            raise HTTPException(404, "no such file")
        media_type, content = asset
        return etag_response(request, media_type, REVALIDATE, lambda: content, content)

    def _page(self, template: str, **values: object) -> Response:
        page = _render(template, read_only=self._read_only, **values)
        return Response(page, media_type=HTML, headers={"Cache-Control": REVALIDATE})

    @staticmethod
    def _missing(what: str, status: int) -> Response:
        page = _render("missing.html.jinja", what=what)
        return Response(page, status, media_type=HTML, headers={"Cache-Control": "no-store"})


def find_run(index: RunIndex, request: Request, parameter: str = "run") -> Run:
    """Return the run whose id is in the address of a request.

    Raises:
        HTTPException: Where there is no such run.
    """
    run_id = request.path_params[parameter]
    run = index.run(run_id) if RUN_ID.fullmatch(run_id) else None
    if run is None:
        raise HTTPException(404, "no such run")
    return run


def load_assets() -> dict[str, tuple[str, bytes]]:
    """Return media type and content of all static files, by name."""
    folder = resources.files("ptypinn.viewer") / "static"
    return {
        entry.name: (MEDIA_TYPES[entry.name.rsplit(".", 1)[1]], entry.read_bytes())
        for entry in folder.iterdir()
        if entry.name.rsplit(".", 1)[-1] in MEDIA_TYPES
    }


def _render(template: str, **values: object) -> str:
    return templates(TEMPLATES).get_template(template).render(version=__version__, **values)
