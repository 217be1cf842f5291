"""Receive a scan in progress and spool it, in a process of its own that outlives the solver.

A thread runs the source; a queue of bounded size stands between it and the disk. Nothing that is spooled depends on
whether anybody reads it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ptypinn.config.load import LoadConfig
from ptypinn.errors import InputError
from ptypinn.runs.lock import RunLock
from ptypinn.streams.message_queue import MessageQueue
from ptypinn.streams.messages import End, Source
from ptypinn.streams.reception import Receiver
from ptypinn.streams.sources.options import SourceOptions
from ptypinn.streams.sources.registry import open_source

FLUSH_S = 0.08
"""Time between two flushes of the spool, seconds."""
REQUEST, LOG = "request.json", "receiver.log"


def receive(source: Source, receiver: Receiver, stop: threading.Event) -> None:
    """Spool all messages of a source until it ends or `stop` is set.

    Args:
        source: The source.
        receiver: State to update.
        stop: Set by a signal.
    """
    queue = MessageQueue(source.can_wait)
    thread = threading.Thread(target=_run_source, args=(source, queue, stop), daemon=True)
    thread.start()
    receiver.report(force=True)
    while not queue.is_over:
        start_s = time.monotonic()
        receiver.handle(queue.take(FLUSH_S))
        receiver.report(queue.used)
        if receiver.state in ("ended", "failed") or stop.is_set():
            break
        time.sleep(max(0.0, FLUSH_S - (time.monotonic() - start_s)))
    stop.set()
    thread.join(5.0)
    receiver.handle(queue.take(0.0))
    receiver.finish("stopped" if queue.error is None else "failed", "" if queue.error is None else str(queue.error))


def _run_source(source: Source, queue: MessageQueue, stop: threading.Event) -> None:
    """Put the messages of a source into a queue."""
    error: BaseException | None = None
    try:
        for message in source.messages():
            if message is not None:
                queue.put(message)
            if stop.is_set() or isinstance(message, End):
                break
    except BaseException as failure:
        error = failure
    finally:
        with contextlib.suppress(Exception):
            source.close()
        queue.close(error)


def main(argv: list[str] | None = None) -> int:
    """Receive the scan that `request.json` of a spool asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spool", type=Path)
    folder = parser.parse_args(argv).spool
    request = json.loads((folder / REQUEST).read_text())
    lock = RunLock(folder)
    try:
        lock.acquire()
    except InputError as error:  # one receiver is enough, and its state is not ours to write
        print(error, flush=True)
        return 0
    try:
        return _receive_request(folder, request)
    finally:
        lock.release()


def _receive_request(folder: Path, request: Mapping[str, Any]) -> int:
    """Receive until the scan ends or a signal comes; return the exit code."""
    centre, crop = request["centre_px"], request["crop_px"]
    reading = LoadConfig(crop_px=crop, centre_px=None if centre is None else tuple(centre))
    receiver, stop = Receiver(folder, reading, request["min_free_bytes"]), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        source = open_source(request["source"], SourceOptions(**request["options"]))
    except InputError as error:
        receiver.finish("failed", str(error))
        return 1
    receive(source, receiver, stop)
    return 1 if receiver.state == "failed" else 0


if __name__ == "__main__":
    raise SystemExit(main())
