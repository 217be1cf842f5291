"""Handlers of scans: what a scan is, the forms, and the requests that start jobs on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import fields
from typing import Any
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ptypinn.config.load import LoadConfig
from ptypinn.errors import InputError
from ptypinn.viewer.job_handlers import check_request, read_request, require_values, start_request
from ptypinn.viewer.job_queue import JobQueue, JobRequest
from ptypinn.viewer.job_store import JOB_ID
from ptypinn.viewer.picture_file import FileChangedError
from ptypinn.viewer.responses import IMMUTABLE, PNG, describe_error, entry, etag_response, json_response, parse_object
from ptypinn.viewer.scan_facts import FAILED, FactsCache
from ptypinn.viewer.scan_index import Scan, ScanIndex
from ptypinn.viewer.source_address import propose_replay

PATH_ID = JOB_ID


class ScanHandlers:
    """Handlers of scans.

    Args:
        index: The scans on offer.
        queue: The jobs.
        facts: Looks at scans.
    """

    def __init__(self, index: ScanIndex, queue: JobQueue, facts: FactsCache) -> None:
        self._index, self._queue, self._facts = index, queue, facts

    def scans(self, request: Request) -> Response:
        """Return all scans found so far."""
        scans = [_describe_scan(scan) for scan in self._index.scans()]
        return json_response(request, {"scans": scans, "searching": not self._index.is_complete})

    def scan(self, request: Request) -> Response:
        """Return one scan."""
        scan = find_scan(self._index, request)
        outputs = self._queue.propose_outputs(str(scan.place.with_suffix("")), scan.root)
        form = {"outputs": outputs, "source": propose_replay(scan.place)}
        return json_response(request, {**_describe_scan(scan), **form})

    def look(self, request: Request) -> Response:
        """Return what `ptypinn info` states about a scan, or how far that is; it begins with the first request."""
        scan = find_scan(self._index, request)
        try:
            facts, query = self._facts.get(scan, self._reading(request, scan)), request.query_params.get("values", "")
        except InputError as error:
            return json_response(request, {"state": FAILED, **describe_error(error)})
        content = {"base": f"/api/scans/{scan.id}/{facts.version}", "query": f"?{urlencode({'values': query})}"}
        return json_response(request, {**content, **facts.describe()})

    def picture(self, request: Request) -> Response:
        """Return a picture of a scan: its mean pattern, or its probe."""
        scan = find_scan(self._index, request)
        facts = self._facts.find(scan, self._reading(request, scan))
        if facts is None or request.path_params["version"] != facts.version:
            raise FileChangedError(str(scan.path))
        content = (facts.look.pictures or {}).get(request.path_params["name"])
        if content is None:
            raise HTTPException(404, "no such picture")
        return etag_response(request, PNG, IMMUTABLE, lambda: content, content)

    def forms(self, request: Request) -> Response:
        """Return the forms of all commands."""
        forms = [command.describe() for command in self._queue.commands.values()]
        return json_response(request, {"forms": forms})

    def check(self, request: Request, content: Mapping[str, Any]) -> Response:
        """Return the command line that a form describes, or why it is none; nothing is started."""
        return check_request(request, self._queue, self._read(request, content))

    def start(self, request: Request, content: Mapping[str, Any]) -> Response:
        """Queue the job that a form describes."""
        return start_request(request, self._queue, self._read(request, content))

    def _read(self, request: Request, content: Mapping[str, Any]) -> JobRequest:
        """Return the request of a form on a scan: its file, or for a scan in progress the source that is stated."""
        scan = find_scan(self._index, request)
        command = self._queue.commands.get(entry(content, "command", str))
        takes_source = command is not None and command.takes_source
        return read_request(content, entry(content, "source", str) if takes_source else str(scan.place), scan.root)

    def _reading(self, request: Request, scan: Scan) -> dict[str, Any]:
        """Return the options of reading in the query of an address: those of a form, as `values`.

        Raises:
            InputError: As `JobCommand.parse`.
        """
        text, names = request.query_params.get("values", ""), {field.name for field in fields(LoadConfig)}
        if not text or not self._queue.commands:
            return {}
        values = {name: value for name, value in parse_object(text.encode()).items() if name in names}
        settings = next(iter(self._queue.commands.values())).parse(require_values(values), scan.root)
        return {setting.option.name: setting.value for setting in settings}


def find_scan(index: ScanIndex, request: Request) -> Scan:
    """Return the scan whose id is in the address of a request.

    Raises:
        HTTPException: Where there is no such scan.
    """
    scan_id = request.path_params["scan"]
    scan = index.scan(scan_id) if PATH_ID.fullmatch(scan_id) else None
    if scan is None:
        raise HTTPException(404, "no such scan")
    return scan


def _describe_scan(scan: Scan) -> dict[str, Any]:
    content = dataclasses.asdict(scan)
    return {name: value for name, value in content.items() if name not in ("path", "root")}
