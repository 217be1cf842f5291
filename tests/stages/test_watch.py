"""The service solves every scan once, in order, whatever becomes of single ones, of the disk, or of itself."""

import os
import shutil
import threading
import time
from types import SimpleNamespace

import h5py
import pytest
from tests.stages.watched_place import Place

from ptypinn.config.watch import WatchConfig
from ptypinn.errors import InputError
from ptypinn.runs.lock import RunLock
from ptypinn.runs.service.arrivals import Selection
from ptypinn.runs.service.health import HEALTH, STATE_FOLDER
from ptypinn.runs.service.journal import STATES
from ptypinn.runs.service.retention import delete_run
from ptypinn.stages import watch as watch_module
from ptypinn.stages import watch_queues as queues_module
from ptypinn.stages.watch import open_service_folder
from ptypinn.stages.watch_queues import FolderQueue
from service_jobs import write_run


def number(n):
    return lambda place: len(place.records) >= n


def is_recognised(place):
    """Return True once a scan on record counts as solved, after the time that solving it again would take."""
    time.sleep(0.8)
    return place.health["scans"]["finished"] == 1 and not place.health["scans"]["arriving"]


def is_waiting(place):
    """Return True once a scan is on record as one that is not complete."""
    return (place.runs / STATE_FOLDER / HEALTH).exists() and place.health["scans"]["arriving"] == 1


def test_scans_are_solved_once_in_the_order_of_their_times(place):
    for age_s, name in ((1, "c.scan"), (3, "a.scan"), (2, "deep/b.scan")):
        place.put(name, age_s=age_s)
    place.put("notes.txt")
    place.serve(stop_after=3)
    assert [name for name, _ in place.outcomes] == ["a.scan", "deep/b.scan", "c.scan"]
    place.put("d.scan")
    place.serve(stop_after=1)
    assert place.outcomes[3:] == [("d.scan", "finished")]
    assert {path.parent.relative_to(place.runs).as_posix() for path in place.runs.rglob("*.png")} == {
        *("a", "deep/b", "c", "d")
    }
    assert place.health["state"] == "stopped" and place.health["scans"]["finished"] == 4
    assert place.health["last_scan"]["scan"] == "d.scan" and set(place.health["scans"]) == set(STATES)


@pytest.mark.parametrize("notices", ["auto", "poll"])
def test_files_that_appear_later_are_noticed(place, notices):
    place.put("a.scan")
    thread = threading.Timer(0.6, lambda: [place.put("b.scan"), place.put("new/c.scan")])
    thread.start()
    place.serve(until=number(3), notices=notices)
    assert sorted(place.outcomes) == [(f"{name}.scan", "finished") for name in ("a", "b", "new/c")]


def test_a_scan_fails_alone_and_is_tried_again_when_its_file_changes(place):
    place.put("a.scan", "raise no probe", age_s=3)
    place.put("b.scan", "kill", age_s=2)
    place.put("c.scan", age_s=1)
    place.serve(stop_after=3)
    assert [state for _, state in place.outcomes] == ["failed", "failed", "finished"]
    assert "no probe" in place.records[0]["text"] and "SIGKILL" in place.records[1]["text"]
    assert place.health["last_error"]["scan"] == "b.scan"
    place.serve(until=lambda place: time.sleep(0.8) or True)
    assert len(place.records) == 3
    place.put("a.scan")
    place.serve(stop_after=1)
    assert place.outcomes[3:] == [("a.scan", "finished")]
    place.serve(stop_after=1, retry_failed=True)
    assert place.outcomes[4:] == [("b.scan", "failed")]


def test_a_changed_file_is_a_new_scan_and_a_touched_one_is_not(place):
    path = place.put("a.scan", "solve one")
    place.serve(stop_after=1)
    os.utime(path, (1, 1))
    place.serve(until=is_recognised)
    assert len(place.records) == 1
    place.put("a.scan", "solve two")
    place.serve(stop_after=1)
    assert place.records[1]["run"] == "a-2" and (place.runs / "a" / "object.png").exists()


