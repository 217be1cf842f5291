"""The tables of `docs/formats.md`, made from what the formats declare.

`python -m ptypinn.report.text.format_tables docs/formats.md` brings the page up to date.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from ptypinn.config.shared import option_name
from ptypinn.io.format import WORDS, Entry, Format
from ptypinn.io.registry import FORMATS
from ptypinn.utils.atomic_files import write_text

BEGIN, END = "<!-- tables of formats begin -->", "<!-- tables of formats end -->"


def format_tables() -> str:
    """Return an overview and one table per format, Markdown."""
    return "\n".join([*_overview(), *(line for name in FORMATS for line in _section(FORMATS[name]))])


def update_page(page: str) -> str:
    """Return a page with the part between the markers replaced by the tables."""
    pattern = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    return pattern.sub(lambda _: f"{BEGIN}\n\n{format_tables()}\n{END}", page)


def _overview() -> list[str]:
    header = ["format", "name", "suffixes", "scans", "reconstructions"]
    rows = [
        [
            f"[{f.title}](#{_anchor(f.title)})",
            f"`{name}`",
            " ".join(f"`{suffix}`" for suffix in f.suffixes),
            _verbs(f.read is not None, f.write is not None),
            _verbs(f.read_reconstruction is not None, f.write_reconstruction is not None),
        ]
        for name, f in FORMATS.items()
    ]
    return [*_table(header, rows), ""]


def _section(f: Format) -> list[str]:
    lines = [f"### {f.title}", "", *([f.notes, ""] if f.notes else [])]
    lines += [*_table(["path", "holds", "axes", "unit", "meaning"], [_cells(entry) for entry in f.entries]), ""]
    if f.missing:
        asked = "; ".join(f"{lack.what} (`{option_name(lack.option)}`)" for lack in f.missing)
        lines += [f"Such files may lack: {asked}.", ""]
    if f.required:
        lines += [f"Written only with: {', '.join(WORDS[field] for field in f.required)}.", ""]
    return lines


def _anchor(title: str) -> str:
    """Return the anchor of a heading, on code hosts and on the site."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _cells(entry: Entry) -> list[str]:
    holds = "" if entry.field is None else WORDS[entry.field].replace(WORDS["records"], "records")
    meaning = "; ".join(part for part in (entry.meaning, "optional" if entry.optional else "") if part)
    return [f"`{entry.path}`", holds, entry.axes, entry.unit, meaning]


def _verbs(read: bool, write: bool) -> str:
    return " and ".join(verb for verb, done in (("read", read), ("written", write)) if done) or "no"


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    return [_row(header), _row(["---"] * len(header)), *(_row(row) for row in rows)]


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        write_text(Path(argument), update_page(Path(argument).read_text(encoding="utf-8")))
