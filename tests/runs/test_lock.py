"""One process at a time writes to a run folder; a dead one is noticed, and so is a folder that has gone."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from ptypinn.errors import InputError
from ptypinn.runs.folder import FINISHED, RunFolder
from ptypinn.runs.lock import LOCK, RunLock

HOLD = """
import sys, time
from pathlib import Path
from ptypinn.runs.lock import RunLock
RunLock(Path(sys.argv[1])).acquire()
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def run(path, **options):
    return RunFolder(path, "refine", {}, **options)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_in_use_is_refused_at_once_and_the_process_named(tmp_path, holder, overwrite):
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match=f"in use by process {holder.pid} on "), run(tmp_path, overwrite=overwrite):
        pass
    assert sorted(tmp_path.iterdir()) == before


def test_a_dead_process_holds_nothing(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / LOCK).exists()
    with run(tmp_path) as folder:
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
        folder.finish()
    assert not (tmp_path / LOCK).exists()


def test_the_lock_is_given_back_after_a_failure(tmp_path):
    with pytest.raises(KeyboardInterrupt), run(tmp_path):
        raise KeyboardInterrupt
    with run(tmp_path):
        pass
    assert not (tmp_path / LOCK).exists()


def test_a_lock_that_says_nothing_still_holds(tmp_path):
    lock = RunLock(tmp_path)
    lock.acquire()
    (tmp_path / LOCK).write_text("[1, 2")
    with pytest.raises(InputError, match="in use by another process"), run(tmp_path):
        pass
    lock.release()


def test_leftovers_of_dead_processes_go_and_those_of_others_stay(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / "figures").mkdir()
    left = [
        folder / f".object.png.{dead.pid}@{os.uname().nodename}@x1.png" for folder in (tmp_path, tmp_path / "figures")
    ]
    kept = [
        tmp_path / f".a.h5.{os.getpid()}@{os.uname().nodename}@x2.h5",
        tmp_path / f".a.h5.{dead.pid}@elsewhere@x3.h5",
    ]
    for path in (*left, *kept, tmp_path / ".hidden"):
        path.write_bytes(b"x")
    left.append(tmp_path / f".a.h5.{os.getpid()}@elsewhere@x4.h5")
    left[-1].write_bytes(b"x")
    os.utime(left[-1], (0, time.time() - 8 * 24 * 3600))
    with run(tmp_path) as folder:
        folder.finish()
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in (*kept, tmp_path / ".hidden"))


def test_a_folder_that_was_removed_during_the_run_does_not_pass_for_finished(tmp_path):
    out = tmp_path / "out"
    with run(out) as folder:
        shutil.rmtree(out)
        with pytest.raises(InputError, match="moved or deleted during the run"):
            folder.finish({"frc": 1.0})
    assert not (out / FINISHED).exists()


def test_a_run_that_finished_meanwhile_is_not_overwritten(tmp_path):
    waiting = run(tmp_path)
    with run(tmp_path) as folder:
        folder.finish()
    with pytest.raises(InputError, match="a finished run"), waiting:
        pass
    assert (tmp_path / FINISHED).exists() and not (tmp_path / LOCK).exists()
