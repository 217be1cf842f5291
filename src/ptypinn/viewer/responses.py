"""Responses of the viewer: entity tags and caching, numbers from queries, errors as one line of JSON."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from functools import wraps
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ptypinn.errors import InputError
from ptypinn.utils.plain_values import to_plain
from ptypinn.viewer.picture_file import FileChangedError

IMMUTABLE = "private, max-age=31536000, immutable"
"""Caching of addresses that contain a version."""
REVALIDATE = "private, no-cache"
"""Caching of content that may change: the browser stores it, and asks the server before each use."""
JSON, PNG, HTML, BYTES = "application/json", "image/png", "text/html", "application/octet-stream"

Handler = Callable[[Request], Response]


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
            return _error(400, str(error))
        except FileChangedError:
            return _error(410, "the run has changed; reload it")
        except FileNotFoundError:
            return _error(410, "the file was deleted")
        except HTTPException as error:
            return _error(error.status_code, error.detail)

    return wrapped


def _error(status: int, reason: str) -> Response:
    return JSONResponse({"error": reason}, status, headers={"Cache-Control": "no-store"})
