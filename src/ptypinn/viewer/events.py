"""Server-sent events: what has changed since the last one, of the kinds that a page follows.

One task for each kind looks at the files for all pages together, in threads, and only while there are pages. An event
says that a subject has a new version; the page then asks for it. A kind of event is one function, `Kind.versions`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass, field

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

HEARTBEAT_S = 10.0
"""Maximum time between two lines on a connection."""
MAX_PAGES = 200
"""Maximum number of pages that follow events."""
MAX_SUBJECTS = 20
"""Maximum number of subjects of one kind that one page follows."""
PAUSE_FACTOR = 10
"""The pause after a look at the files is at least so many times its duration."""
EVENTS = "text/event-stream"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

Versions = Mapping[str, str]
"""Versions by subject."""


@dataclass
class Kind:
    """One kind of events."""

    versions: Callable[[Collection[str]], Versions]
    """Return the version of every subject that exists among some, such as the ids of runs that pages follow."""
    interval_s: float = 1.0
    """Time between two looks."""
    rest_s: float = 0.0
    """Time between a change and the next look, at least."""
    due_s: float = field(default=0.0, init=False)


@dataclass(eq=False)
class Page:
    """A page that follows events."""

    subjects: Mapping[str, frozenset[str]]
    """Subjects that it follows, by kind."""
    pending: dict[tuple[str, str], str] = field(default_factory=dict)
    """Versions that have not been sent, by kind and subject; a new one replaces an older one."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)


class Events:
    """Changes for pages.

    Args:
        kinds: Kinds of events by name.
    """

    def __init__(self, kinds: Mapping[str, Kind]) -> None:
        self._kinds = dict(kinds)
        self._pages: set[Page] = set()
        self._versions: dict[tuple[str, str], str] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._closed = False

    async def stream(self, request: Request) -> Response:
        """Return the events of the kinds and subjects in the query, such as `?jobs&run=0123456789ab`.

        The versions at the start are the first events, so that a page that was away learns what it has missed.
        """
        subjects: dict[str, set[str]] = {}
        for kind, subject in request.query_params.multi_items():
            if kind in self._kinds:
                subjects.setdefault(kind, set()).add(subject)
        if not subjects or any(len(names) > MAX_SUBJECTS for names in subjects.values()):
            raise HTTPException(400, f"follow 1 to {MAX_SUBJECTS} subjects of: {', '.join(self._kinds)}")
        if self._closed or len(self._pages) >= MAX_PAGES:
            raise HTTPException(503, "too many pages follow this viewer")
        if request.method == "HEAD":
            return Response(media_type=EVENTS, headers=HEADERS)
        page = Page({kind: frozenset(names) for kind, names in subjects.items()})
        return StreamingResponse(self._lines(page), media_type=EVENTS, headers=HEADERS)

    def close(self) -> None:
        """End all streams."""
        self._closed = True
        for page in self._pages:
            page.wake.set()

    async def _lines(self, page: Page) -> AsyncIterator[str]:
        self._pages.add(page)
        try:
            self._greet(page)
            yield "retry: 2000\n\n"
            while not self._closed:
                pending, page.pending = page.pending, {}
                page.wake.clear()
                for (kind, subject), version in pending.items():
                    yield f"event: {kind}\ndata: {json.dumps({'subject': subject, 'version': version})}\n\n"
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(page.wake.wait(), HEARTBEAT_S)
                if not page.pending:
                    yield "event: beat\ndata: {}\n\n"
        finally:
            self._pages.discard(page)

    def _greet(self, page: Page) -> None:
        """Give a new page the present versions, and look at once at what no page has followed before."""
        for kind, names in page.subjects.items():
            for subject in names:
                if (kind, subject) in self._versions:
                    self._put(page, kind, subject, self._versions[kind, subject])
                else:
                    self._kinds[kind].due_s = 0.0
            if kind not in self._tasks or self._tasks[kind].done():
                self._tasks[kind] = asyncio.create_task(self._watch(kind))

    @staticmethod
    def _put(page: Page, kind: str, subject: str, version: str) -> None:
        page.pending[kind, subject] = version
        page.wake.set()

    async def _watch(self, name: str) -> None:
        """Look for changes of a kind while pages follow it; a kind that takes long keeps no other waiting."""
        kind = self._kinds[name]
        while (subjects := self._followed(name)) and not self._closed:
            if kind.due_s <= time.monotonic():
                await self._look(name, kind, subjects)
            await asyncio.sleep(kind.interval_s / 2)
        self._versions = {key: version for key, version in self._versions.items() if key[0] != name}

    def _followed(self, kind: str) -> set[str]:
        return {subject for page in self._pages for subject in page.subjects.get(kind, ())}

    async def _look(self, name: str, kind: Kind, subjects: Collection[str]) -> None:
        start_s, rest_s = time.monotonic(), 0.0
        kind.due_s = float("inf")
        with contextlib.suppress(Exception):  # a file that was deleted meanwhile, or one that makes no sense
            versions = await run_in_threadpool(kind.versions, subjects)
            for subject in subjects:
                version = versions.get(subject, "")
                if self._versions.get((name, subject)) != version:
                    self._versions[name, subject], rest_s = version, kind.rest_s
                    for page in self._pages:
                        if subject in page.subjects.get(name, ()):
                            self._put(page, name, subject, version)
        end_s = time.monotonic()
        if kind.due_s:  # no page has come meanwhile that follows something else
            kind.due_s = end_s + max(kind.interval_s, rest_s, PAUSE_FACTOR * (end_s - start_s))


def single(version: Callable[[], str]) -> Callable[[Collection[str]], Versions]:
    """Return `Kind.versions` for a kind with one subject without a name."""
    return lambda subjects: {"": version()}
