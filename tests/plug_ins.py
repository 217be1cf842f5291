"""Packages with plug-ins, as pip leaves them: a module and the entry points of its distribution."""

import sys

import pytest


def install_plug_in(folder, group, module, text, *names):
    """Write a package into a folder of the search path."""
    (folder / f"{module}.py").write_text(text)
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n" + "\n".join(names) + "\n")


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder on the search path of modules, whose modules are forgotten after the test."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    yield folder
    for path in folder.glob("*.py"):
        sys.modules.pop(path.stem, None)