def test_a_growing_file_waits_until_it_is_complete(place):
    path = place.scans / "a.scan"
    file = h5py.File(path, "w", libver="latest")
    place.put("b.scan")
    place.serve(until=lambda place: place.records and not time.sleep(0.6) and is_waiting(place))
    assert place.outcomes == [("b.scan", "finished")] and place.health["scans"]["arriving"] == 1
    file.close()
    place.put("a.scan")
    place.serve(stop_after=1)
    assert place.outcomes[1:] == [("a.scan", "finished")]


@pytest.mark.parametrize("period_s", [5, 20, 60])
def test_the_pauses_of_a_slow_writer_are_learned(place, monkeypatch, period_s):
    """Nothing else shows that a flushed file is not complete; it is solved too early once, and not for every frame."""
    clock_s, ready_s = [0.0], []
    monkeypatch.setattr(queues_module, "time", SimpleNamespace(monotonic=lambda: clock_s[0]))
    path = place.put("a.scan", "")
    with open_service_folder(place.runs, print) as journal:
        selection = Selection(place.scans, place.runs, ["*.scan"])
        queue = FolderQueue(selection, WatchConfig(settle_s=2.0), journal, print)
        last_s = 1.0 + 9 * period_s
        while clock_s[0] < last_s + 4 * period_s:
            clock_s[0] += 0.5
            if clock_s[0] <= last_s and (clock_s[0] - 1.0) % period_s == 0:
                path.write_text(path.read_text() + "frame ")
            queue.update({"a.scan"})
            if (scan := queue.next()) is not None:
                journal.change(scan.path, state="finished")
                ready_s.append(clock_s[0])
    assert len(ready_s) == 2 and ready_s[0] < 1.0 + period_s
    assert 3 * period_s <= ready_s[1] - last_s <= 3 * period_s + 1


def test_a_scan_waits_for_its_further_files_and_says_so_once(place):
    place.put("a.scan", "parts frames.h5")
    place.put("b.scan")

    def complete(place):
        if ("a.scan", "arriving") in place.outcomes and not (place.scans / "frames.h5").exists():
            h5py.File(place.scans / "frames.h5", "w").close()
        return len(place.records) >= 3

    place.serve(until=complete)
    assert [state for name, state in place.outcomes if name == "a.scan"] == ["arriving", "finished"]


def test_a_scan_whose_further_files_are_there_is_solved_once_and_again_when_they_change(place):
    place.put("frames.h5", "one")
    place.put("a.scan", "parts frames.h5")
    place.serve(until=lambda place: place.records and not time.sleep(0.8))
    assert place.outcomes == [("a.scan", "finished")]
    place.put("frames.h5", "other")
    place.serve(stop_after=1)
    assert [record["run"] for record in place.records] == ["a", "a-2"]


def test_what_is_no_scan_is_left_out_and_counts_for_nothing(place):
    place.put("a.scan", "ignore a table of positions", age_s=1)
    place.put("b.scan")
    place.serve(stop_after=1)
    assert place.outcomes == [("a.scan", "ignored"), ("b.scan", "finished")]


def test_a_scan_that_takes_too_long_is_ended(place):
    place.put("a.scan", "wait")
    place.serve(stop_after=1, timeout_s=0.5)
    assert place.outcomes == [("a.scan", "failed")] and "--timeout-s" in place.records[0]["text"]


@pytest.mark.parametrize("order", ["wait", "stubborn"])
def test_a_stop_ends_the_scan_in_progress_and_the_next_start_solves_it(place, order, monkeypatch):
    monkeypatch.setattr(watch_module, "STOP_S", 0.5)
    place.put("a.scan", order)
    begin_s = []
    place.serve(until=lambda place: (place.runs / "a.started").exists() and not begin_s.append(time.monotonic()))
    assert time.monotonic() - begin_s[0] < 30 and place.outcomes == []
    assert place.health["state"] == "stopped" and "current" not in place.health
    place.put("a.scan")
    place.serve(stop_after=1)
    assert place.outcomes == [("a.scan", "finished")]


