"""Jobs outlive the viewer: its records, its locks and what was left say what became of them."""

import errno
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tests.viewer.job_program import FAILING, KILLED, LONG, QUICK, until, wait_for

from ptypinn.cli.view import STARTED, job_command
from ptypinn.errors import InputError
from ptypinn.runs.folder import FINISHED
from ptypinn.runs.lock import RunLock
from ptypinn.runs.service.health import STATE_FOLDER
from ptypinn.viewer.job_process import is_alive, read_pid, start_process
from ptypinn.viewer.job_queue import JobQueue, JobRequest
from ptypinn.viewer.job_store import HIDDEN, RECORD, JobStore
from ptypinn.viewer.scan_index import ScanIndex


def test_a_running_job_outlives_the_viewer_and_the_next_one_goes_on_with_it(open_queue, request_for):
    queue = open_queue()
    job, waiting = queue.add(request_for(LONG, output="a")), queue.add(request_for(output="b"))
    wait_for(queue, job, "running")
    until(lambda: queue.job(job.id).pid)
    queue.close()
    again = open_queue()
    assert [each.state for each in again.jobs()] == ["queued", "running"]
    assert again.job(job.id).pid == queue.job(job.id).pid
    again.cancel(again.job(job.id))
    assert wait_for(again, job, "cancelled").ended
    assert wait_for(again, waiting, "finished", "failed").state == "finished"


@pytest.mark.parametrize(("seed", "state"), [(QUICK, "finished"), (FAILING, "failed"), (KILLED, "interrupted")])
def test_a_job_that_ended_without_a_viewer_is_judged_by_what_it_left(seed, state, open_queue, request_for, lab):
    queue = open_queue()
    job = queue.add(request_for(seed, tolerance="0.5"))
    wait_for(queue, job, "running")
    until(lambda: queue.job(job.id).pid)
    queue.close()
    running = queue.job(job.id)
    until(lambda: not is_alive(lab / HIDDEN / "jobs" / job.id, running.pid))
    assert open_queue().job(job.id).state == state


def serve_one_job(lab, program):
    """What a viewer that is killed has done before."""
    from ptypinn.viewer import job_process

    job_process.PROGRAM, index = program, ScanIndex([lab])
    index.scans()
    index.wait(30.0)
    queue = JobQueue([lab], {name: job_command(name) for name in STARTED})
    queue.add(JobRequest("refine", "scan.h5", lab, "run", {"seed": LONG}))
    until(lambda: queue.jobs()[0].pid)
    print("up", flush=True)
    time.sleep(60)


def test_a_viewer_that_is_killed_leaves_its_jobs_running(lab, open_queue, request_for):
    program = (sys.executable, str(lab.parent / "program.py"))
    script = f"from tests.viewer.test_job_records import *; serve_one_job(Path({str(lab)!r}), {program!r})"
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=root) as viewer:
        assert viewer.stdout.readline() == b"up\n"
        viewer.kill()
    queue = open_queue()
    (job,) = queue.jobs()
    assert job.state == "running" and is_alive(lab / HIDDEN / "jobs" / job.id, job.pid)
    queue.cancel(job)
    wait_for(queue, job, "cancelled")


def test_two_viewers_of_a_folder_show_the_same_and_one_manages(open_queue, request_for):
    queue = open_queue()
    job = queue.add(request_for(LONG))
    other = open_queue()
    wait_for(other, job, "running")
    with pytest.raises(InputError, match="another viewer of this folder, process"):
        other.cancel(job)
    queue.close()
    until(lambda: other.job(job.id).pid)
    other.cancel(other.job(job.id))
    wait_for(other, job, "cancelled")


def test_records_of_a_copied_folder_are_shown_and_never_started(open_queue, request_for, lab, tmp_path):
    queue = open_queue()
    job = wait_for(queue, queue.add(request_for(FAILING)), "failed")
    queue.close()
    store = JobStore(lab)
    store.save(replace(job, state="queued"))
    store.save(replace(job, id="0" * 12, state="running", pid=os.getpid()))
    shutil.copytree(lab, tmp_path / "copy")
    for record in (tmp_path / "copy" / HIDDEN).rglob(RECORD):  # as a stranger would write them
        record.write_text(record.read_text().replace(str(lab), str(tmp_path / "copy")))
    copy = JobQueue([tmp_path / "copy"], queue.commands)
    try:
        assert {each.state for each in copy.jobs()} == {"interrupted"}
        with pytest.raises(InputError, match="another folder"):
            copy.resume(copy.jobs()[0])
        copy.cancel(copy.jobs()[0])
        time.sleep(0.2)
        assert (lab / "run" / "calls.txt").read_text().count("\n") == 1
    finally:
        copy.close()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"id": 5}', '{"values": {"a": [1]}}', "[" * 10**5])
