"""Processes of jobs: each leads a group of its own, holds the lock of its job, and outlives the viewer."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ptypinn.runs.untrusted import read_start
from ptypinn.utils.atomic_files import is_running
from ptypinn.viewer.job_store import LOCK, LOG

PROGRAM = (sys.executable, "-P", "-m", "ptypinn")
FAILURE = "ptypinn: error: "
"""Start of the line that states why a command failed."""
INTERRUPTED = "interrupted"
"""Start of that reason where a command was asked to end."""
MAX_REASON = 500
MAX_OWNER_BYTES = 64


def start_process(folder: Path, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start `ptypinn` with arguments.

    The lock is one of the operating system: it ends with the process, however that ends, and another process of the
    same number does not hold it.

    Args:
        folder: Folder of the job, for its log and lock.
        arguments: Words after the program's name.

    Raises:
        OSError: Where the process cannot be started, or the log not be written.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    log = os.open(folder / LOG, flags | os.O_APPEND | os.O_TRUNC, 0o600)
    lock = os.open(folder / LOCK, flags, 0o600)
    try:
        with contextlib.suppress(OSError):  # file systems without locks
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        process = subprocess.Popen(
            [*PROGRAM, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=(lock,),
            env=safe_environment(),
        )
        with contextlib.suppress(OSError):  # a full disk
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{process.pid} {_birth(process.pid)}".encode(), 0)
        return process
    finally:
        os.close(log)
        os.close(lock)


def safe_environment() -> dict[str, str]:
    """Return the environment of processes in which no module of the current folder, maybe a stranger's, is imported."""
    return {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"}


def is_alive(folder: Path, pid: int) -> bool:
    """Return True while the process of a job runs: while it holds the lock, whatever the record says.

    Args:
        folder: Folder of the job.
        pid: The process, where file systems have no locks; one of the same number that began later does not count.
    """
    try:
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # file systems without locks
        birth = os.pread(lock, MAX_OWNER_BYTES, 0).decode("ascii", "replace").partition(" ")[2]
        return pid > 1 and is_running(pid) and birth == _birth(pid)
    finally:
        os.close(lock)
    return False


def read_pid(folder: Path) -> int:
    """Return the process that the lock of a job names; 0 where it names none."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(read_start(folder / LOCK, MAX_OWNER_BYTES).split()[0])
    return 0


def _birth(pid: int) -> str:
    """Return when a process began, in clock ticks since the start of the computer; empty where that is not known."""
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return ""


def send_signal(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process and all that it has started."""
    if pid > 1:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, number)


def find_reason(lines: Sequence[str]) -> str:
    """Return the line on a failure from the end of a log: the one that the command has printed, or the last one.

    >>> find_reason(["refine 1/9", "ptypinn: error: scan.h5: no probe", ""])
    'scan.h5: no probe'
    """
    for line in reversed(lines):
        if line.startswith(FAILURE):
            return line.removeprefix(FAILURE)[:MAX_REASON]
    return next((line.strip()[:MAX_REASON] for line in reversed(lines) if line.strip()), "")


def describe_exit(code: int) -> str:
    """Return what an exit code says where a log says nothing.

    >>> describe_exit(-9)
    'ended by SIGKILL, as when memory runs out'
    """
    if code < 0:
        with contextlib.suppress(ValueError):
            name = signal.Signals(-code).name
            return f"ended by {name}" + (", as when memory runs out" if name == "SIGKILL" else "")
    return f"ended with exit code {code}"
