"""Jobs: finished ones are skipped, failures stop no others, dead processes are named, interruptions can be resumed."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import pytest

from ptypinn.config.shared import JobsConfig
from ptypinn.errors import InputError
from ptypinn.runs.jobs.job import DONE_FILE, Job
from ptypinn.runs.jobs.run import run_jobs

SERIAL = JobsConfig(workers=0)
WORK = """
import os, time
from dataclasses import dataclass


@dataclass(frozen=True)
class Number:
    value: float
    what: str = "write"


def work(config, folder):
    (folder / "number.txt").write_text(str(config.value))
    with (folder.parent.parent / "calls.txt").open("a") as calls:
        calls.write(f"{config.value}\\n")
    if config.what == "fail":
        raise ValueError(f"no {config.value}\\nfor you")
    if config.what == "leave":
        raise SystemExit(3)
    if config.what == "die":
        os._exit(9)
    if config.what == "wait":
        time.sleep(60)
    import torch
    return {"double": 2 * config.value, "threads": torch.get_num_threads(), "pid": os.getpid(),
            "omp": os.environ.get("OMP_NUM_THREADS"), "nan": float("nan")}


if __name__ == "__main__":
    import signal, sys
    from pathlib import Path
    from ptypinn.config.shared import JobsConfig
    from ptypinn.runs.jobs.run import run_jobs
    from ptypinn.runs.jobs.job import Job
    import sweep_work
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells disable it for background processes
    jobs = [Job(f"n{k}", sweep_work.Number(float(k), what)) for k, what in enumerate(sys.argv[2:])]
    run_jobs(sweep_work.work, jobs, Path(sys.argv[1]), JobsConfig(workers=2))
