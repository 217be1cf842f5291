"""The command `view`."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

from ptypinn.cli.session import Session
from ptypinn.config.view import EVERYWHERE, LOOPBACK, ViewConfig
from ptypinn.errors import InputError

EXTRA = ("starlette", "uvicorn")
"""Packages of the extra `view`."""
GIB = 2**30


def run_view(session: Session, run_or_folder: list[str], config: ViewConfig) -> None:
    """Show runs in the browser: zoom, compare, look at single patterns, watch a run in progress.

    Args:
        session: The call.
        run_or_folder: Run folders, folders of run folders, or reconstructions.
        config: Options of the viewer.
    """
    _require_extra()
    from ptypinn.viewer.run_index import RunIndex
    from ptypinn.viewer.server import create_app, open_socket, serve

    index = RunIndex([Path(path) for path in run_or_folder])
    runs = index.runs()
    with open_socket(config.host, config.port) as listener:
        port, key = listener.getsockname()[1], secrets.token_urlsafe(16)
        app = create_app(index, host=config.host, port=port, key=key, cache_bytes=int(config.cache_gib * GIB))
        page = f"run/{runs[0].id}" if len(runs) == 1 else ""
        address = f"http://{_link_host(config.host)}:{port}/{page}?key={key}"
        lines = [f"{len(runs)} run{'s' * (len(runs) != 1)} at {address}", "stop with Ctrl-C"]
        if config.host not in LOOPBACK:
            lines.insert(1, "warning: whoever has this address can read the runs, and it travels unencrypted")
        session.print_result({"stage": "view", "url": address, "runs": len(runs)}, lines)
        if config.open_browser:
            import webbrowser

            webbrowser.open(address)
        serve(app, listener)


def _link_host(host: str) -> str:
    """Return the host of a link to an address."""
    if host in EVERYWHERE:
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host


def _require_extra() -> None:
    """Raise `InputError` where the packages that serve pages are not installed."""
    import importlib.util

    missing = [name for name in EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError("ptypinn view", "", f"no {' and no '.join(missing)}", "pip install 'ptypinn[view]'")
