"""The documentation site: every page is reached, every public name and option is listed, every link has a target."""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path

import command_line
import pytest
from module_list import MARKER, sections

import ptypinn
from ptypinn.cli.main import COMMANDS
from ptypinn.cli.options import command_parser
from ptypinn.io.load_save import FORMATS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
TUTORIALS = sorted(path for path in (DOCS / "tutorials").glob("*.md") if path.stem != "index")
LINKED = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + PAGES
INTERNAL = {"_version", "__main__", "cli", "config", "errors", "studies", "utils", "viewer"}
"""Parts of the package without a page of modules; configurations and errors have a page of their own."""

TOCTREE = re.compile(r"^```\{toctree\}\n(.*?)^```$", re.M | re.S)
DOCUMENTED = re.compile(r"^\.\. auto(module|class|function|exception|data):: ptypinn\.([\w.]+)$", re.M)
CELL = re.compile(r"^```\{code-cell\} ipython3\n(.*?)^```$", re.M | re.S)


def reached(page: Path) -> set[Path]:
    """A page and all below it in the navigation."""
    lines = [line.strip() for tree in TOCTREE.findall(page.read_text()) for line in tree.splitlines()]
    entries = [line for line in lines if line and not line.startswith(":")]
    return {page}.union(*(reached(page.parent / f"{entry}.md") for entry in entries))


def test_navigation_reaches_every_page():
    assert reached(DOCS / "index.md") == set(PAGES)


def documented() -> dict[str, list[str]]:
    """Names in the reference by kind, without the name of the package."""
    names: dict[str, list[str]] = {"module": [], "name": []}
    for page in (DOCS / "reference").rglob("*.md"):
        text = MARKER.sub(lambda marker: sections(marker[1]), page.read_text())
        for kind, name in DOCUMENTED.findall(text):
            names["module" if kind == "module" else "name"].append(name)
    return names


def test_every_public_name_is_in_the_reference():
    assert set(ptypinn.__all__) <= set(documented()["name"])


def test_every_public_module_is_in_the_reference_once():
    walk = pkgutil.walk_packages(ptypinn.__path__, "ptypinn.")
    modules = [module.name.removeprefix("ptypinn.") for module in walk if not module.ispkg]
    public = {name for name in modules if name.partition(".")[0] not in INTERNAL and "._" not in name}
    assert len(public) > 100
    assert sorted(documented()["module"]) == sorted(public)


def test_every_option_of_a_command_is_listed_there_or_under_a_group_that_is_named_there():
    chapters = re.split(r"^## ", command_line.commands(), flags=re.M)
    chapter_of = {text.split("\n", 1)[0]: text for text in chapters}
    for name, command in COMMANDS.items():
        chapter = chapter_of[f"ptypinn {name}"]
        groups = ["Options of every command", *re.findall(r"options under \[([^\]]+)\]", chapter)]
        text = "\n".join([chapter, *(chapter_of[title] for title in groups)])
        assert command.summary in chapter
        for action in command_parser(name, COMMANDS[name], full=True)._actions:
            for flag in [one.replace("_", "-") for one in action.option_strings] or [action.dest.upper()]:
                assert re.search(rf"^```{{option}} (.*, )?{flag}( |,|$)", text, re.M), f"{name}: {flag}"


def test_every_writable_format_is_listed():
    (option,) = (
        action for action in command_parser("convert", COMMANDS["convert"], full=True)._actions if action.dest == "to"
    )
    writable = [name for name, reference in FORMATS.items() if reference.write or reference.write_reconstruction]
    assert f"Format: {', '.join(writable)};" in option.help


def test_the_page_of_the_command_line_is_filled():
    assert (DOCS / f"{command_line.PAGE}.md").read_text().count(command_line.MARKER) == 1


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_cells_of_tutorials_all_run_and_may_not_fail(page):
    text = page.read_text()
    cells = CELL.findall(text)
    assert len(cells) >= 5
    assert text.count("{code-cell}") == len(cells)
    assert text.startswith("---\nfile_format: mystnb\n"), "without this the cells are shown but do not run"
    assert not re.search(r"skip-execution|raises-exception|remove-stderr|hide-output", text)


def test_there_are_tutorials():
    assert len(TUTORIALS) >= 3


def anchors(page: Path) -> set[str]:
    """What links to headings of a page end with, on code hosts and on the site."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_have_a_target(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" not in target:
            path, _, anchor = target.partition("#")
            place = page.parent / path if path else page
            assert place.exists(), target
            assert not anchor or anchor in anchors(place), target
