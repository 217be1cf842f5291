"""The viewer as an ASGI application, and the loop that serves it."""

from __future__ import annotations

import contextlib
import errno
import socket
from dataclasses import dataclass

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import Route

from ptypinn.errors import InputError
from ptypinn.viewer.auth import KeyMiddleware, list_host_names
from ptypinn.viewer.events import Events
from ptypinn.viewer.handlers import Handlers
from ptypinn.viewer.health import HealthHandlers
from ptypinn.viewer.job_handlers import JobHandlers, SourceHandlers
from ptypinn.viewer.live_handlers import LiveHandlers
from ptypinn.viewer.pages import PageHandlers
from ptypinn.viewer.responses import Change, Handler, json_change, json_errors
from ptypinn.viewer.room import Room
from ptypinn.viewer.scan_handlers import ScanHandlers

PICTURE = "/api/runs/{run}/{version}"
COMPARISON = PICTURE + "/with/{other}/{other_version}"
COMPARED_PICTURE = COMPARISON + "/{picture}"


@dataclass(frozen=True)
class Access:
    """Address, key and rights."""

    host: str
    """Address to listen on."""
    port: int
    """Port to listen on."""
    key: str
    """Key that requests need; an empty one disables the check."""
    read_only: bool = False
    """Refuse to start and end jobs."""


def create_app(room: Room, access: Access, cache_bytes: int) -> Starlette:
    """Return the viewer as an ASGI application.

    Args:
        room: Runs, scans and jobs on offer.
        access: Who may do what.
        cache_bytes: Bound on reduced copies of objects.
    """
    api = Handlers(room.runs, cache_bytes)
    scans, jobs = ScanHandlers(room.scans, room.jobs, room.facts), JobHandlers(room.jobs)
    source = SourceHandlers(room.jobs)
    routes = {
        **_route_pages(PageHandlers(room, access.read_only)),
        **_route_runs(api, LiveHandlers(room.runs, api)),
        "/api/health": HealthHandlers(room).health,
        "/api/scans": scans.scans,
        "/api/scans/{scan}": scans.scan,
        "/api/scans/{scan}/facts": scans.look,
        "/api/scans/{scan}/{version}/{name}.png": scans.picture,
        "/api/forms": scans.forms,
        "/api/source": source.describe,
        "/api/jobs": jobs.jobs,
        "/api/jobs/{job}/log": jobs.log,
    }
    return Starlette(
        routes=[
            *(Route(path, json_errors(handler)) for path, handler in routes.items()),
            *(
                Route(path, json_change(handler), methods=["POST"])
                for path, handler in _route_changes(scans, source, jobs).items()
            ),
            Route("/api/events", room.events.stream),
        ],
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=list_host_names(access.host), www_redirect=False),
            Middleware(KeyMiddleware, key=access.key, port=access.port, read_only=access.read_only),
        ],
    )


def _route_pages(pages: PageHandlers) -> dict[str, Handler]:
    """Return the handlers of pages and their static files, by address."""
    return {
        "/": pages.list_page,
        "/health": pages.health_page,
        "/run/{run}": pages.run_page,
        "/run/{run}/report": pages.report,
        "/scan/{scan}": pages.scan_page,
        "/static/{name}": pages.asset,
    }


def _route_runs(api: Handlers, live: LiveHandlers) -> dict[str, Handler]:
    """Return the handlers of runs, their pictures and patterns, by address."""
    picture_routes = {
        "/tiles/{layer}/{level:int}/{row:int}/{column:int}.png": api.tile,
        "/blocks/{row:int}/{column:int}": api.block,
        "/histogram/{layer}": api.histogram,
        "/profile": api.profile,
    }
    return {
        "/api/maps/{name}.png": api.colour_map,
        "/api/runs": api.runs,
        "/api/runs/{run}": api.run,
        "/api/runs/{run}/thumbnail.png": api.thumbnail,
        "/api/runs/{run}/live": live.state,
        "/api/runs/{run}/live/positions/{version}": live.positions,
        "/api/runs/{run}/live/{version}/{kind}.png": live.pattern,
        COMPARISON: api.comparison,
        **{base + path: handler for base in (PICTURE, COMPARED_PICTURE) for path, handler in picture_routes.items()},
        PICTURE + "/positions": api.positions,
        PICTURE + "/patterns/{number:int}": api.pattern,
        PICTURE + "/patterns/{number:int}/{kind}.png": api.pattern_picture,
    }


def _route_changes(scans: ScanHandlers, source: SourceHandlers, jobs: JobHandlers) -> dict[str, Change]:
    """Return the handlers of requests that check, start and end jobs, by address."""
    return {
        "/api/scans/{scan}/check": scans.check,
        "/api/scans/{scan}/jobs": scans.start,
        "/api/source/check": source.check,
        "/api/source/jobs": source.start,
        "/api/jobs/{job}/cancel": jobs.cancel,
        "/api/jobs/{job}/finish": jobs.finish,
        "/api/jobs/{job}/resume": jobs.resume,
        "/api/jobs/{job}/remove": jobs.remove,
    }


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


def serve(app: Starlette, room: Room, listener: socket.socket) -> None:
    """Serve until interrupted.

    Args:
        app: The application.
        room: What it serves.
        listener: Socket that listens.
    """
    try:
        with contextlib.suppress(KeyboardInterrupt):
            create_server(app, room.events).run(sockets=[listener])
    finally:
        room.close()


class Server(uvicorn.Server):
    """A server that ends the streams of events before it waits for the end of requests.

    Args:
        config: Its configuration.
        events: The streams.
    """

    def __init__(self, config: uvicorn.Config, events: Events) -> None:
        super().__init__(config)
        self._events = events

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, and shut down."""
        self._events.close()
        await super().shutdown(sockets)


def create_server(app: Starlette, events: Events) -> Server:
    """Return a server that logs warnings and errors only."""
    config = uvicorn.Config(app, log_level="warning", lifespan="off", server_header=False, timeout_graceful_shutdown=2)
    return Server(config, events)
