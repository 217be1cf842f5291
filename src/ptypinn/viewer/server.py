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
from ptypinn.viewer.auth import KeyMiddleware, list_host_names
from ptypinn.viewer.handlers import Handlers
from ptypinn.viewer.pages import PageHandlers
from ptypinn.viewer.responses import json_errors
from ptypinn.viewer.run_index import RunIndex

PICTURE = "/api/runs/{run}/{version}"
COMPARISON = PICTURE + "/with/{other}/{other_version}"
COMPARED_PICTURE = COMPARISON + "/{picture}"


def create_app(index: RunIndex, *, host: str, port: int, key: str, cache_bytes: int) -> Starlette:
    """Return the viewer as an ASGI application.

    Args:
        index: The runs on offer.
        host: Address to listen on.
        port: Port to listen on.
        key: Key that requests need; an empty one disables the check.
        cache_bytes: Bound on reduced copies of objects.
    """
    pages, api = PageHandlers(index), Handlers(index, cache_bytes)
    picture_routes = {
        "/tiles/{layer}/{level:int}/{row:int}/{column:int}.png": api.tile,
        "/blocks/{row:int}/{column:int}": api.block,
        "/histogram/{layer}": api.histogram,
        "/profile": api.profile,
    }
    routes = {
        "/": pages.list_page,
        "/run/{run}": pages.run_page,
        "/run/{run}/report": pages.report,
        "/static/{name}": pages.asset,
        "/api/maps/{name}.png": api.colour_map,
        "/api/runs": api.runs,
        "/api/runs/{run}": api.run,
        "/api/runs/{run}/thumbnail.png": api.thumbnail,
        COMPARISON: api.comparison,
        **{base + path: handler for base in (PICTURE, COMPARED_PICTURE) for path, handler in picture_routes.items()},
        PICTURE + "/positions": api.positions,
        PICTURE + "/patterns/{number:int}": api.pattern,
        PICTURE + "/patterns/{number:int}/{kind}.png": api.pattern_picture,
    }
    return Starlette(
        routes=[Route(path, json_errors(handler)) for path, handler in routes.items()],
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=list_host_names(host), www_redirect=False),
            Middleware(KeyMiddleware, key=key, port=port),
        ],
    )


def open_socket(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address.

    Raises:
        InputError: Where the address does not belong to this machine, or the port is taken.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        reason = error.strerror or error
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            raise InputError("--port", "", f"{port} ({reason})", "a free port of this machine, or 0 for any") from error
        raise InputError("--host", "", f"{host} ({reason})", "an address or a name of this machine") from error


def serve(app: Starlette, listener: socket.socket) -> None:
    """Serve until interrupted.

    Args:
        app: The application.
        listener: Socket that listens.
    """
    with contextlib.suppress(KeyboardInterrupt):
        create_server(app).run(sockets=[listener])


def create_server(app: Starlette) -> uvicorn.Server:
    """Return a server that logs warnings and errors only."""
    config = uvicorn.Config(app, log_level="warning", lifespan="off", server_header=False, timeout_graceful_shutdown=2)
    return uvicorn.Server(config)
