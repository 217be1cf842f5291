"""The reference of the modules, written from the packages themselves so that it cannot be stale.

A line such as `<!-- modules: physics, solvers.unrolled -->` is replaced by one section per public module of these
packages, in the order of the line; a name that is no package is that module alone. Names that are documented on
another page of the reference are excluded.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

FOLDER = "reference/modules/"
REFERENCE = Path(__file__).parents[1] / "reference"
MARKER = re.compile(r"^<!-- modules: ([\w., ]+) -->$", re.M)
DOCUMENTED = re.compile(r"^\.\. auto(?:class|function|exception):: (ptypinn[\w.]*)\.(\w+)$", re.M)


def module_names(listed: str) -> Iterator[str]:
    """Yield the full names of the public modules that a marker lists.

    Args:
        listed: Names of packages and modules without `ptypinn.`, separated by commas.
    """
    for name in (f"ptypinn.{part.strip()}" for part in listed.split(",")):
        package = importlib.import_module(name)
        if not hasattr(package, "__path__"):
            yield name
            continue
        modules = (module.name for module in pkgutil.iter_modules(package.__path__) if not module.ispkg)
        yield from (f"{name}.{module}" for module in modules if not module.startswith("_"))


@cache
def names_elsewhere() -> dict[str, list[str]]:
    """Return the names that the other pages of the reference document, by the module that defines them."""
    names: dict[str, list[str]] = {}
    for page in sorted(REFERENCE.glob("*.md")):
        for module, name in DOCUMENTED.findall(page.read_text(encoding="utf-8")):
            documented = getattr(importlib.import_module(module), name)
            names.setdefault(documented.__module__, []).append(name)
    return names


def sections(listed: str) -> str:
    """Return Markdown with one section per module that a marker lists."""
    return "\n".join(_section(name) for name in module_names(listed))


def _section(name: str) -> str:
    excluded = ", ".join(names_elsewhere().get(name, ()))
    options = f"   :members:\n   :exclude-members: {excluded}\n" if excluded else "   :members:\n"
    return f"## {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n{options}```\n"


def expand_markers(app: Sphinx, name: str, source: list[str]) -> None:
    """Write the modules where a page has a marker."""
    if name.startswith(FOLDER):
        source[0] = MARKER.sub(lambda marker: sections(marker[1]), source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to the reading of pages."""
    app.connect("source-read", expand_markers)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