def test_a_scan_whose_process_is_asked_to_end_is_tried_again(place, monkeypatch):
    """As by a stop that reaches all processes at once."""
    monkeypatch.setattr(watch_module, "INTERRUPT_WAIT_S", 0.3)
    place.put("a.scan", "terminate")
    place.serve(until=lambda place: place.lines and place.put("a.scan"))
    place.serve(stop_after=1)
    assert place.outcomes == [("a.scan", "finished")]


def test_without_its_journal_the_service_recognises_the_runs_of_before(place):
    place.put("a.scan")
    place.serve(stop_after=1)
    shutil.rmtree(place.runs / STATE_FOLDER)
    place.serve(until=is_recognised)
    assert place.records == [] and not (place.runs / "a-2").exists()


def test_a_damaged_journal_is_begun_anew(place):
    place.put("a.scan")
    place.serve(stop_after=1)
    next((place.runs / STATE_FOLDER).glob("*.sqlite")).write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 40)
    place.serve(until=is_recognised)
    assert any("damaged" in line for line in place.lines) and len(place.records) == 1


def test_the_service_pauses_while_the_disk_is_full(place, monkeypatch):
    place.put("a.scan")
    free = [2**20]
    monkeypatch.setattr(watch_module.shutil, "disk_usage", lambda _: SimpleNamespace(free=free[0]))

    def relieve(place):
        is_open = (place.runs / STATE_FOLDER / HEALTH).exists()
        if is_open and free[0] < 2**40 and place.health["state"] == "paused":
            assert place.records == []
            free[0] = 2**40
        return bool(place.records)

    place.serve(until=relieve)
    assert place.outcomes == [("a.scan", "finished")]
    assert [line.split(":")[0] for line in place.lines][:2] == ["the service pauses", "the service goes on"]


def test_a_scan_that_the_disk_had_no_space_for_is_not_lost(place, monkeypatch, tmp_path):
    monkeypatch.setattr(watch_module, "FULL_WAIT_S", 0.3)
    place.put("a.scan", f"full {tmp_path / 'space'}")
    place.serve(until=lambda place: place.lines and ((tmp_path / "space").touch() or place.records))
    assert place.outcomes == [("a.scan", "finished")] and "no space left" in place.lines[0]


def test_only_own_runs_are_deleted_and_only_the_oldest(place):
    write_run(place.runs / "mine", place.put("mine.txt"))
    for age_s, name in enumerate("edcba"):
        place.put(f"{name}.scan", f"solve {name}", age_s=age_s + 1)
    place.serve(stop_after=2)
    (place.runs / "a" / "notes.txt").write_text("mine")
    place.serve(stop_after=3, keep_runs=2)
    assert list_runs(place) == {"mine", "a", "d", "e"}
    assert any("'notes.txt'" in line for line in place.lines)
    place.serve(stop_after=1, until=lambda place: time.sleep(0.5) or True)
    assert len(place.records) == 5


def list_runs(place):
    return {entry.name for entry in place.runs.iterdir() if not entry.name.startswith(".")}


def test_all_runs_of_a_file_that_changes_expire_and_one_of_a_deleted_run_counts_again(place):
    for content in ("one", "two", "three", "four"):
        place.put("a.scan", f"solve {content}")
        place.serve(stop_after=1)
    place.put("b.scan")
    place.serve(stop_after=1, keep_runs=1)
    assert list_runs(place) == {"b"}
    place.put("a.scan", "solve five")
    place.serve(stop_after=1, keep_runs=1)
    assert list_runs(place) == {"a"}
    place.put("c.scan")
    place.serve(stop_after=1, keep_runs=1)
    assert list_runs(place) == {"c"}


