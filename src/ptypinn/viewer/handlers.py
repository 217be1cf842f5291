"""Handlers of the viewer's API. Addresses contain ids and numbers, never names of files."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ptypinn.errors import InputError
from ptypinn.runs.folder import REPORT
from ptypinn.runs.untrusted import is_regular
from ptypinn.viewer.cache import ComparisonCache, PictureCache
from ptypinn.viewer.comparison import Comparison
from ptypinn.viewer.layers import DisplayRange
from ptypinn.viewer.live_run import read_live
from ptypinn.viewer.measure import BLOCK_PX, layer_histogram, measure_profile, read_block
from ptypinn.viewer.pages import find_run
from ptypinn.viewer.patterns import PatternReader, PatternReaderCache
from ptypinn.viewer.picture import Picture, draw_thumbnail
from ptypinn.viewer.picture_file import FileChangedError, file_version, find_newest_picture
from ptypinn.viewer.responses import BYTES, IMMUTABLE, PNG, REVALIDATE, etag_response, json_response, query_number
from ptypinn.viewer.run_index import Run, RunIndex
from ptypinn.viewer.run_status import RunStatus, read_status
from ptypinn.viewer.tiles import COLOUR_MAPS, encode_colour_strip, encode_phase_wheel

MAX_THUMBNAILS = 2000
COMPARISON_PICTURES = ("aligned", "difference")
"""Pictures of a comparison: the second run in the phase of the first, and the difference of both."""


class Handlers:
    """Handlers of the API, with caches of what is open.

    Args:
        index: The runs on offer.
        cache_bytes: Bound on reduced copies of objects.
    """

    def __init__(self, index: RunIndex, cache_bytes: int) -> None:
        self._index, self._pictures, self._pattern_readers = index, PictureCache(cache_bytes), PatternReaderCache()
        self._comparisons, self._thumbnails = ComparisonCache(), dict[str, bytes]()

    def runs(self, request: Request) -> Response:
        """Return all runs with their status."""
        entries: list[dict[str, Any]] = []
        for run in self._index.runs():
            with contextlib.suppress(FileNotFoundError):  # the run has been deleted meanwhile
                if run.path.exists():
                    entries.append(_describe_run(run))
        return json_response(request, {"runs": entries})

    def run(self, request: Request) -> Response:
        """Return the status of one run, and the description of its picture."""
        run = find_run(self._index, request)
        status = dataclasses.asdict(read_status(run, details=True))
        picture, error_text = self.describe_picture(run, _slice_number(request.query_params.get("slice", "")))
        content = {"picture": picture, "error": error_text, "report": is_regular(run.path / REPORT)}
        content["live"] = read_live(run.path)
        return json_response(request, {"id": run.id, "name": run.name, **status, **content})

    def describe_picture(self, run: Run, shown_slice: int = 0) -> tuple[dict[str, Any] | None, str]:
        """Return the description of the newest picture of a run, and the reason where it cannot be read.

        Args:
            run: The run.
            shown_slice: Slice in place of the object, from 1; 0 for all of them together.
        """
        path = find_newest_picture(run.path)
        if path is not None:
            try:
                picture = self._pictures.get(path)
                if 0 < shown_slice <= picture.file.slices:
                    picture = self._pictures.get(path, shown_slice)
                return _describe(picture, f"/api/runs/{run.id}/{{version}}"), ""
            except (InputError, FileChangedError, FileNotFoundError) as error:
                return None, str(error)
        return None, ""

    def comparison(self, request: Request) -> Response:
        """Return the two pictures of a comparison of runs, or the reason why they cannot be compared."""
        ids = request.path_params
        try:
            comparison = self._comparison(request)
        except InputError as error:
            return json_response(request, {"refused": str(error)})
        base = f"/api/runs/{ids['run']}/{ids['version']}/with/{ids['other']}/{ids['other_version']}"
        alignment = comparison.alignment
        phases = {"phase_rad": alignment.phase_rad, "ramp_rad_per_px": list(alignment.ramp_rad_per_px)}
        pictures = {name: _describe(getattr(comparison, name), f"{base}/{name}") for name in COMPARISON_PICTURES}
        return json_response(request, phases | pictures)

    def thumbnail(self, request: Request) -> Response:
        """Return a small picture of a run."""
        run = find_run(self._index, request)
        path, version = find_newest_picture(run.path), _picture_version(run)
        if path is None:
            raise HTTPException(404, "no picture yet")

        def draw() -> bytes:
            if version not in self._thumbnails:
                if len(self._thumbnails) >= MAX_THUMBNAILS:
                    self._thumbnails.clear()
                self._thumbnails[version] = draw_thumbnail(self._pictures.get(path))
            return self._thumbnails[version]

        return etag_response(request, PNG, REVALIDATE, draw, run.id, version)

    def colour_map(self, request: Request) -> Response:
        """Return a colour map as a strip, or the colours of complex numbers."""
        name = request.path_params["name"]
        if name not in (*COLOUR_MAPS, "complex"):
            raise HTTPException(404, "no such colour map")

        def draw() -> bytes:
            return encode_phase_wheel() if name == "complex" else encode_colour_strip(name)

        return etag_response(request, PNG, REVALIDATE, draw, name)

    def tile(self, request: Request) -> Response:
        """Return one tile of a layer."""
        place, query = request.path_params, request.query_params
        low, high = query_number(request, "low"), query_number(request, "high")
        display = DisplayRange(low, high, query.get("map", ""), query.get("weak") == "1")

        def draw() -> bytes:
            return self._picture(request).tile(place["layer"], place["level"], place["row"], place["column"], display)

        return etag_response(request, PNG, IMMUTABLE, draw, str(request.url))

    def block(self, request: Request) -> Response:
        """Return the complex values of a block of pixels."""
        place = request.path_params

        def read() -> bytes:
            return read_block(self._picture(request), place["row"], place["column"])

        return etag_response(request, BYTES, IMMUTABLE, read, str(request.url))

    def histogram(self, request: Request) -> Response:
        """Return the histogram of a layer."""
        return json_response(request, layer_histogram(self._picture(request), request.path_params["layer"]))

    def profile(self, request: Request) -> Response:
        """Return amplitude and phase along a line."""
        start, end = ((query_number(request, f"y{n}"), query_number(request, f"x{n}")) for n in (0, 1))
        return json_response(request, measure_profile(self._picture(request), start, end))

    def positions(self, request: Request) -> Response:
        """Return the scan positions."""
        return json_response(request, self._pattern_reader(request).describe())

    def pattern(self, request: Request) -> Response:
        """Return the figures of one pattern."""
        return json_response(request, self._pattern_reader(request).figures(request.path_params["number"]))

    def pattern_picture(self, request: Request) -> Response:
        """Return a measured pattern, a predicted one, or their difference."""
        reader, params = self._pattern_reader(request), request.path_params

        def draw() -> bytes:
            return reader.draw(params["number"], params["kind"])

        return etag_response(request, PNG, REVALIDATE, draw, str(request.url), reader.note)

    def _picture(self, request: Request) -> Picture:
        """Return the picture that an address names: of a run, or of its comparison with another."""
        name = request.path_params.get("picture")
        if name is None:
            return self._run_picture(request, "run", "version")
        if name not in COMPARISON_PICTURES:
            raise HTTPException(404, "no such picture")
        picture: Picture = getattr(self._comparison(request), name)
        return picture

    def _comparison(self, request: Request) -> Comparison:
        first = self._run_picture(request, "run", "version")
        return self._comparisons.get(first, self._run_picture(request, "other", "other_version"))

    def _run_picture(self, request: Request, run: str, version: str) -> Picture:
        """Return the picture of a run; its version must be the one in the address."""
        path = find_newest_picture(find_run(self._index, request, run).path)
        if path is None:
            raise FileChangedError
        key = request.path_params[version]
        return self._pictures.get_version(path, key, _slice_number(key.partition("-")[2]))

    def _pattern_reader(self, request: Request) -> PatternReader:
        run, picture = find_run(self._index, request), self._run_picture(request, "run", "version")
        return self._pattern_readers.get(picture.file, run.path if run.path.is_dir() else run.path.parent)


def _describe_run(run: Run) -> dict[str, Any]:
    """Return a run for the list; it is `unreadable` where no sense can be made of its files.

    Raises:
        FileNotFoundError: Where it has been deleted.
    """
    try:
        status, live = read_status(run), read_live(run.path)
    except FileNotFoundError:
        raise
    except Exception:  # one odd folder does not hide the others
        status, live = RunStatus("unreadable"), None
    if live is not None:
        del live["age_s"]  # which would be another list at each request
    entry = {"id": run.id, "name": run.name, "version": _picture_version(run), **dataclasses.asdict(status)}
    return {**entry, "live": live}


def _describe(picture: Picture, base: str) -> dict[str, Any]:
    """Return the description of a picture for a page, with the address of its parts."""
    description = picture.describe()
    base = base.format(version=description["version"])
    return description | {"block": BLOCK_PX, "maps": list(COLOUR_MAPS), "base": base}


def _slice_number(text: str) -> int:
    """Return the number of a slice in an address; 0, for all of them, where there is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 5 else 0


def _picture_version(run: Run) -> str:
    """Return the version of the picture of a run; empty where there is none."""
    path = find_newest_picture(run.path)
    try:
        return "" if path is None else file_version(path)
    except FileNotFoundError:
        return ""
