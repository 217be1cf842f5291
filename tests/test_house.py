"""Rules of the house that a reader relies on: names that say what they hold, docstrings, sizes, and one citation."""

import ast
import re
import statistics
from pathlib import Path

import pytest
import yaml

import ptypinn

ROOT = Path(ptypinn.__file__).parent
MODULES = {path: path.read_text() for path in sorted(ROOT.rglob("*.py"))}
TREES = {path: ast.parse(text) for path, text in MODULES.items()}
PARTICIPLES = {"found", "told", "seen", "kept", "known", "made"}
QUESTION = re.compile(r"\s*(What|How|Which|Whether|Where|Who)\b")


def place(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"


def variables(tree: ast.AST):
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node, node.id
        elif isinstance(node, ast.arg):
            yield node, node.arg


def docstrings(tree: ast.AST):
    """Docstrings of modules, classes and functions, and the strings below attributes and constants."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node, node.value.value


def test_variables_are_nouns():
    names = [(path, node, name) for path, tree in TREES.items() for node, name in variables(tree)]
    assert len(names) > 1000
    assert [f"{place(path, node)} {name}" for path, node, name in names if name in PARTICIPLES] == []


def test_docstrings_are_imperative_or_noun_phrases():
    texts = [(path, node, text) for path, tree in TREES.items() for node, text in docstrings(tree)]
    assert len(texts) > 1000
    questions = [f"{place(path, node)} {text[:60]}" for path, node, text in texts if QUESTION.match(text)]
    assert len(questions) <= 10, "\n".join(questions)


def test_files_are_one_idea_each():
    lines = {path: len(text.splitlines()) for path, text in MODULES.items() if path.name != "__init__.py"}
    small = [f"{path.relative_to(ROOT)} {count}" for path, count in lines.items() if count < 60]
    assert len(small) <= 25, "\n".join(small)
    assert max(lines.values()) <= 400, max(lines, key=lines.__getitem__)
    assert 110 <= statistics.median(lines.values()) <= 170


def test_functions_fit_on_a_screen():
    functions = [
        (path, node)
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    lengths = {f"{place(path, node)} {node.name}": node.end_lineno - node.lineno + 1 for path, node in functions}
    long = [f"{name} {length}" for name, length in lengths.items() if length > 40]
    assert len(long) <= 10, "\n".join(long)


def test_the_package_has_few_rooms():
    assert len([entry for entry in ROOT.iterdir() if entry.name != "__pycache__"]) <= 26


def test_the_map_in_contributing_shows_every_room_and_no_other_file():
    page = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()
    drawing = page.split("src/ptypinn/\n", 1)[1].split("```", 1)[0]
    rooms = {entry.name for entry in ROOT.iterdir() if not entry.name.startswith("_")} - {"py.typed"}
    assert [room for room in rooms if not re.search(rf"^(\w+\.py )?{room}\b", drawing, re.MULTILINE)] == []
    files = {path.name for path in MODULES}
    assert [name for name in re.findall(r"\w+\.py\b", drawing) if name not in files] == []


@pytest.mark.parametrize("key", ["cff-version", "message", "title", "authors", "abstract", "license", "keywords"])
def test_the_citation_has_every_field(key):
    assert citation()[key]


def test_the_citation_is_of_this_version():
    assert citation()["version"] == ptypinn.__version__
    assert citation()["license"] == "BSD-3-Clause"


def citation() -> dict:
    return yaml.safe_load((Path(__file__).parents[1] / "CITATION.cff").read_text())
