"""A real browser for tests of pages: headless Chromium, or a skip that says what is missing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
"""What the browser may be called; the environment variable CHROMIUM names another."""

REFUSAL = "the server responded with a status of 4"
"""What the console says of a request that the server refuses."""

OpenPage = Callable[..., Any]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The browser; closed with its module, as its event loop is in the way of others."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    result = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if result is None:
        pytest.skip("no Chromium found: install one, or name it in the environment variable CHROMIUM")
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=result, args=sandbox)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Any) -> Iterator[OpenPage]:
    """Open pages; after the test none may have had an error in its console, in a script, or in a request."""
    contexts, troubles = [], []

    def note(line: Any) -> None:
        if line.type in ("error", "warning"):
            troubles.append(line.text)

    def open_one(address: str, *, refused: bool = False, **options: Any) -> Any:
        """Open a page; `refused` allows the server to refuse requests, as where a file has gone."""
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda line: None if refused and REFUSAL in line.text else note(line))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        if not refused:
            page.on("response", lambda got: troubles.append(f"{got.status} {got.url}") if got.status >= 400 else None)
        page.goto(address)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert troubles == [], "\n".join(troubles[:5])
