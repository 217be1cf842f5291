"""Names of a package that are imported from their modules when they are first used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def import_lazily(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the function `__getattr__` of a package.

    Args:
        package: Name of the package.
        homes: Modules below `ptypinn` by the names that they define.

    >>> import_lazily("ptypinn.utils", {"describe": "utils.lazy_names"})("other")
    Traceback (most recent call last):
    AttributeError: module 'ptypinn.utils' has no attribute 'other'
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"ptypinn.{homes[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return get
