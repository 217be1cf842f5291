"""The command `view`."""

from __future__ import annotations

import socket
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from ptypinn.cli.command import Command
from ptypinn.cli.live import LIVE, UNREAD
from ptypinn.cli.session import Session
from ptypinn.cli.solve import RECONSTRUCT, REFINE
from ptypinn.config.fields import ConfigField, list_fields
from ptypinn.config.load import LoadConfig
from ptypinn.config.shared import Config
from ptypinn.config.view import EVERYWHERE, LOOPBACK, ViewConfig
from ptypinn.errors import InputError

if TYPE_CHECKING:
    from ptypinn.viewer.forms import JobCommand
    from ptypinn.viewer.room import Room
    from ptypinn.viewer.server import Access

EXTRA = ("starlette", "uvicorn")
"""Packages of the extra `view`."""
GIB = 2**30
STARTED: dict[str, tuple[Command, tuple[str, ...]]] = {
    "reconstruct": (RECONSTRUCT, ("rounds", "probe_modes", "polish", "refine_probe")),
    "refine": (REFINE, ("iterations", "probe_modes", "refine_positions", "initial")),
    "live": (LIVE, ("positions_source", "scan_frames", "crop_px", "idle_s", "probe")),
}
"""Commands that pages start on a scan file or a source, each with the options that its form does not fold away."""


def run_view(session: Session, run_or_folder: list[str], config: ViewConfig) -> None:
    """Show scans and runs in the browser: look at scans, start and watch runs, zoom, compare, look at patterns.

    Args:
        session: The call.
        run_or_folder: Folders of scans and runs, run folders, or reconstructions.
        config: Options of the viewer.
    """
    _require_extra()
    from ptypinn.viewer.key_file import create_key, page_in_browser, read_key
    from ptypinn.viewer.room import Room
    from ptypinn.viewer.server import Access, create_app, open_socket, serve

    key = read_key(Path(config.key_file)) if config.key_file else create_key()
    paths = [Path(path) for path in run_or_folder]
    room = Room(paths, {name: job_command(name) for name in STARTED}, config.jobs, config.read_only)
    with open_socket(config.host, config.port) as listener:
        access = Access(config.host, listener.getsockname()[1], key, config.read_only)
        app = create_app(room, access, int(config.cache_gib * GIB))
        address = _print_address(session, room, access, config)
        with page_in_browser(address) if config.open_browser else nullcontext():
            serve(app, room, listener)


def job_command(name: str) -> JobCommand:
    """Return one of the commands of `STARTED` for forms: its options, and the configurations that check them."""
    from ptypinn.viewer.forms import REFUSED, JobCommand

    command, common = STARTED[name]
    kinds = [kind for kind in command.configs if kind not in command.choices[1:] and issubclass(kind, Config)]
    checks = sorted(kinds, key=lambda kind: kind is LoadConfig)
    parameters = list(command.parameters())
    takes_source = any(parameter.positional and parameter.name == "source" for parameter in parameters)
    further = [ConfigField(each.name, each.kind, each.default, each.text) for each in parameters if not each.positional]
    left_out = REFUSED.union(UNREAD if takes_source else ())
    options = [option for option in (*list_fields(checks), *further) if option.name not in left_out]
    return JobCommand(name, command.summary, options, common, checks, takes_source)


def _print_address(session: Session, room: Room, access: Access, config: ViewConfig) -> str:
    """Print the address of the page, and what there is; return the address."""
    runs = room.runs.runs()
    page = f"run/{runs[0].id}" if len(runs) == 1 and room.is_single else ""
    address = f"http://{_link_host(access.host)}:{access.port}/{page}?key={access.key}"
    lines = [f"{len(runs)} run{'s' * (len(runs) != 1)} at {address}", "stop with Ctrl-C"]
    if access.host not in LOOPBACK:
        may = "read the runs" if access.read_only else "read the runs and start others"
        lines.insert(1, f"warning: whoever has this address can {may}, and it travels unencrypted")
    session.print_result({"stage": "view", "url": address, "runs": len(runs)}, lines)
    return address


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
