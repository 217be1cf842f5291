"""Facts on scans, as `ptypinn info` states them, worked out one at a time for the pages that wait, and cached."""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ptypinn.viewer.folders import digest, stamp_places
from ptypinn.viewer.inside import strip_root
from ptypinn.viewer.scan_index import Scan
from ptypinn.viewer.scan_process import Look, LookProcess

MAX_SCANS, MAX_BYTES = 64, 2**26
"""Maximum number of looks in the cache, and of bytes of their results."""
LEFT_S = 10.0
"""Time without a page that follows a scan after which nobody waits for it."""
RETRY_S = 60.0
"""Time after which a failed look is begun again when a page asks."""
WAITING, READING, DONE, FAILED = "waiting", "reading", "done", "failed"

Key = tuple[str, str]
"""Id of a scan, and options of reading."""


@dataclass(eq=False)
class Facts:
    """A look at a scan, in progress or ended."""

    scan: Scan
    """The scan."""
    options: Mapping[str, Any]
    """Options of reading that differ from their defaults."""
    state: str = WAITING
    """`waiting`, `reading`, `done` or `failed`."""
    look: Look = field(default_factory=Look)
    """Result of the process."""
    wanted_s: float = field(default_factory=time.monotonic)
    """Monotonic time at which a page last followed or asked."""
    ended_s: float = 0.0
    """Monotonic time of the end."""

    @property
    def version(self) -> str:
        """Text that changes with every file that the look depends on; of files as they were when it began."""
        return digest([self.look.stamp, *map(str, self.look.places)])

    @property
    def is_left(self) -> bool:
        """True where nobody waits for it."""
        return time.monotonic() - self.wanted_s > LEFT_S

    def describe(self) -> dict[str, Any]:
        """Return the look for a page."""
        error = strip_root(self.look.error, self.scan.root)
        return {"state": self.state, "error": error, **json.loads(self.look.content)}

    def is_current(self) -> bool:
        """Return False where a file has changed since the look, or where it failed long ago."""
        if self.state in (WAITING, READING):
            return True
        if self.state == FAILED and time.monotonic() - self.ended_s > RETRY_S:
            return False
        return self.look.stamp == stamp_places(self.look.places)


class FactsCache:
    """Looks at scans, the one that a page asked for last before the others; the most recent ones stay."""

    def __init__(self) -> None:
        self._facts: OrderedDict[Key, Facts] = OrderedDict()
        self._guard = threading.Lock()
        self._workers = ThreadPoolExecutor(1, thread_name_prefix="look at scans")
        self._process: LookProcess | None = None
        self._closed = False

    def get(self, scan: Scan, options: Mapping[str, Any]) -> Facts:
        """Return the look at a scan as its files are now, and begin it where there is none.

        Args:
            scan: The scan.
            options: Options of reading that differ from their defaults.
        """
        facts, key = self.find(scan, options), _key(scan, options)
        with self._guard:
            if facts is None:
                if self._closed:
                    return Facts(scan, options, FAILED, Look(error="the viewer is ending"))
                facts = self._facts[key] = Facts(scan, dict(options))
                self._workers.submit(self._work)
            facts.wanted_s = time.monotonic()
            if key in self._facts:
                self._facts.move_to_end(key)
            self._make_room()
            return facts

    def find(self, scan: Scan, options: Mapping[str, Any]) -> Facts | None:
        """Return the look at a scan as its files are now; None where there is none. Nothing is begun."""
        facts = self._facts.get(_key(scan, options))
        return facts if facts is not None and facts.is_current() else None

    def version(self, scan_id: str) -> str:
        """Return a text that changes with the looks at a scan, and with the files that they depend on.

        A page that follows a scan asks for it all the time: whoever does so waits for its looks.
        """
        with self._guard:
            looks = [(key, facts) for key, facts in self._facts.items() if key[0] == scan_id]
        for _, facts in looks:
            facts.wanted_s = time.monotonic()
        return " ".join(f"{key[1]} {facts.state} {stamp_places(facts.look.places)}" for key, facts in looks)

    def close(self) -> None:
        """End the process of a look in progress."""
        self._closed = True
        self._workers.shutdown(wait=False, cancel_futures=True)
        process = self._process
        if process is not None:
            process.kill()

    def _make_room(self) -> None:
        """Drop the looks that were asked for the longest time ago, but never the newest."""
        nbytes = sum(facts.look.nbytes for facts in self._facts.values())
        while len(self._facts) > MAX_SCANS or (nbytes > MAX_BYTES and len(self._facts) > 1):
            nbytes -= self._facts.popitem(last=False)[1].look.nbytes

    def _take_waiting(self) -> Facts | None:
        """Return the look that was asked for last of those that wait, and drop those that nobody waits for."""
        with self._guard:
            waiting = [(key, facts) for key, facts in self._facts.items() if facts.state == WAITING]
            wanted = [facts for _, facts in waiting if not facts.is_left]
            for key, facts in waiting:
                if facts not in wanted:
                    del self._facts[key]
            if not wanted:
                return None
            wanted[-1].state = READING
            return wanted[-1]

    def _work(self) -> None:
        """Run the process of the look that is wanted most, and take its result."""
        facts = self._take_waiting()
        if facts is None:
            return

        def is_unwanted() -> bool:
            return self._closed or (facts.is_left and self._has_waiting())

        self._process = LookProcess(facts.scan.path, facts.options)
        look = self._process.run(is_unwanted)
        with self._guard:
            self._process = None
            if look is None:
                self._facts = OrderedDict((key, each) for key, each in self._facts.items() if each is not facts)
                return
            facts.look, facts.ended_s = look, time.monotonic()
            facts.state = FAILED if look.error else DONE
            self._make_room()

    def _has_waiting(self) -> bool:
        with self._guard:
            return any(facts.state == WAITING and not facts.is_left for facts in self._facts.values())


def _key(scan: Scan, options: Mapping[str, Any]) -> Key:
    return scan.id, json.dumps(options, sort_keys=True, default=str)
