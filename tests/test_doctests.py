"""Every example in a docstring runs as printed, with warnings as errors."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

import ptypinn

ROOT = Path(ptypinn.__file__).parent
EXAMPLE = re.compile(r"^\s*>>> ", re.MULTILINE)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def module_name(path: Path) -> str:
    return ".".join(("ptypinn", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")


FILES = {module_name(path): path for path in sorted(ROOT.rglob("*.py")) if EXAMPLE.search(path.read_text())}


@pytest.mark.parametrize("name", FILES)
def test_examples_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = doctest.testmod(importlib.import_module(name), optionflags=FLAGS)
    assert outcome.failed == 0
    assert outcome.attempted >= len(EXAMPLE.findall(FILES[name].read_text())), "an example is in no docstring"


def test_public_docstrings_have_examples():
    tests = [
        test
        for name in FILES
        for test in doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name))
        if test.examples and "._" not in test.name
    ]
    assert len(tests) >= 40
