"""What answers share: caching, numbers from addresses, and failures in one line."""

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
from ptypinn.utils.serialise import to_plain
from ptypinn.viewer.picture_file import FileChangedError

IMMUTABLE = "private, max-age=31536000, immutable"
"""For addresses that name a version."""
REVALIDATE = "private, no-cache"
"""For those whose content may change: the browser keeps it, and asks whether it still holds."""
JSON, PNG, HTML, BYTES = "application/json", "image/png", "text/html", "application/octet-stream"

Handler = Callable[[Request], Response]


def etag_response(request: Request, media_type: str, caching: str, make: Callable[[], bytes], *marks: str | bytes) -> Response:
    """Content under an entity tag; it is not even made where the browser has it.

    Args:
        request: The request.
        media_type: Of the content.
        caching: `FOREVER` or `ALWAYS_ASK`.
        make: Makes the content.
        marks: What the content depends on.
    """
    digest = hashlib.sha256(b"\0".join(mark.encode() if isinstance(mark, str) else mark for mark in marks))
    headers = {"ETag": f'"{digest.hexdigest()[:24]}"', "Cache-Control": caching}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(make(), media_type=media_type, headers=headers)


def json_response(request: Request, content: Any) -> Response:
    """A JSON object that the browser asks for again and again."""
    text = json.dumps(to_plain(content), allow_nan=False).encode()
    return etag_response(request, JSON, REVALIDATE, lambda: text, text)


def query_number(request: Request, name: str) -> float:
    """A finite number from the query of an address.

    Raises:
        InputError: Where it is missing or none.
    """
    text = request.query_params.get(name, "")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError("address", name, repr(text), "a number")
    return value


def json_errors(answer: Handler) -> Handler:
    """Turn failures that are the request's into one line of JSON: bad input 400, a file that has changed 410."""

    @wraps(answer)
    def guarded(request: Request) -> Response:
        try:
            return answer(request)
        except InputError as error:
            return _failure(400, str(error))
        except FileChangedError:
            return _failure(410, "the run has changed since; ask for it anew")
        except FileNotFoundError:
            return _failure(410, "the file has gone")
        except HTTPException as error:
            return _failure(error.status_code, error.detail)

    return guarded


def _failure(status: int, reason: str) -> Response:
    return JSONResponse({"error": reason}, status, headers={"Cache-Control": "no-store"})