"""


@dataclass(frozen=True)
class Sweep:
    """The job function of these tests, and the folder of the jobs."""

    module: object
    folder: object

    def jobs(self, *kinds):
        return [Job(f"n{k}", self.module.Number(float(k), kind)) for k, kind in enumerate(kinds)]

    def run(self, jobs, config=SERIAL, **options):
        return run_jobs(self.module.work, jobs, self.folder, config, **options)

    def calls(self):
        return [float(line) for line in (self.folder.parent / "calls.txt").read_text().split()]

    def names(self):
        return sorted(entry.name for entry in self.folder.iterdir())


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    (tmp_path / "sweep_work.py").write_text(WORK)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sweep_work", raising=False)
    return Sweep(importlib.import_module("sweep_work"), tmp_path / "jobs")


def test_finished_jobs_are_skipped_and_their_results_kept(sweep):
    first = sweep.run(sweep.jobs("write", "write"))
    assert [result["double"] for result in first.results.values()] == [0.0, 2.0]
    assert (first.skipped, first.failures) == (0, {})
    again = sweep.run(sweep.jobs("write", "write", "write"))
    assert again.skipped == 2
    assert again.results["n1"] == first.results["n1"]
    assert list(again.results) == ["n0", "n1", "n2"]
    assert sweep.calls() == [0.0, 1.0, 2.0]
    assert sweep.run(sweep.jobs("write"), overwrite=True).skipped == 0
    assert sweep.calls()[-1] == 0.0
    assert (sweep.folder / "n0" / "number.txt").read_text() == "0.0"
    record = json.loads((sweep.folder / "n0" / DONE_FILE).read_text())
    assert record["config"] == {"value": 0.0, "what": "write"}
    assert record["result"]["nan"] is None


def test_a_failure_stays_alone_and_is_named_with_its_reason(sweep):
    with pytest.warns(UserWarning, match="job n1 failed: ValueError: no 1.0 for you"):
        done = sweep.run(sweep.jobs("write", "fail", "write"))
    assert list(done.results) == ["n0", "n2"]
    assert sweep.names() == ["n0", "n1.failed.txt", "n2"]
    assert "Traceback" in (sweep.folder / "n1.failed.txt").read_text()
    with pytest.raises(InputError, match=r"1 of 3 that failed: n1 \(ValueError: no 1.0 for you\)"):
        done.require_all()
    with pytest.warns(UserWarning, match="SystemExit"):
        assert not sweep.run(sweep.jobs("write", "leave"), overwrite=True).results.keys() - {"n0"}
    mended = sweep.run([Job("n1", sweep.module.Number(1.0))])
    assert mended.require_all()["n1"]["double"] == 2.0
    assert sweep.names() == ["n0", "n1", "n2"]


def test_another_configuration_is_refused_by_name(sweep):
    sweep.run(sweep.jobs("write"))
    with pytest.raises(InputError, match=r"value 0.0 \(now 5.0\).*--overwrite"):
        sweep.run([Job("n0", sweep.module.Number(5.0))])
    assert sweep.run([Job("n0", sweep.module.Number(5.0))], overwrite=True).results["n0"]["double"] == 10.0


@pytest.mark.parametrize("damage", ["", "{", "{}", '{"result": 3}'])
def test_a_damaged_record_does_not_count(sweep, damage):
    sweep.run(sweep.jobs("write"))
    (sweep.folder / "n0" / DONE_FILE).write_text(damage)
    assert sweep.run(sweep.jobs("write")).skipped == 0
    assert sweep.names() == ["n0"]


@pytest.mark.parametrize("names", [("a", "a"), ("a/b",), ("",), ("..",)])
def test_names_are_those_of_folders_and_differ(sweep, names):
    with pytest.raises(InputError, match="name"):
        sweep.run([Job(name, sweep.module.Number(1.0)) for name in names])


def test_progress_counts_what_was_done_before_and_what_failed(sweep):
    sweep.run(sweep.jobs("write"))
    reports = []
    with pytest.warns(UserWarning, match="n2"):
        sweep.run(
            sweep.jobs("write", "write", "fail"),
            progress=lambda stage, done, total, /, **figures: reports.append((stage, done, total, figures)),
        )
    assert reports == [("jobs", 1, 3, {}), ("jobs", 2, 3, {}), ("jobs", 3, 3, {"failed": 1.0})]


def test_a_pool_limits_threads_and_survives_a_process_that_dies(sweep):
    with pytest.warns(UserWarning, match="job n[12] failed") as caught:
        done = sweep.run(sweep.jobs("write", "die", "fail", "write"), JobsConfig(workers=2, threads=1))
    assert sorted(done.results) == ["n0", "n3"]
    assert "its process died" in done.failures["n1"]
    assert "ValueError" in done.failures["n2"]
    assert len(caught) == 2
    assert {result["omp"] for result in done.results.values()} == {"1"}
    assert {result["threads"] for result in done.results.values()} == {1}
    assert os.getpid() not in {result["pid"] for result in done.results.values()}
    assert sweep.names() == ["n0", "n2.failed.txt", "n3"]


def test_an_interruption_stops_at_once_and_the_next_call_resumes(sweep):
    script = sweep.folder.parent / "sweep_work.py"
    command = [sys.executable, str(script), str(sweep.folder), "write", "wait", "wait", "write"]
    running = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    calls, deadline = sweep.folder.parent / "calls.txt", time.monotonic() + 60
    while not (calls.exists() and len(calls.read_text().split()) >= 3) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGINT)
    assert running.wait(20) != 0
    assert sweep.names() == ["n0"]
    resumed = sweep.run([sweep.jobs("write", "wait", "wait", "write")[k] for k in (0, 3)])
    assert resumed.skipped == 1
    assert resumed.results["n3"]["double"] == 6.0


def test_jobs_run_on_a_dask_cluster(sweep):
    distributed = pytest.importorskip("distributed", reason="the extra dask is not installed")
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options) as cluster:
        remote = JobsConfig(scheduler=cluster.scheduler_address)
        with pytest.warns(UserWarning, match="job n1 failed: ValueError"):
            done = sweep.run(sweep.jobs("write", "fail", "write"), remote)
        again = sweep.run(sweep.jobs("write", "write", "write"), remote, overwrite=True)
    assert list(done.results) == ["n0", "n2"]
    assert sweep.names() == ["n0", "n1", "n2"]
    assert list(again.results) == ["n0", "n1", "n2"]


def test_workers_that_do_several_jobs_at_once_are_refused(sweep):
    distributed = pytest.importorskip("distributed", reason="the extra dask is not installed")
    options = {"n_workers": 1, "threads_per_worker": 2, "processes": False, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options) as cluster, pytest.raises(InputError, match="--nthreads 1"):
        sweep.run(sweep.jobs("write"), JobsConfig(scheduler=cluster.scheduler_address))


def test_a_cluster_that_is_not_there_is_one_line(sweep, monkeypatch):
    pytest.importorskip("distributed", reason="the extra dask is not installed")
    monkeypatch.setattr("ptypinn.runs.jobs.workers.CONNECT_S", 0.5)
    for address in ("tcp://127.0.0.1:9", "nowhere"):
        with pytest.raises(InputError, match=r"--scheduler: found .*does not answer") as error_info:
            sweep.run(sweep.jobs("write"), JobsConfig(scheduler=address))
        assert "\n" not in str(error_info.value)
    assert not sweep.folder.exists()


def test_without_dask_the_extra_is_named(sweep, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"ptypinn\[dask\]"):
        sweep.run(sweep.jobs("write"), JobsConfig(scheduler="tcp://127.0.0.1:9"))


@pytest.mark.parametrize("options", [{"workers": -1}, {"threads": 0}, {"workers": 1, "scheduler": "tcp://a:1"}])
def test_contradictions_are_refused(options):
    with pytest.raises(InputError):
        JobsConfig(**options)
