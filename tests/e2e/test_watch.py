"""The service as an operator meets it: real scans, a kill, a stop, and its health."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ptypinn.cli.main import parse

SOLVER = ("--rounds", "1", "--probe-rounds", "1", "--threads", "1", "--device", "cpu")
LIMIT_S = 120.0


@pytest.fixture
def watch(tmp_path):
    """Start the service on a folder; whatever runs at the end is killed."""
    running = []

    def start(*options, source=None):
        settling = () if source else ("--settle-s", "0.1")
        words = ("watch", source or tmp_path / "scans", "--output-dir", tmp_path / "runs", "--json", *settling)
        process = subprocess.Popen(
            [sys.executable, "-m", "ptypinn", *map(str, (*words, *SOLVER, *options))],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        running.append(process)
        return process

    (tmp_path / "scans").mkdir()
    yield start
    for process in running:
        process.kill()
        process.communicate()


def wait_for(condition):
    end_s = time.monotonic() + LIMIT_S
    while not condition() and time.monotonic() < end_s:
        time.sleep(0.05)
    assert condition()


def test_nothing_is_lost_when_the_service_is_killed_and_a_stop_takes_seconds(watch, scan_file, tmp_path, ptypinn):
    scans, runs = tmp_path / "scans", tmp_path / "runs"
    for name in ("a", "b"):
        shutil.copyfile(scan_file, scans / f"{name}.h5")
    killed = watch()
    assert json.loads(killed.stdout.readline())["scan"] == "a.h5"
    wait_for((runs / "b" / "log.txt").exists)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert ptypinn("health", runs).code == 1
    (scans / "damaged.h5").write_bytes(scan_file.read_bytes()[:5000] + bytes(5000) + scan_file.read_bytes()[10000:])
    service = watch()
    second, third = (json.loads(service.stdout.readline()) for _ in range(2))
    assert (second["scan"], second["state"], second["patterns"]) == ("b.h5", "finished", 36)
    assert (third["scan"], third["state"]) == ("damaged.h5", "failed") and "damaged.h5" in third["text"]
    wait_for(lambda: "2 finished, 1 failed" in ptypinn("health", runs).out)  # written after the line
    assert ptypinn("health", runs).code == 0
    assert json.loads(ptypinn("health", runs, "--json").out)["healthy"] is True
    begin_s = time.monotonic()
    service.send_signal(signal.SIGTERM)
    output, errors = service.communicate(timeout=LIMIT_S)
    assert service.returncode == 0 and time.monotonic() - begin_s < 15
    assert output == "" and "Traceback" not in errors and errors.splitlines()[-1] == "ptypinn: stopped"
    record = json.loads((runs / "b" / "run_metadata.json").read_text())
    assert record["command"][:3] == ["ptypinn", "reconstruct", str(scans / "b.h5")] and "--rounds" in record["command"]
    assert ptypinn("health", runs).out.startswith("stopped")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--overwrite",), "--overwrite"),
        (("--idle-s", 3), "--idle-s"),
        (("--keep-runs", 0), "--keep-runs"),
        (("--pattern", "a/*"), "--pattern"),
        (("--model", "nothing.safetensors"), "--model"),
        (("--crop-px", 7), "--crop-px"),
        (("--rounds", 0), "--rounds"),
    ],
)
def test_wrong_options_are_refused_at_the_start(ptypinn, tmp_path, options, words):
    (tmp_path / "scans").mkdir()
    done = ptypinn("watch", tmp_path / "scans", "--output-dir", tmp_path / "runs", *options)
    assert done.code == 1 and words in done.err and len(done.err.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("scans", ["runs", "runs/scans"])
def test_a_watched_folder_among_the_runs_is_refused(ptypinn, tmp_path, scans):
    (tmp_path / scans).mkdir(parents=True)
    done = ptypinn("watch", tmp_path / scans, "--output-dir", tmp_path / "runs", "--stop-after", 1)
    assert done.code == 1 and "--output-dir" in done.err and len(done.err.splitlines()) == 1


def test_a_folder_that_is_not_there_and_options_of_folders_for_streams_are_refused(ptypinn, tmp_path):
    assert "no folder" in ptypinn("watch", tmp_path / "scans", "--output-dir", tmp_path / "runs").err
    done = ptypinn("watch", "zmq://localhost:9999", "--output-dir", tmp_path / "runs", "--pattern", "*.h5")
    assert done.code == 1 and "--pattern" in done.err


def test_the_service_needs_no_memory_for_solving():
    """The process that runs for days imports neither the solver nor what reads files."""
    code = "import sys, ptypinn.cli.main, ptypinn.stages.watch, ptypinn.stages.watch_queues; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "h5py", "scipy", "matplotlib"} & {*done.stdout.split()}


def test_series_after_series_of_a_stream_is_followed(watch, scan_file, tmp_path):
    service = watch("--stop-after", 2, source=f"replay:{scan_file}?rate=500")
    records = [json.loads(line) for line in service.stdout]
    assert [(record["scan"], record["state"]) for record in records] == [
        ("series-00001", "finished"),
        ("series-00002", "finished"),
    ]
    assert service.wait(LIMIT_S) == 0
    finished = sorted(path.parent.name for path in (tmp_path / "runs").glob("*/run_metadata.json"))
    assert finished == ["series-00001", "series-00002"] == sorted(os.listdir(tmp_path / "runs"))[1:]


@pytest.mark.parametrize("page", ["service", "beamline"])
def test_the_units_and_files_of_the_pages_hold_options_that_exist(page, tmp_path):
    text = (Path(__file__).parents[2] / "docs" / "how-to" / f"{page}.md").read_text()
    files = re.findall(r"```yaml\n(.*?)```", text, re.S)
    lines = re.findall(r"^ExecStart=\S+/ptypinn (watch .*)$", text, re.M)
    assert files and lines
    (tmp_path / "options.yaml").write_text(files[0])
    for line in lines:
        words = [str(tmp_path / "options.yaml") if word.startswith("/etc/") else word for word in line.split()]
        command, session = parse(words)
        command.arguments(session)