def test_a_run_that_cannot_be_deleted_holds_up_no_other_and_is_tried_again(place, monkeypatch):
    def delete(output_dir, name, scan_path):
        if name == "a":
            raise OSError("busy")
        return delete_run(output_dir, name, scan_path)

    monkeypatch.setattr(watch_module, "delete_run", delete)
    monkeypatch.setattr(watch_module, "MAX_DELETIONS", 1)
    for age_s, name in enumerate("dcba"):
        place.put(f"{name}.scan", f"solve {name}", age_s=age_s + 1)
    place.serve(stop_after=4, keep_runs=1)
    assert list_runs(place) == {"a", "d"} and place.lines.count("a cannot be deleted yet: busy") == 1
    monkeypatch.setattr(watch_module, "MAX_DELETIONS", 10)
    monkeypatch.setattr(watch_module, "delete_run", delete_run)
    place.put("e.scan")
    place.serve(stop_after=1, keep_runs=1)
    assert list_runs(place) == {"e"}


def test_links_lead_nowhere_unless_allowed(place, tmp_path):
    outside = tmp_path / "outside.scan"
    outside.write_text("solve")
    place.put("a.scan")
    (place.scans / "inside.scan").symlink_to(place.scans / "a.scan")
    (place.scans / "outside.scan").symlink_to(outside)
    (place.scans / "loop").symlink_to(place.scans)
    (place.scans / "gone.scan").symlink_to(tmp_path / "nothing")
    place.serve(until=lambda place: place.records and not time.sleep(0.5))
    assert place.outcomes == [("a.scan", "finished")]
    place.serve(stop_after=1, allow_external=True)
    assert place.outcomes[1:] == [("outside.scan", "finished")]


def test_odd_names_and_odd_files(place):
    names = ["ä b\n\x1b[31m.scan", "-rf.scan", "a" * 200 + ".scan", "$(touch x).scan", "b%s'\".scan"]
    for name in names:
        place.put(name)
    with open(os.fsencode(place.scans) + b"/bad\xff.scan", "w") as file:
        file.write("solve")
    os.mkfifo(place.scans / "pipe.scan")
    place.put(".hidden.scan")
    (place.scans / "folder.scan").mkdir()
    place.serve(stop_after=len(names) + 1)
    assert {state for _, state in place.outcomes} == {"finished"}
    assert all(line.isprintable() for line in place.lines)
    runs = [entry.name for entry in place.runs.iterdir() if not entry.name.startswith(".")]
    assert len(runs) == len(names) + 1 and all(name.isascii() and len(name) < 140 for name in runs)


def test_runs_below_the_watched_folder_are_no_scans(tmp_path):
    place = Place(tmp_path)
    place.runs = place.scans / "runs"
    place.put("a.scan")
    place.put("runs/b.scan")
    place.serve(until=lambda place: place.records and not time.sleep(0.4))
    assert place.outcomes == [("a.scan", "finished")]


def test_files_that_vanish_are_forgotten(place):
    path = place.scans / "a.scan"
    file = h5py.File(path, "w", libver="latest")
    place.serve(until=is_waiting)
    file.close()
    path.unlink()
    place.serve(until=lambda place: sum(place.health["scans"].values()) == 0)
    assert sum(place.health["scans"].values()) == 0


def test_one_service_per_folder(place):
    place.runs.mkdir()
    with open_service_folder(place.runs, print), pytest.raises(InputError, match="in use"):
        place.serve(stop_after=1)


def test_a_viewer_may_use_the_folder_of_a_service(place):
    state_folder = place.runs / STATE_FOLDER
    (state_folder / "jobs").mkdir(parents=True)
    with open_service_folder(place.runs, print):
        for folder in (state_folder, state_folder / "jobs"):
            lock = RunLock(folder)
            lock.acquire()
            assert lock.is_held
            lock.release()
