"""A folder of runs, made without solving anything, and a viewer that serves it."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from tests.viewer.job_program import PROGRAM, QUICK

from ptypinn.cli.view import STARTED, job_command
from ptypinn.config.simulate import SimulateConfig
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.io.load_save import save
from ptypinn.io.provenance import file_hash
from ptypinn.io.reconstruction_file import Snapshots
from ptypinn.physics.patches import compute_illumination_at
from ptypinn.runs.folder import RECONSTRUCTION, REPORT, SNAPSHOT, RunFolder
from ptypinn.stages.simulate import simulate
from ptypinn.viewer.job_process import is_alive
from ptypinn.viewer.job_queue import JobQueue, JobRequest
from ptypinn.viewer.job_store import HIDDEN
from ptypinn.viewer.room import Room
from ptypinn.viewer.scan_index import ScanIndex
from ptypinn.viewer.server import Access, create_app, create_server, open_socket

KEY = "sesame"
HEIGHT, WIDTH = 300, 420
PIXEL_M = 2e-8
WARNING = "The counts are predicted 3 times worse than counting statistics allow."


@pytest.fixture(scope="session")
def scan() -> ScanData:
    """A scan of an object that takes two levels of tiles."""
    config = SimulateConfig(size=32, object_size=(HEIGHT, WIDTH), n_patterns=400, photons=1e5)
    return simulate(config).replace(pixel_size_m=PIXEL_M)


@pytest.fixture(scope="session")
def recon(scan: ScanData) -> Reconstruction:
    """The truth as a reconstruction."""
    return Reconstruction(
        object=scan.truth,
        illumination=compute_illumination_at(scan.positions_px, scan.probe, scan.truth.shape).astype(np.float32),
        probe=scan.require_probe(),
        positions_px=scan.positions_px,
        pixel_size_m=PIXEL_M,
        metrics={"complex_error": 0.0125, "flux_closure": 1.0},
        history={"loss": [100.0, 10.0, 1.0]},
    )


@pytest.fixture(scope="session")
def home(scan: ScanData, recon: Reconstruction, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two finished runs, the second with a phase ramp; one in progress, one without its scan, and a coarser file."""
    folder = tmp_path_factory.mktemp("home") / "runs"
    path = save(scan, folder.parent / "scan.h5")
    record = {"file": path.name, "format": "native", "sha256": file_hash(path), "options": {}}
    with_scan = replace(recon, provenance={"scan": record})
    inputs = {"scan": {"path": str(path), **record}}
    write_finished_run(folder / "good", with_scan, inputs, [])
    dim = (0.5j * np.exp(0.02j * np.arange(WIDTH)) * recon.object).astype(np.complex64)
    write_finished_run(folder / "deep" / "dim", replace(with_scan, object=dim), inputs, [WARNING])
    missing = {**record, "file": "gone.h5", "sha256": "0" * 64}
    write_finished_run(folder / "lost", replace(recon, provenance={"scan": missing}), {"scan": missing}, [])
    write_unfinished_run(folder / "live", with_scan, path)
    replace(recon, pixel_size_m=3e-8).save(folder / "alone.h5")
    (folder / "notes.txt").write_text("nothing to see")
    return folder


def write_finished_run(place: Path, recon: Reconstruction, inputs: dict[str, Any], warnings: list[str]) -> None:
    with RunFolder(place, "refine", {"iterations": 3}, command=["ptypinn", "refine"]) as run:
        recon.save(run.file(RECONSTRUCTION))
        run.file(REPORT).write_text("<!doctype html><style>p { color: red }</style><p>A report")
        run.finish({"metrics": dict(recon.metrics), "warnings": warnings}, inputs)


