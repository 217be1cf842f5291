"""Find the code blocks of a Markdown page."""

from __future__ import annotations

import re
from typing import NamedTuple

FENCE = re.compile(
    r"(?P<skip><!-- not run: [^\n]* -->\n)?^```(?P<language>bash|python)\n(?P<text>.*?)^```$", re.M | re.S
)


class Snippet(NamedTuple):
    """A fenced block that a reader would run."""

    language: str
    text: str
    line: int


def snippets_of(page: str) -> list[Snippet]:
    """The `bash` and `python` blocks of a page in order, without those under a `not run` comment."""
    result = [match for match in FENCE.finditer(page) if not match["skip"]]
    return [Snippet(m["language"], m["text"], page[: m.start("text")].count("\n") + 1) for m in result]