def test_damaged_records_are_left_out(text, open_queue, request_for, lab):
    queue = open_queue()
    job = wait_for(queue, queue.add(request_for()), "finished")
    queue.close()
    for name in ("1" * 12, job.id[::-1], "other"):
        (lab / HIDDEN / "jobs" / name).mkdir(exist_ok=True)
        (lab / HIDDEN / "jobs" / name / RECORD).write_text(text)
    assert [each.id for each in open_queue().jobs()] == [job.id]


def test_a_link_in_place_of_the_records_is_refused(open_queue, request_for, lab, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (lab / HIDDEN).symlink_to(tmp_path / "elsewhere")
    queue = open_queue()
    with pytest.raises(InputError, match="a link"):
        queue.add(request_for())
    assert not (lab / "run").exists()


def test_a_read_only_viewer_starts_and_ends_nothing(open_queue, request_for, lab):
    queue = open_queue()
    job = queue.add(request_for(LONG))
    wait_for(queue, job, "running")
    reader = open_queue(read_only=True)
    for change in (lambda: reader.add(request_for(output="b")), lambda: reader.cancel(job), lambda: reader.remove(job)):
        with pytest.raises(InputError, match="--read-only"):
            change()
    assert reader.job(job.id).state == "running"


def test_a_job_that_cannot_even_be_started_fails_and_the_next_one_runs(open_queue, request_for, monkeypatch):
    queue, starts = open_queue(), []

    def start(place, words):
        starts.append(words)
        if len(starts) == 1:
            raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")
        return start_process(place, words)

    monkeypatch.setattr("ptypinn.viewer.job_queue.start_process", start)
    odd, other = queue.add(request_for(output="b")), queue.add(request_for(output="c"))
    assert "surrogates" in wait_for(queue, odd, "failed").reason
    assert wait_for(queue, other, "finished").state == "finished"


def test_a_job_resumes_never_over_a_later_run_or_beside_another_job(open_queue, request_for, lab):
    queue = open_queue()
    job = wait_for(queue, queue.add(request_for(FAILING, overwrite=True)), "failed")
    queue.resume(job)  # nothing has finished there
    job = wait_for(queue, job, "failed")
    later = queue.add(request_for(tolerance="1"))
    with pytest.raises(InputError, match="in use by another job"):
        queue.resume(job)
    wait_for(queue, later, "finished")
    with pytest.raises(InputError, match="a later run"):
        queue.resume(job)
    assert queue.job(job.id).state == "failed"


def test_the_viewer_opens_on_a_full_disk_and_on_one_without_write_access(open_queue, request_for, monkeypatch):
    queue = open_queue()
    job = queue.add(request_for(tolerance="0.5"))
    until(lambda: queue.job(job.id).pid)
    queue.close()
    until(lambda: (job.output_path / FINISHED).exists())

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(JobStore, "save", fail)
        again = open_queue()
        assert wait_for(again, job, "finished").ended
        again.close()
    monkeypatch.setattr("ptypinn.runs.lock.RunLock._open", fail)
    reader = open_queue()
    assert reader.job(job.id).state == "running"  # as on record
    with pytest.raises(InputError, match="No space left"):
        reader.add(request_for(output="b"))


def test_jobs_and_a_service_work_in_one_folder(open_queue, request_for, lab):
    service = RunLock(lab / STATE_FOLDER)
    (lab / STATE_FOLDER).mkdir()
    service.acquire()
    queue = open_queue()
    assert wait_for(queue, queue.add(request_for()), "finished")
    service.release()
    service.acquire()
    service.release()


def test_a_job_whose_process_is_not_on_record_goes_on(open_queue, request_for, lab):
    queue = open_queue()
    job = queue.add(request_for(LONG))
    until(lambda: queue.job(job.id).pid)
    queue.close()
    JobStore(lab).save(replace(queue.job(job.id), pid=0))  # as where the viewer was killed right after the start
    again = open_queue()
    assert again.job(job.id).state == "running"
    again.cancel(again.job(job.id))
    assert wait_for(again, job, "cancelled", "failed").state == "cancelled"


def test_without_locks_another_process_of_the_same_number_is_not_the_job(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    monkeypatch.setattr("ptypinn.viewer.job_process.PROGRAM", (sys.executable, "-c", "input()"))
    with start_process(tmp_path, []) as process:
        process.wait(20)
    monkeypatch.setattr("ptypinn.viewer.job_process.PROGRAM", (sys.executable, "-c", "import time; time.sleep(60)"))
    with start_process(tmp_path, []) as process:
        assert is_alive(tmp_path, process.pid) and read_pid(tmp_path) == process.pid
        assert not is_alive(tmp_path, os.getpid())
        process.kill()
