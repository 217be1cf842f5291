"""Child processes of a service, forked from a process in which everything slow is imported already.

A child that is killed, runs out of memory or brings down a library fails alone. It ends when its service ends, however
that happens. What it returns is JSON: nothing of it is run.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

MAX_RESULT_BYTES = 2**20
ORPHAN_S = 10.0
"""Time that a child has to end when its service has died, seconds."""
OOM_SCORE = "500"
"""Preference for the child when the system is out of memory: it is killed, and not its service."""

INTERRUPTED = "interrupted"
"""State of a child that was asked to end."""

Function = Callable[..., Mapping[str, Any]]
"""Function of a module, which returns what JSON can hold."""


def prepare(modules: Sequence[str]) -> None:
    """Start the process that children are forked from, with some modules imported; the first child waits for them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*modules])
    from multiprocessing import forkserver

    forkserver.ensure_running()


class Child:
    """A function that runs in a process of its own.

    Args:
        function: The function.
        arguments: Its arguments, picklable.
        log: File for what it prints; replaced by every child.

    Raises:
        OSError: Where no process can be started.
    """

    def __init__(self, function: Function, arguments: Sequence[Any], log: Path) -> None:
        context = multiprocessing.get_context("forkserver")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_run, args=(theirs, str(log), function, tuple(arguments)), daemon=False)
        try:
            self._process.start()
        except EOFError as error:  # the process that forks has died; it is started again with the next child
            raise OSError("the process that starts solvers has died") from error
        finally:
            theirs.close()
        self._started_s = time.monotonic()

    @property
    def seconds(self) -> float:
        """Time since its start, seconds."""
        return time.monotonic() - self._started_s

    @property
    def pid(self) -> int | None:
        """Its process."""
        return self._process.pid

    def poll(self) -> dict[str, Any] | None:
        """Return what it has returned, after its end; `{"error": reason}` where it has failed; None while it runs."""
        if self._connection.poll():
            result = self._receive()
            self._process.join()
        elif self._process.is_alive():
            return None
        else:
            result = self._receive() if self._connection.poll() else None
        code = self._process.exitcode
        self._connection.close()
        self._process.close()
        return _describe_end(code) if result is None else result

    def stop(self, grace_s: float) -> dict[str, Any] | None:
        """End it: it may clean up for some time, and is killed then. Return what it has returned, if anything."""
        with contextlib.suppress(OSError):
            self._process.terminate()
        end_s = time.monotonic() + grace_s
        while (result := self.poll()) is None:
            if time.monotonic() > end_s:
                self._process.kill()
                self._process.join()
            else:
                time.sleep(0.02)
        return result

    def _receive(self) -> dict[str, Any] | None:
        """Return the result; None where the process died before it had sent all of it."""
        try:
            result = json.loads(self._connection.recv_bytes(MAX_RESULT_BYTES))
        except (OSError, EOFError, ValueError):
            return None
        return result if isinstance(result, dict) else None


def _run(connection: Connection, log: str, function: Function, arguments: Sequence[Any]) -> None:
    """Run the function in the child."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the service's, which ends its child itself
    threading.Thread(target=_end_with_service, args=(connection,), daemon=True).start()
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)
    with contextlib.suppress(OSError):
        _redirect(log)
    try:
        result = dict(function(*arguments))
    except KeyboardInterrupt:
        result = {"state": INTERRUPTED, "text": "interrupted"}
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        result = {"error": f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")}
    sys.stdout.flush()
    sys.stderr.flush()
    with contextlib.suppress(OSError):
        connection.send_bytes(json.dumps(result).encode())
    os._exit(0)  # threads of libraries may wait for ever


def _redirect(log: str) -> None:
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
    faulthandler.enable()


def _end_with_service(connection: Connection) -> None:
    """Wait until the service has gone, and end then as on SIGTERM."""
    with contextlib.suppress(OSError, EOFError):
        connection.poll(None)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(ORPHAN_S)
    os._exit(1)


def _describe_end(code: int | None) -> dict[str, Any]:
    """Return the result of a child that has returned none, by its exit code."""
    if code in (-signal.SIGTERM, -signal.SIGINT):
        return {"state": INTERRUPTED, "text": "interrupted"}
    if code is not None and code < 0:
        reason = signal.Signals(-code).name if -code in {*signal.Signals} else f"signal {-code}"
        hint = ": out of memory, or killed by someone" if -code == signal.SIGKILL else ""
        return {"error": f"its process was ended by {reason}{hint}"}
    return {"error": f"its process ended with exit code {code} before it had a result"}
