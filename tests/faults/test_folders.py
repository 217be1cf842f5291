"""Folders that cannot be written to, or that users share: one line, or a result, and nothing between."""

import ctypes
import os
import stat
import traceback
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from ptypinn import RefineConfig, SimulateConfig, load, refine, save, simulate
from ptypinn.cli.main import main
from ptypinn.runs.folder import FINISHED, RECONSTRUCTION
from ptypinn.runs.lock import RunLock

OTHER_USER = 65534
CAPABILITIES_VERSION = 0x20080522


@pytest.fixture
def scan(tmp_path):
    scan = simulate(SimulateConfig(size=32, object_size=(72, 72), n_patterns=20, seed=1))
    return save(scan, tmp_path / "data" / "scan.h5")


def obey_permissions():
    """Give up root's right to read and write every file (capset(2)); what it owns stays as its permissions have it."""
    if os.getuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        header, data = (ctypes.c_uint32 * 2)(CAPABILITIES_VERSION, 0), (ctypes.c_uint32 * 6)()
        assert libc.capset(header, data) == 0, os.strerror(ctypes.get_errno())


def run(words, log: Path):
    """Run a command in a process that permissions bind; return its exit code and what it prints."""
    log.unlink(missing_ok=True)
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), log.read_text()
    code = 99
    try:
        with log.open("w") as stream, redirect_stderr(stream), redirect_stdout(stream):
            obey_permissions()
            try:
                code = main([*map(str, words), "--quiet"])
            except BaseException:
                traceback.print_exc()
    finally:
        os._exit(code)


def forbid_writing(folder):
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))


COMMANDS = {
    "simulate": (
        "simulate",
        "--n-patterns",
        "20",
        "--size",
        "32",
        "--object-size",
        "72,72",
        "--output",
        "{out}/scan.h5",
    ),
    "refine": ("refine", "{scan}", "--iterations", "2", "--output-dir", "{out}"),
    "reconstruct": ("reconstruct", "{scan}", "--assume", "ideal", "--output-dir", "{out}"),
    "train": ("train", "{scan}", "--epochs", "1", "--output-dir", "{out}"),
    "convert": ("convert", "{scan}", "{out}/scan.cxi"),
}


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("below", [False, True])
def test_a_folder_that_cannot_be_written_to_is_named_in_one_line(tmp_path, scan, name, below):
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0o555)
    out = closed / "deep" / "run" if below else closed
    code, text = run([word.format(scan=scan, out=out) for word in COMMANDS[name]], tmp_path / "log")
    assert code == 1, text
    (line,) = text.strip().splitlines()
    assert "ermission denied" in line
    assert str(closed) in line
    assert not list(closed.iterdir())


def test_scans_and_runs_that_cannot_be_written_to_are_read(tmp_path, scan):
    refine(load(scan), RefineConfig(2)).save(scan.parent / RECONSTRUCTION)
    forbid_writing(scan.parent)
    before = sorted(scan.parent.iterdir())
    for words in (("info", scan), ("info", scan.parent / RECONSTRUCTION), ("diagnose", scan.parent)):
        code, text = run(words, tmp_path / "log")
        assert code == 0, text
        assert sorted(scan.parent.iterdir()) == before


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files to another user")
def test_users_of_a_shared_folder_take_turns(tmp_path, scan):
    shared = tmp_path / "shared"
    words = ("refine", scan, "--iterations", "2", "--output-dir", shared)
    assert run(words, tmp_path / "log")[0] == 0
    lock = RunLock(shared)
    lock.acquire()
    for path in (shared, *shared.rglob("*")):
        os.chown(path, OTHER_USER, OTHER_USER)
        path.chmod(0o777 if path.is_dir() else 0o644)
    try:
        code, text = run((*words, "--overwrite"), tmp_path / "log")
        assert (code, f"in use by process {os.getpid()}" in text, text.count("\n")) == (1, True, 1), text
    finally:
        lock.release()
    code, text = run((*words, "--overwrite"), tmp_path / "log")
    assert code == 0, text
    assert (shared / FINISHED).stat().st_uid == 0
    assert not [path.name for path in shared.iterdir() if path.name.startswith(".")]