def write_unfinished_run(place: Path, recon: Reconstruction, scan_file: Path) -> None:
    """A run as it is while it lasts."""
    run = RunFolder(place, "refine", {"iterations": 40}, command=["ptypinn", "refine"])
    run.__enter__()
    for number in (1, 2, 40):
        run.progress("refine", number, 40, loss=100.0 / number)
        run.progress.finish()
    Snapshots(place / SNAPSHOT, scan_file)(lambda: recon)
    run._log_file.close()


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Viewer:
    """A viewer in a thread of its own, and a client of it."""

    def __init__(self, folder: Path, key: str = KEY, *, read_only: bool = False, slots: int = 1) -> None:
        commands = {name: job_command(name) for name in STARTED}
        self.room = Room([folder], commands, slots, read_only)
        self._socket = open_socket("127.0.0.1", 0)
        self.port, self.key = self._socket.getsockname()[1], key
        app = create_app(self.room, Access("127.0.0.1", self.port, key, read_only), 10**9)
        self._server = create_server(app, self.room.events)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]})
        self._thread.start()

    @property
    def ids(self) -> dict[str, str]:
        """Ids by name."""
        return {run.name: run.id for run in self.room.runs.runs()}

    def address(self, path: str = "/") -> str:
        """An address that carries the key."""
        return f"http://127.0.0.1:{self.port}{path}?key={self.key}"

    def post(self, path: str, content: Any = None, **headers: str | None) -> Reply:
        """Send a change as a page does, unless the headers say otherwise; None leaves one out."""
        page = {"Content-Type": "application/json", "Origin": f"http://127.0.0.1:{self.port}"}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        body = content if isinstance(content, bytes) else json.dumps(content or {}).encode()
        return self.get(path, "POST", body, **{**page, **named})

    def get(self, path: str, method: str = "GET", body: bytes | None = None, **headers: str | None) -> Reply:
        """Send a request with the key, unless the headers contain another cookie or host."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        cookie = {"Cookie": f"ptypinn-view-{self.port}={self.key}"}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in (cookie | named).items() if value is not None}
        connection.request(method, path, body, sent)
        response = connection.getresponse()
        reply = Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        connection.close()
        return reply

    def run(self, name: str) -> dict[str, Any]:
        """Return the description of a run."""
        return self.get(f"/api/runs/{self.ids[name]}").json

    def picture(self, name: str) -> str:
        """Address of the picture of a run as it is now."""
        return f"/api/runs/{self.ids[name]}/{self.run(name)['picture']['version']}"

    def stop(self) -> None:
        """Shut down and wait."""
        self._server.should_exit = True
        self._thread.join(timeout=20)
        self._socket.close()
        self.room.close()


@pytest.fixture(scope="module")
def viewer(home: Path):
    """A viewer of the folder of runs."""
    server = Viewer(home)
    yield server
    server.stop()


@pytest.fixture
def view_folder():
    """Start viewers of other folders; they stop with the test."""
    servers = []

    def start(folder: Path, **options: Any) -> Viewer:
        servers.append(Viewer(folder, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def lab(home, tmp_path, monkeypatch):
    """A folder with a scan, and a program in place of ptypinn whose seed says how it ends."""
    folder = tmp_path / "lab"
    folder.mkdir()
    shutil.copy(home.parent / "scan.h5", folder / "scan.h5")
    (tmp_path / "program.py").write_text(PROGRAM)
    monkeypatch.setattr("ptypinn.viewer.job_process.PROGRAM", (sys.executable, str(tmp_path / "program.py")))
    monkeypatch.setattr("ptypinn.viewer.job_queue.TICK_S", 0.02)
    return folder


@pytest.fixture
def open_queue(lab):
    """Open queues on the folder; at the end their processes are killed."""
    queues = []

    def start(**options):
        queues.append(JobQueue([lab], {name: job_command(name) for name in STARTED}, **options))
        return queues[-1]

    yield start
    for queue in queues:
        for job in queue.jobs():
            if job.state == "running" and is_alive(lab / HIDDEN / "jobs" / job.id, job.pid):
                os.killpg(job.pid, signal.SIGKILL)
        queue.close()


@pytest.fixture
def request_for(lab):
    index = ScanIndex([lab])
    index.scans()
    index.wait(30.0)
    (scan,) = index.scans()

    def make(seed=QUICK, output="run", **values):
        overwrite = values.pop("overwrite", False)
        return JobRequest("refine", str(scan.place), scan.root, output, {"seed": seed, **values}, overwrite)

    return make
