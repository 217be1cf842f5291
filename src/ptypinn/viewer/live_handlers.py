"""Handlers of runs of scans in progress: state with picture, newest pattern, positions."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ptypinn.viewer.handlers import Handlers
from ptypinn.viewer.live_run import LivePattern, pack_positions, positions_version, read_live, read_newest
from ptypinn.viewer.pages import find_run
from ptypinn.viewer.patterns import KINDS, brightest_counts, draw_counts, draw_difference
from ptypinn.viewer.picture_file import FileChangedError
from ptypinn.viewer.responses import BYTES, IMMUTABLE, PNG, REVALIDATE, etag_response, json_response
from ptypinn.viewer.run_index import RunIndex

MAX_PATTERNS = 16
"""Maximum number of patterns in memory: pages ask for the pictures of one after its description."""


class LiveHandlers:
    """Handlers of runs of scans in progress.

    Args:
        index: The runs on offer.
        pictures: Handlers of their pictures.
    """

    def __init__(self, index: RunIndex, pictures: Handlers) -> None:
        self._index, self._pictures = index, pictures
        self._patterns: OrderedDict[tuple[Path, str], LivePattern] = OrderedDict()
        self._guard = threading.Lock()

    def state(self, request: Request) -> Response:
        """Return the state of a run in progress, and descriptions of its picture and its newest pattern."""
        run = find_run(self._index, request)
        live = read_live(run.path)
        if live is None:
            return json_response(request, {"live": None})
        picture, _ = self._pictures.describe_picture(run)
        pattern = self._read_pattern(run.path)
        newest = None
        if pattern is not None:
            base = f"/api/runs/{run.id}/live/{pattern.version}"
            newest = {"base": base, "number": pattern.number, "size_px": pattern.measured.shape[0]}
        positions = f"/api/runs/{run.id}/live/positions/{positions_version(run.path)}"
        return json_response(request, {"live": live, "picture": picture, "pattern": newest, "positions": positions})

    def pattern(self, request: Request) -> Response:
        """Return the newest pattern, its prediction, or their difference."""
        folder, kind = find_run(self._index, request).path, request.path_params["kind"]
        with self._guard:
            pattern = self._patterns.get((folder, request.path_params["version"]))
        pattern = pattern or self._read_pattern(folder)
        if pattern is None or kind not in KINDS:
            raise HTTPException(404, "no such pattern")
        if pattern.version != request.path_params["version"]:
            raise FileChangedError(str(folder))
        shown = pattern

        def draw() -> bytes:
            if kind == "difference":
                return draw_difference(shown.measured, shown.predicted, shown.good)
            counts, good = (shown.measured, shown.good) if kind == "measured" else (shown.predicted, None)
            return draw_counts(counts, good, brightest_counts(shown.measured * shown.good))

        return etag_response(request, PNG, IMMUTABLE, draw, pattern.version, kind)

    def positions(self, request: Request) -> Response:
        """Return the positions."""
        packed = pack_positions(find_run(self._index, request).path)
        return etag_response(request, BYTES, REVALIDATE, lambda: packed, packed)

    def _read_pattern(self, folder: Path) -> LivePattern | None:
        """Read the newest pattern, which stays in memory for a while."""
        pattern = read_newest(folder)
        if pattern is not None:
            with self._guard:
                self._patterns[folder, pattern.version] = pattern
                while len(self._patterns) > MAX_PATTERNS:
                    self._patterns.popitem(last=False)
        return pattern
