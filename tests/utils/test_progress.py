"""Progress says what is needed, where it is read."""

import io

import pytest

from ptypinn.utils.progress import PlainLines, show_progress, silent, tee


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_lines_hold_first_and_last_step_and_are_rate_limited():
    stream = io.StringIO()
    report = PlainLines(stream, interval_s=60.0)
    for done in range(101):
        report("refine", done, 100, loss=1 / (done + 1))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("refine 0/100") and "loss 1" in lines[0]
    assert lines[1].startswith("refine 100/100") and "loss 0.009901" in lines[1] and "/s" in lines[1]


def test_rate_counts_only_the_steps_of_this_run(monkeypatch):
    clock = iter([0.0, 10.0])
    monkeypatch.setattr("ptypinn.utils.progress.time.monotonic", lambda: next(clock))
    stream = io.StringIO()
    report = PlainLines(stream, interval_s=0.0)
    report("train", 90, 200)
    report("train", 100, 200)
    assert stream.getvalue().splitlines()[1] == "train 100/200  1/s  100 s left"


def test_every_stage_starts_its_own_line():
    stream = io.StringIO()
    report = PlainLines(stream, interval_s=60.0)
    report("load", 1, 2)
    report("refine", 1, 2)
    assert [line.split()[0] for line in stream.getvalue().splitlines()] == ["load", "refine"]


def test_a_stage_that_stops_early_still_shows_its_last_report():
    stream = io.StringIO()
    with show_progress(stream=stream) as progress:
        for done in range(1, 4):
            progress("refine", done, 100, loss=1 / done)
        progress("write", 1, 1)
    assert [line.split()[:2] for line in stream.getvalue().splitlines()] == [
        ["refine", "1/100"],
        ["refine", "3/100"],
        ["write", "1/1"],
    ]


def test_a_terminal_gets_a_bar_with_figures():
    stream = Terminal()
    with show_progress(stream=stream) as progress:
        progress("refine", 1, 4, loss=0.25)
        progress("refine", 4, 4, loss=0.125)
    shown = stream.getvalue()
    assert "refine" in shown and "4/4" in shown and "loss 0.125" in shown


@pytest.mark.parametrize(("quiet", "printed"), [(True, False), (False, True)])
def test_quiet_is_silent(quiet, printed):
    stream = io.StringIO()
    with show_progress(quiet, stream) as progress:
        progress("refine", 1, 1)
    assert bool(stream.getvalue()) is printed


def test_tee_reaches_every_listener():
    first, second = io.StringIO(), io.StringIO()
    tee(PlainLines(first), silent, PlainLines(second))("refine", 1, 1)
    assert first.getvalue() == second.getvalue() != ""
