"""Answers every address of the viewer; ids and numbers come in, and nothing in an address names a file."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ptypinn.errors import InputError
from ptypinn.runs.folder import REPORT
from ptypinn.viewer.cache import ComparisonCache, PictureCache
from ptypinn.viewer.layers import DisplayRange
from ptypinn.viewer.measure import BLOCK_PX, read_block, layer_histogram, measure_profile
from ptypinn.viewer.pages import load_assets, render_missing_page, render_list_page, render_run_page
from ptypinn.viewer.comparison import Comparison
from ptypinn.viewer.patterns import PatternReader, PatternReaderCache
from ptypinn.viewer.picture import Picture, draw_thumbnail
from ptypinn.viewer.picture_file import FileChangedError, find_newest_picture, file_version
from ptypinn.viewer.responses import REVALIDATE, BYTES, IMMUTABLE, HTML, PNG, query_number, etag_response, json_response
from ptypinn.viewer.run_index import RunIndex, Run
from ptypinn.viewer.run_status import read_status
from ptypinn.viewer.tiles import COLOUR_MAPS, encode_colour_strip, encode_phase_wheel

MAX_THUMBNAILS = 2000
REPORT_HEADERS = {
    "Content-Security-Policy": (
        "sandbox allow-scripts allow-popups allow-downloads; default-src 'none'; style-src 'unsafe-inline'; "
        "script-src 'unsafe-inline'; img-src data:; font-src data:"
    )
}
"""A page with scripts and styles of its own, kept apart from the viewer and from the network."""
PARTS = ("turned", "difference")
"""Pictures of a comparison."""
RUN_ID = re.compile(r"[0-9a-f]{12}")


class Handlers:
    """Holds what is open, and answers.

    Args:
        catalogue: What there is to show.
        cache_bytes: Bound on reduced copies of objects.
    """

    def __init__(self, catalogue: RunIndex, cache_bytes: int) -> None:
        self._catalogue, self._pictures, self._books = catalogue, PictureCache(cache_bytes), PatternReaderCache()
        self._pairs, self._assets, self._thumbnails = ComparisonCache(), load_assets(), dict[str, bytes]()

    def render_list_page(self, request: Request) -> Response:
        """The page with all runs."""
        return Response(render_list_page(), media_type=HTML, headers={"Cache-Control": REVALIDATE})

    def render_run_page(self, request: Request) -> Response:
        """The page of one run."""
        try:
            page = render_run_page(self._run(request).name)
        except HTTPException as error:
            return Response(render_missing_page(), error.status_code, media_type=HTML, headers={"Cache-Control": "no-store"})
        return Response(page, media_type=HTML, headers={"Cache-Control": REVALIDATE})

    def report(self, request: Request) -> Response:
        """The report of a run, which holds its own style and pictures, and reaches nothing of this server."""
        path = self._run(request).place / REPORT
        if not path.is_file():
            raise HTTPException(404, "no report")
        return Response(path.read_bytes(), media_type=HTML, headers={**REPORT_HEADERS, "Cache-Control": REVALIDATE})

    def asset(self, request: Request) -> Response:
        """A script or a style sheet, by its name among those that were read at the start."""
        found = self._assets.get(request.path_params["name"])
        if found is None:
            raise HTTPException(404, "no such file")
        media_type, content = found
        return etag_response(request, media_type, REVALIDATE, lambda: content, content)

    def runs(self, request: Request) -> Response:
        """All runs with how they stand."""
        found = []
        for run in self._catalogue.runs():
            with contextlib.suppress(FileNotFoundError):  # it has gone since it was found
                state = dataclasses.asdict(read_status(run)) if run.place.exists() else None
                found += [] if state is None else [{"id": run.id, "name": run.name, "version": _version(run), **state}]
        return json_response(request, {"runs": found})

    def run(self, request: Request) -> Response:
        """One run: how it stands, and what there is to see of it."""
        run = self._run(request)
        state = dataclasses.asdict(read_status(run, details=True))
        path, picture, trouble = find_newest_picture(run.place), None, ""
        if path is not None:
            try:
                picture = _told(self._pictures.get(path), f"/api/runs/{run.id}/{{version}}")
            except (InputError, FileChangedError, FileNotFoundError) as error:
                trouble = str(error)
        told = {"picture": picture, "trouble": trouble, "report": (run.place / REPORT).is_file()}
        return json_response(request, {"id": run.id, "name": run.name, **state, **told})

    def pair(self, request: Request) -> Response:
        """A run compared with another: the other one in its phase, and the difference of both; or why there is none."""
        at = request.path_params
        try:
            pair = self._pair(request)
        except InputError as error:
            return json_response(request, {"refused": str(error)})
        base = f"/api/runs/{at['run']}/{at['version']}/with/{at['other']}/{at['other_version']}"
        turn = pair.turn
        told = {"phase_rad": turn.phase_rad, "ramp_rad_per_px": list(turn.ramp_rad_per_px)}
        parts = {name: _told(getattr(pair, name), f"{base}/{name}") for name in PARTS}
        return json_response(request, told | parts)

    def draw_thumbnail(self, request: Request) -> Response:
        """A small picture of a run."""
        run = self._run(request)
        path, version = find_newest_picture(run.place), _version(run)
        if path is None:
            raise HTTPException(404, "nothing to see yet")

        def make() -> bytes:
            if version not in self._thumbnails:
                if len(self._thumbnails) >= MAX_THUMBNAILS:
                    self._thumbnails.clear()
                self._thumbnails[version] = draw_thumbnail(self._pictures.get(path))
            return self._thumbnails[version]

        return etag_response(request, PNG, REVALIDATE, make, run.id, version)

    def colours(self, request: Request) -> Response:
        """A colour map as a strip, or the colours of complex numbers."""
        name = request.path_params["name"]
        if name not in (*COLOUR_MAPS, "complex"):
            raise HTTPException(404, "no such colour map")
        return etag_response(request, PNG, REVALIDATE, lambda: encode_phase_wheel() if name == "complex" else encode_colour_strip(name), name)

    def tile(self, request: Request) -> Response:
        """One tile of a layer."""
        at, query = request.path_params, request.query_params
        look = DisplayRange(query_number(request, "low"), query_number(request, "high"), query.get("map", ""), query.get("dim") == "1")

        def draw() -> bytes:
            return self._picture(request).tile(at["layer"], at["level"], at["row"], at["column"], look)

        return etag_response(request, PNG, IMMUTABLE, draw, str(request.url))

    def read_block(self, request: Request) -> Response:
        """Complex values of a block of pixels."""
        at = request.path_params

        def read() -> bytes:
            return read_block(self._picture(request), at["row"], at["column"])

        return etag_response(request, BYTES, IMMUTABLE, read, str(request.url))

    def layer_histogram(self, request: Request) -> Response:
        """Histogram of a layer."""
        return json_response(request, layer_histogram(self._picture(request), request.path_params["layer"]))

    def measure_profile(self, request: Request) -> Response:
        """Amplitude and phase along a line."""
        start, end = ((query_number(request, f"y{n}"), query_number(request, f"x{n}")) for n in (0, 1))
        return json_response(request, measure_profile(self._picture(request), start, end))

    def positions(self, request: Request) -> Response:
        """Where patterns were taken."""
        return json_response(request, self._book(request).describe())

    def pattern(self, request: Request) -> Response:
        """Figures of one pattern."""
        return json_response(request, self._book(request).figures(request.path_params["number"]))

    def pattern_picture(self, request: Request) -> Response:
        """A measured or predicted pattern."""
        book, at = self._book(request), request.path_params
        return etag_response(
            request, PNG, REVALIDATE, lambda: book.picture(at["number"], at["kind"]), str(request.url), book.note
        )

    def _run(self, request: Request, name: str = "run") -> Run:
        identity = request.path_params[name]
        found = self._catalogue.run(identity) if RUN_ID.fullmatch(identity) else None
        if found is None:
            raise HTTPException(404, "no such run")
        return found

    def _picture(self, request: Request) -> Picture:
        """The picture that an address names: of a run, or of its comparison with another."""
        part = request.path_params.get("part")
        if part is None:
            return self._of_run(request, "run", "version")
        if part not in PARTS:
            raise HTTPException(404, "no such picture")
        found: Picture = getattr(self._pair(request), part)
        return found

    def _pair(self, request: Request) -> Comparison:
        first, second = self._of_run(request, "run", "version"), self._of_run(request, "other", "other_version")
        return self._pairs.get(first, second)

    def _of_run(self, request: Request, run: str, version: str) -> Picture:
        """The picture of a run, which must be in the version that the address names."""
        path = find_newest_picture(self._run(request, run).place)
        if path is None:
            raise FileChangedError
        picture = self._pictures.get(path)
        if picture.file.version != request.path_params[version]:
            raise FileChangedError(str(path))
        return picture

    def _book(self, request: Request) -> PatternReader:
        run, picture = self._run(request), self._of_run(request, "run", "version")
        return self._books.get(picture.file, run.place if run.place.is_dir() else run.place.parent)


def _told(picture: Picture, base: str) -> dict[str, Any]:
    """What a page has to know of a picture, and where it asks for more."""
    known = picture.describe()
    return known | {"block": BLOCK_PX, "maps": list(COLOUR_MAPS), "base": base.format(version=known["version"])}


def _version(run: Run) -> str:
    """Version of what there is to see of a run; empty where there is nothing."""
    path = find_newest_picture(run.place)
    try:
        return "" if path is None else file_version(path)
    except FileNotFoundError:
        return ""
