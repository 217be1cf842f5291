"""Limits of configuration files, which may be a stranger's: they are checked before anything is made of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ptypinn.errors import InputError

MAX_BYTES, MAX_DEPTH = 2**20, 16
"""Longest file, and deepest nesting: options are numbers, texts and short lists."""


def require_sane_configs(words: Sequence[str]) -> None:
    """Check the files that `--config` names on a command line.

    Args:
        words: Words of the command line.

    Raises:
        InputError: Where a file is not YAML, too long or too deep, or has aliases, which a few lines can multiply
            without end.
    """
    for path in _list_configs(words):
        if path.is_file():  # the parser reports others
            _require_sane(path)


def _list_configs(words: Sequence[str]) -> Iterator[Path]:
    for number, word in enumerate(words, 1):
        if word == "--config":
            yield from (Path(following) for following in words[number : number + 1])
        elif word.startswith("--config="):
            yield Path(word.removeprefix("--config="))


def _require_sane(path: Path) -> None:
    import yaml

    expected = "a YAML file of options"
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise InputError(str(path), "", f"more than {MAX_BYTES} bytes", expected)
    depth = 0
    try:
        for event in yaml.parse(content.decode(), Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise InputError(str(path), "", "an alias (`*name`)", "values written out")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise InputError(str(path), "", f"more than {MAX_DEPTH} levels", expected)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(str(path), "", " ".join(str(error).split()), expected) from error
