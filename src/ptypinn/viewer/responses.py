"""Responses of the viewer: entity tags and caching, numbers from queries, errors as one line of JSON."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Coroutine, Mapping
from functools import wraps
from typing import Any, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from ptypinn.errors import InputError
from ptypinn.utils.plain_values import to_plain
from ptypinn.viewer.auth import MAX_BODY_BYTES
from ptypinn.viewer.picture_file import FileChangedError
from ptypinn.viewer.source_address import SOURCE

IMMUTABLE = "private, max-age=31536000, immutable"
"""Caching of addresses that contain a version."""
REVALIDATE = "private, no-cache"
"""Caching of content that may change: the browser stores it, and asks the server before each use."""
JSON, PNG, HTML, BYTES = "application/json", "image/png", "text/html", "application/octet-stream"

Handler = Callable[[Request], Response]
Entry = TypeVar("Entry")
Change = Callable[[Request, Mapping[str, Any]], Response]
"""Handler of a request that changes something, with the object of its body."""


def etag_response(
    request: Request, media_type: str, caching: str, produce: Callable[[], bytes], *tag: str | bytes
) -> Response:
    """Return content with an entity tag; it is not even produced where the browser has it.

    Args:
        request: The request.
        media_type: Media type of the content.
        caching: `IMMUTABLE` or `REVALIDATE`.
        produce: Function that returns the content.
        tag: Everything that the content depends on.
    """
    digest = hashlib.sha256(b"\0".join(part.encode() if isinstance(part, str) else part for part in tag))
    headers = {"ETag": f'"{digest.hexdigest()[:24]}"', "Cache-Control": caching}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(produce(), media_type=media_type, headers=headers)


def json_response(request: Request, content: Any) -> Response:
    """Return a JSON object with an entity tag."""
    text = json.dumps(to_plain(content), allow_nan=False).encode()
    return etag_response(request, JSON, REVALIDATE, lambda: text, text)


def query_number(request: Request, name: str) -> float:
    """Return a finite number from the query of an address.

    Raises:
        InputError: Where it is missing, or not a finite number.
    """
    text = request.query_params.get(name, "")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError("address", name, repr(text), "a number")
    return value


def json_errors(handler: Handler) -> Handler:
    """Convert errors of a handler to one line of JSON: status 400 for bad input, 410 for a file that has changed."""

    @wraps(handler)
    def wrapped(request: Request) -> Response:
        try:
            return handler(request)
        except InputError as error:
            return _error(400, **describe_error(error))
        except FileChangedError:
            return _error(410, "the run has changed; reload it")
        except FileNotFoundError:
            return _error(410, "the file was deleted")
        except HTTPException as error:
            return _error(error.status_code, error.detail)

    return wrapped


def json_change(handler: Change) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    """Convert a handler with the JSON object of the body as an argument; errors are those of `json_errors`."""

    @wraps(handler)
    async def wrapped(request: Request) -> Response:
        try:
            content = await read_object(request)
        except InputError as error:
            return _error(400, str(error))
        except ClientDisconnect:
            return _error(400, "the body is not complete")

        @json_errors
        def handle(request: Request) -> Response:
            return handler(request, content)

        return await run_in_threadpool(handle, request)

    return wrapped


async def read_object(request: Request) -> dict[str, Any]:
    """Return the JSON object in the body of a request.

    Raises:
        InputError: Where it is too long, or something else.
    """
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise InputError("body", "", f"more than {MAX_BODY_BYTES} bytes", "a JSON object")
    return parse_object(body)


def parse_object(body: bytes) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        InputError: Where it is something else, or contains a text that cannot be written as UTF-8.
    """
    try:
        content = json.loads(body)
        json.dumps(content, ensure_ascii=False).encode()  # half a surrogate pair is no character
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise InputError("body", "", repr(body[:40]), "a JSON object")
    return content


def entry(content: Mapping[str, Any], name: str, kind: type[Entry]) -> Entry:
    """Return an entry of a body.

    Raises:
        InputError: Where it is missing, or of another type.
    """
    value = content.get(name)
    if not isinstance(value, kind):
        raise InputError("body", name, repr(value)[:80], kind.__name__)
    return value


def describe_error(error: InputError) -> dict[str, str]:
    """Return the line of an error, and the field of the option or argument at fault, where there is one."""
    is_field = error.source.startswith("--") or error.source == SOURCE
    field = error.source.removeprefix("--").replace("-", "_").lower() if is_field else ""
    return {"error": str(error), "field": field}


def _error(status: int, error: str, field: str = "") -> Response:
    return JSONResponse({"error": error, "field": field}, status, headers={"Cache-Control": "no-store"})
