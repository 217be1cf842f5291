"""Failures that a user can act on are one line; defects keep their traceback."""

from __future__ import annotations

import errno
import os
import signal
import threading

import pytest
import torch

from ptypinn.cli.session import report_errors
from ptypinn.errors import InputError


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (InputError("scan.h5", "probe", "none", "one"), "scan.h5: probe: found none, expected one"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out/recon.h5"), "out/recon.h5: No space left on device"),
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/out"), "/out: Permission denied"),
        (MemoryError(), "out of memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate"), "out of memory"),
        (KeyboardInterrupt(), "interrupted\n"),
        (KeyboardInterrupt("--resume goes on"), "interrupted; --resume goes on"),
        (SystemExit(1), "interrupted\n"),
    ],
)
def test_one_line_and_exit_code_1(error, said, capsys):
    with report_errors() as outcome:
        raise error
    assert outcome.code == 1
    line = capsys.readouterr().err
    assert line.startswith("ptypinn: error: ")
    assert said in line
    assert line.count("\n") == 1


@pytest.mark.parametrize("defect", [RuntimeError("shape mismatch"), TypeError("x"), AssertionError("y")])
def test_defects_pass_through(defect):
    with pytest.raises(type(defect)), report_errors():
        raise defect


def test_success_is_0():
    with report_errors() as outcome:
        pass
    assert outcome.code == 0


def test_termination_unwinds_and_the_earlier_handler_comes_back():
    before = signal.getsignal(signal.SIGTERM)
    unwound = False
    with report_errors() as outcome:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
        finally:
            unwound = True
    assert unwound
    assert outcome.code == 1
    assert signal.getsignal(signal.SIGTERM) is before


def test_other_threads_leave_signals_alone():
    codes = []

    def command() -> None:
        with report_errors() as outcome:
            raise InputError("scan", "", "x", "y")
        codes.append(outcome.code)

    thread = threading.Thread(target=command)
    thread.start()
    thread.join()
    assert codes == [1]
