"""The journal holds what was written before its process was killed, and grows on disk alone."""

import subprocess
import sys

import pytest

from ptypinn.runs.service.journal import ARRIVING, FAILED, FINISHED, READY, SOLVING, Journal
from ptypinn.runs.service.log import LOG, ScanLog

KILLED = """
import os, signal, sys
from pathlib import Path
from ptypinn.runs.service.journal import Journal
journal = Journal(Path(sys.argv[1]), 0.0)
for number in range(100):
    journal.add(f"scan_{number}.h5", "1:1:1", number, 0.0)
journal.change("scan_3.h5", state="solving", run="scan_3")
with journal.together():
    journal.change("scan_5.h5", state="finished")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path, 0.0)
    yield journal
    journal.close()


def test_after_a_kill_complete_entries_stand_and_half_ones_do_not(tmp_path):
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    journal = Journal(tmp_path, 5.0)
    assert journal.count() | {} == {**dict.fromkeys(journal.count(), 0), ARRIVING: 99, READY: 1}
    assert journal.interrupted == ["scan_3"] and journal.next_ready().path == "scan_3.h5"
    assert len(journal.list_due(5.0, 1000)) == 99 and journal.find("scan_5.h5").state == ARRIVING
    journal.close()


def test_scans_of_one_round_are_ordered_by_time_and_rounds_by_appearance(journal):
    journal.add("new.h5", "", 3, 0.0, READY)
    journal.add("old.h5", "", 1, 0.0, READY)
    journal.round += 1
    journal.add("later_but_older.h5", "", 0, 0.0, READY)
    order = []
    while (scan := journal.next_ready()) is not None:
        order.append(scan.path)
        journal.change(scan.path, state=FINISHED)
    assert order == ["old.h5", "new.h5", "later_but_older.h5"]


def test_an_entry_is_added_once(journal):
    journal.add("a.h5", "1", 1, 0.0)
    journal.change("a.h5", state=FAILED, run="a", detail="no probe")
    journal.add("a.h5", "2", 2, 9.0)
    scan = journal.find("a.h5")
    assert (scan.state, scan.signature, scan.detail) == (FAILED, "1", "no probe")
    assert journal.owner("a") == "a.h5" and journal.owner("b") is None
    journal.drop("a.h5")
    assert journal.find("a.h5") is None


def test_scans_tried_again_count_their_times_from_now(journal):
    journal.add("a.h5", "1", 1, 80_000.0)
    journal.change("a.h5", state=FAILED)
    journal.retry_failed(3.0)
    (scan,) = journal.list_due(3.0, 1)
    assert (scan.state, scan.changed_s) == (ARRIVING, 3.0)


def test_a_journal_of_another_version_is_begun_anew(tmp_path):
    first = Journal(tmp_path, 0.0)
    first.add("a.h5", "", 0, 0.0)
    first._database.execute("pragma user_version = 77")
    first.close()
    second = Journal(tmp_path, 0.0)
    assert second.was_damaged and second.find("a.h5") is None
    second.close()


def test_an_error_within_changes_undoes_them_all(journal):
    def change():
        with journal.together():
            journal.add("a.h5", "", 0, 0.0)
            raise KeyError

    with pytest.raises(KeyError):
        change()
    assert journal.find("a.h5") is None
    with journal.together():
        journal.add("a.h5", "", 0, 0.0, SOLVING)
    assert journal.find("a.h5").state == SOLVING


def test_the_log_has_a_limited_size(tmp_path):
    log = ScanLog(tmp_path, lambda line, record: None, max_bytes=2000)
    for number in range(200):
        log.add({"scan": f"scan_{number}.h5", "state": "finished", "text": "Mostly."})
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(sizes) <= {LOG, f"{LOG}.1"} and max(sizes.values()) < 2200
