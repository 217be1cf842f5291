"""The viewer as an ASGI application, and the loop that serves it."""

from __future__ import annotations

import contextlib
import errno
import socket

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import Route

from ptypinn.errors import InputError
from ptypinn.viewer.auth import KeyMiddleware, allowed_names
from ptypinn.viewer.handlers import Handlers
from ptypinn.viewer.responses import json_errors
from ptypinn.viewer.run_index import RunIndex

PICTURE = "/api/runs/{run}/{version}"
PAIR = PICTURE + "/with/{other}/{other_version}"


def create_app(catalogue: RunIndex, *, host: str, port: int, key: str, cache_bytes: int) -> Starlette:
    """The viewer as an ASGI application.

    Args:
        catalogue: What it shows.
        host: Address that it listens on.
        port: Its port.
        key: Who knows it may look; an empty one lets everybody in.
        cache_bytes: Bound on reduced copies of objects.
    """
    desk = Handlers(catalogue, cache_bytes)
    readings = {
        "/tiles/{layer}/{level:int}/{row:int}/{column:int}.png": desk.tile,
        "/blocks/{row:int}/{column:int}": desk.block,
        "/histogram/{layer}": desk.histogram,
        "/profile": desk.profile,
    }
    answers = {
        "/": desk.list_page,
        "/run/{run}": desk.run_page,
        "/run/{run}/report": desk.report,
        "/static/{name}": desk.asset,
        "/api/maps/{name}.png": desk.colours,
        "/api/runs": desk.runs,
        "/api/runs/{run}": desk.run,
        "/api/runs/{run}/thumbnail.png": desk.thumbnail,
        PAIR: desk.pair,
        **{base + path: answer for base in (PICTURE, PAIR + "/{part}") for path, answer in readings.items()},
        PICTURE + "/positions": desk.positions,
        PICTURE + "/patterns/{number:int}": desk.pattern,
        PICTURE + "/patterns/{number:int}/{kind}.png": desk.pattern_picture,
    }
    return Starlette(
        routes=[Route(path, json_errors(answer)) for path, answer in answers.items()],
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=allowed_names(host), www_redirect=False),
            Middleware(KeyMiddleware, key=key, port=port),
        ],
    )


def open_socket(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        InputError: Where the address is not of this machine, or the port is taken.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        reason = error.strerror or error
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            raise InputError("--port", "", f"{port} ({reason})", "a free port of this machine, or 0 for any") from error
        raise InputError("--host", "", f"{host} ({reason})", "an address or a name of this machine") from error


def serve(app: Starlette, here: socket.socket) -> None:
    """Serve until interrupted.

    Args:
        app: The application.
        here: Where to listen.
    """
    with contextlib.suppress(KeyboardInterrupt):
        create_server(app).run(sockets=[here])


def create_server(app: Starlette) -> uvicorn.Server:
    """A server that says nothing unless something is wrong."""
    config = uvicorn.Config(app, log_level="warning", lifespan="off", server_header=False, timeout_graceful_shutdown=2)
    return uvicorn.Server(config)
