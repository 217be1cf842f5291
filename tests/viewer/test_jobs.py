"""Jobs run a few at a time, and end as their process, their log and their run folder say."""

import json
import os
import platform
from dataclasses import replace

import pytest
from tests.viewer.job_program import DEAF, FAILING, KILLED, LONG, RECEIVING, STOPPED, until, wait_for

from ptypinn.errors import InputError
from ptypinn.runs.folder import FINISHED
from ptypinn.runs.lock import LOCK
from ptypinn.viewer.job_outcome import describe_job
from ptypinn.viewer.job_queue import JobRequest
from ptypinn.viewer.job_store import HIDDEN


def test_a_job_runs_and_is_finished_and_its_line_does_the_same(open_queue, request_for, lab):
    queue = open_queue()
    job = queue.add(request_for(output="deep/run", iterations="7", refine_positions=True))
    assert job.line == "ptypinn refine scan.h5 --output-dir=deep/run --iterations=7 --refine-positions --seed=1"
    assert wait_for(queue, job, "finished", "failed").state == "finished"
    call = (lab / "deep" / "run" / "calls.txt").read_text()
    assert call.split() == ["refine", str(lab / "scan.h5"), f"--output-dir={lab}/deep/run", *job.line.split()[4:]]


@pytest.mark.parametrize(
    ("seed", "state", "reason"),
    [
        (FAILING, "failed", "scan.h5: no probe"),
        (STOPPED, "interrupted", ""),
        (KILLED, "failed", "ended by SIGKILL, as when memory runs out"),
    ],
)
def test_a_job_ends_as_its_process_says(seed, state, reason, open_queue, request_for, lab):
    queue = open_queue()
    job = wait_for(queue, queue.add(request_for(seed)), "failed", "interrupted", "finished")
    assert (job.state, job.reason) == (state, reason)
    assert str(lab) not in json.dumps(queue.log(job))


def test_jobs_wait_for_each_other_and_share_the_threads(open_queue, request_for):
    queue = open_queue()
    first, second = (queue.add(request_for(LONG, output=name)) for name in ("a", "b"))
    wait_for(queue, first, "running")
    assert queue.job(second.id).state == "queued"
    assert "--threads" not in first.line
    queue.cancel(first)
    wait_for(queue, second, "running")
    assert queue.job(first.id).state == "cancelled"
    both = open_queue(slots=2, read_only=True).prepare(request_for(output="c"))
    assert f"--threads={max(1, os.cpu_count() // 2)}" in both.line


def test_two_jobs_never_write_to_one_folder(open_queue, request_for, lab):
    queue = open_queue()
    queue.add(request_for(LONG))
    with pytest.raises(InputError, match="in use by another job"):
        queue.add(request_for())
    (lab / "done").mkdir()
    (lab / "done" / FINISHED).write_text('{"stage": "refine"}')
    with pytest.raises(InputError, match="a finished run of refine in done"):
        queue.add(request_for(output="done"))
    assert queue.add(request_for(output="done", overwrite=True)).line.endswith("--overwrite")


def test_a_job_that_does_not_listen_is_killed(open_queue, request_for, monkeypatch):
    monkeypatch.setattr("ptypinn.viewer.job_queue.GRACE_S", 0.3)
    queue = open_queue()
    job = queue.add(request_for(DEAF))
    until(lambda: "refine 1/9" in str(queue.log(job)))
    queue.cancel(job)
    assert queue.job(job.id).state == "running"
    assert wait_for(queue, job, "cancelled", "failed").state == "cancelled"


@pytest.fixture
def live_request(lab):
    return lambda seed=RECEIVING: JobRequest("live", "replay:scan.h5?rate=5", lab, "run", {"seed": seed})


def test_a_scan_in_progress_is_finished_by_one_signal(open_queue, live_request, lab):
    queue = open_queue()
    job = queue.add(live_request())
    assert job.line == "ptypinn live 'replay:scan.h5?rate=5' --output-dir=run --seed=7"
    until(lambda: describe_job(queue.job(job.id))["receiving"])
    for _ in range(3):  # a second signal would interrupt it
        queue.finish(queue.job(job.id))
    assert describe_job(queue.job(job.id))["finishing"]
    assert wait_for(queue, job, "finished", "failed", "interrupted").state == "finished"
    assert (lab / "run" / "signals.txt").read_text() == "1"
    call = (lab / "run" / "calls.txt").read_text().split()
    assert call == ["live", f"replay:{lab}/scan.h5?rate=5", f"--output-dir={lab}/run", "--seed=7"]


def test_only_a_scan_whose_frames_come_is_finished(open_queue, live_request, request_for, lab):
    queue = open_queue()
    jobs = [queue.add(request_for(LONG)), queue.add(replace(live_request(LONG), output="b"))]
    for job in jobs:
        wait_for(queue, job, "running")
        until(lambda job=job: queue.job(job.id).pid)
        until(lambda job=job: "refine 1/9" in str(queue.log(job)))
        with pytest.raises(InputError, match="expected a scan whose frames still come"):
            queue.finish(queue.job(job.id))
        assert queue.job(job.id).state == "running"
        (job.output_path / LOCK).write_text(json.dumps({"pid": os.getpid(), "host": platform.node()}))
        (job.output_path / "live.json").write_text('{"state": "receiving"}')
        if job.command == "refine":  # whatever lies in its folder
            with pytest.raises(InputError, match="expected a scan whose frames still come"):
                queue.finish(queue.job(job.id))
        queue.cancel(job)
        wait_for(queue, job, "cancelled")
    with pytest.raises(InputError, match="expected a scan whose frames still come"):
        queue.finish(jobs[1])


def test_a_source_is_looked_at_again_when_its_job_starts(open_queue, live_request, request_for, lab, tmp_path):
    queue = open_queue()
    first = queue.add(request_for(LONG, output="a"))
    job = queue.add(live_request())
    (lab / "scan.h5").rename(tmp_path / "secret.h5")
    (lab / "scan.h5").symlink_to(tmp_path / "secret.h5")
    queue.cancel(first)
    job = wait_for(queue, job, "failed", "running")
    assert job.state == "failed" and "files in the folder of this viewer" in job.reason
    assert not (lab / "run").exists()


def test_a_job_that_waits_is_cancelled_and_removed_without_a_start(open_queue, request_for, lab):
    queue = open_queue()
    queue.add(request_for(LONG))
    job = queue.add(request_for(output="b"))
    queue.remove(job)
    assert queue.job(job.id) is not None  # it has not ended
    queue.cancel(job)
    assert queue.job(job.id).state == "cancelled"
    queue.remove(job)
    assert queue.job(job.id) is None
    assert not (lab / "b").exists()
    assert not (lab / HIDDEN / "jobs" / job.id).exists()


def test_a_job_resumes_with_the_same_command(open_queue, request_for, lab):
    queue = open_queue()
    job = wait_for(queue, queue.add(request_for(FAILING)), "failed")
    queue.resume(job)
    until(lambda: (lab / "run" / "calls.txt").read_text().count("\n") == 2)
    first, second = (lab / "run" / "calls.txt").read_text().splitlines()
    assert first == second
    job = wait_for(queue, job, "failed")
    finished = wait_for(queue, queue.add(request_for(output="b")), "finished")
    queue.resume(finished)
    assert queue.job(finished.id).state == "finished"
