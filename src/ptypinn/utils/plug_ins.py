"""Objects that other installed packages register by entry point."""

from __future__ import annotations

from typing import Any

from ptypinn.errors import InputError


def load_plug_in(entry: Any, source: str, field: str = "") -> Any:
    """Return the object of an entry point.

    Args:
        entry: The entry point, of `importlib.metadata` or of its backport.
        source: Option or file that names it, for messages.
        field: Its field there.

    Raises:
        InputError: If its package cannot be imported.
    """
    try:
        return entry.load()
    except Exception as error:  # a package from outside may raise anything
        reason = f"{describe_plug_in(entry)}, which fails with {type(error).__name__}: {error}"
        raise InputError(source, field, " ".join(reason.split()), "a package that can be imported") from None


def describe_plug_in(entry: Any) -> str:
    """Return the name of a plug-in for messages, with the object that it provides."""
    return f"the plug-in {entry.name} ({entry.value})"
