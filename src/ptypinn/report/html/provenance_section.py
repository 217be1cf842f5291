"""Section of a page: command, inputs, versions and settings, so that the result can be reproduced."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

from ptypinn.report.html.page import Block, Cell, Code, Facts, Fold, Points, Section, Table
from ptypinn.utils.number_format import format_number
from ptypinn.utils.serialise import to_plain

KEY, TITLE = "provenance", "Provenance"
_INNERMOST = re.compile(r"[\[{][^\[\]{}]*[\]}]")


def provenance_section(run: Mapping[str, Any], provenance: Mapping[str, Any] | None = None) -> Section:
    """Return command, inputs, versions, settings and the record that the result carries.

    Args:
        run: Record of the run, as `RunFolder.record` gives it; empty where the result was not made by a run.
        provenance: Record in the result itself.
    """
    blocks: list[Block] = [*_command(run), *_inputs(run), *_versions(run)]
    config = run.get("config")
    if isinstance(config, Mapping) and config:
        rows = [[Cell(name), Cell(_text(value))] for name, value in config.items()]
        blocks.append(Fold("Every setting", [Table("Settings of the run", ("Setting", "Value"), rows, words=(1,))]))
    if provenance:
        blocks.append(Fold("The record that the result carries", [Code(_json(provenance))]))
    if not blocks:
        return Section(KEY, TITLE, absent="Nothing is on record.")
    return Section(KEY, TITLE, blocks)


def _command(run: Mapping[str, Any]) -> list[Block]:
    command = run.get("command")
    if not command:
        return [Points(["Made from Python: there is no command line on record, but the settings are."])]
    sources = ["the same files"] if run.get("inputs") else []
    sources += [] if run.get("seed") is None else [f"seed {run['seed']}"]
    sentence = f"The same result is made by one command{', from ' if sources else ''}{' and '.join(sources)}:"
    return [Points([sentence]), Code(shlex.join(map(str, command)))]


def _inputs(run: Mapping[str, Any]) -> list[Block]:
    inputs = run.get("inputs")
    if not isinstance(inputs, Mapping) or not inputs:
        return []
    rows = []
    for name, record in inputs.items():
        fields = record if isinstance(record, Mapping) else {"file": record}
        path = fields.get("path") or fields.get("file") or fields.get("folder")
        cells = (name, path or "", fields.get("format") or "", fields.get("sha256") or "")
        rows.append([Cell(str(cell)) for cell in cells])
    return [Table("Input files", ("Input", "File", "Format", "SHA-256"), rows, words=(1, 2, 3))]


def _versions(run: Mapping[str, Any]) -> list[Block]:
    items = [("Started", run.get("started")), ("Platform", run.get("platform"))]
    timings, versions = run.get("timings_s"), run.get("versions")
    if isinstance(timings, Mapping) and timings:
        items.append(
            (
                "Wall time",
                ", ".join(f"{part} {format_number(float(seconds), 3)} s" for part, seconds in timings.items()),
            )
        )
    if isinstance(versions, Mapping):
        items.append(("Versions", ", ".join(f"{name} {version}" for name, version in versions.items())))
    facts = [(label, Cell(str(value))) for label, value in items if value]
    return [Facts(facts)] if facts else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _json(record: Mapping[str, Any]) -> str:
    """Return a record as JSON; values without a form in JSON are shown as text.

    Lists and objects that hold no others stand on one line.
    """
    plain = json.loads(json.dumps(record, default=_described), parse_constant=lambda _: None)
    text = json.dumps(to_plain(plain), indent=2, ensure_ascii=False)
    return _INNERMOST.sub(lambda match: re.sub(r"\n\s*", " ", match[0]), text)


def _described(value: object) -> Any:
    try:
        return to_plain(value)
    except TypeError:
        return str(value)
