"""A small scan file, and the command line as a function."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from ptypinn.cli.main import main
from ptypinn.config.simulate import SimulateConfig
from ptypinn.io.load_save import save
from ptypinn.stages.simulate import simulate


class Finished(NamedTuple):
    code: int
    out: str
    err: str


Command = Callable[..., Finished]


@pytest.fixture
def ptypinn(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run the command line in this process."""

    def run(*arguments: object) -> Finished:
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else 1
        return Finished(code, *capsys.readouterr())

    return run


@pytest.fixture
def quick_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write run folders without drawing, which takes seconds; one test in a process of its own draws everything."""

    def write_report(recon: object, path: Path, *_: object) -> Path:
        path.write_text("<html></html>")
        return path

    monkeypatch.setattr("ptypinn.cli.outputs.write_report", write_report)
    monkeypatch.setattr("ptypinn.cli.outputs.png_bytes", lambda figure: b"\x89PNG")


@pytest.fixture(scope="session")
def ptypinn_process() -> Command:
    """Run the installed command line in a process of its own."""

    def run(*arguments: object, cwd: Path | None = None) -> Finished:
        command = [sys.executable, "-m", "ptypinn", *map(str, arguments)]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=cwd, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def scan_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated scan of 36 small patterns."""
    config = SimulateConfig(size=32, object_size=(80, 80), n_patterns=36, photons=1e5)
    return save(simulate(config), tmp_path_factory.mktemp("scan") / "scan.h5")
