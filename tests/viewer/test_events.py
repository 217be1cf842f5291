"""Pages learn what has changed at once, from one look at the files for all of them, and streams end with the server."""

import http.client
import itertools
import json
import shutil
import threading
import time

import pytest

from ptypinn.viewer.events import Kind


class Stream:
    """A page that follows events."""

    def __init__(self, viewer, query):
        self.connection = http.client.HTTPConnection("127.0.0.1", viewer.port, timeout=20)
        self.connection.request("GET", f"/api/events?{query}", headers={"Cookie": f"ptypinn-view-{viewer.port}=sesame"})
        self.reply = self.connection.getresponse()

    def event(self, *kinds):
        """The next event of some kinds, as its kind and subject; heartbeats are passed over unless asked for."""
        while True:
            line = self.reply.readline().decode().strip()
            if line.startswith("event: ") and line[7:] in kinds:
                content = json.loads(self.reply.readline().decode().removeprefix("data: "))
                return line[7:], content.get("subject")

    def close(self):
        self.reply.close()
        self.connection.close()


@pytest.fixture
def lab(tmp_path, home, view_folder):
    (tmp_path / "lab").mkdir()
    return tmp_path / "lab", view_folder(tmp_path / "lab")


@pytest.fixture
def follow():
    """Open streams; they are closed with the test."""
    streams = []

    def start(viewer, query):
        streams.append(Stream(viewer, query))
        return streams[-1]

    yield start
    for stream in streams:
        stream.close()


def test_a_scan_and_a_run_that_come_and_change_are_events(lab, home, follow):
    folder, viewer = lab
    stream = follow(viewer, "scans&runs&jobs")
    assert stream.reply.getheader("content-type").startswith("text/event-stream")
    assert {stream.event("scans", "runs", "jobs") for _ in range(3)} == {("scans", ""), ("runs", ""), ("jobs", "")}
    viewer.room.scans._due_s = 0.0
    shutil.copy(home.parent / "scan.h5", folder / "scan.h5")
    assert stream.event("scans")
    shutil.copytree(home / "live", folder / "live")
    assert stream.event("runs")
    run = follow(viewer, f"run={viewer.ids['live']}")
    assert run.event("run") == ("run", viewer.ids["live"])
    with (folder / "live" / "log.txt").open("a") as log:
        log.write("refine 41/50\n")
    assert run.event("run") == ("run", viewer.ids["live"])


def test_many_pages_cost_one_look(lab, follow):
    _, viewer = lab
    looks = []
    kind = Kind(lambda subjects: looks.append(subjects) or {"": str(len(looks) // 5)}, interval_s=0.05)
    viewer.room.events._kinds["counted"] = kind
    streams = [follow(viewer, "counted") for _ in range(30)]
    for _ in range(2):
        assert all(stream.event("counted") for stream in streams)
    count, start_s = len(looks), time.monotonic()
    time.sleep(1.0)
    assert len(looks) - count <= (time.monotonic() - start_s) / 0.05 + 1


def test_without_pages_nobody_looks(lab, follow):
    _, viewer = lab
    looks = []
    viewer.room.events._kinds["counted"] = Kind(lambda subjects: looks.append(1) or {"": "1"}, interval_s=0.02)
    stream = follow(viewer, "counted")
    stream.event("counted")
    stream.close()
    deadline = time.monotonic() + 30
    while viewer.room.events._pages:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.3)
    count = len(looks)
    time.sleep(0.3)
    assert len(looks) == count


def test_a_silent_stream_has_a_heartbeat_and_ends_with_the_server(lab, monkeypatch, follow):
    monkeypatch.setattr("ptypinn.viewer.events.HEARTBEAT_S", 0.2)
    _, viewer = lab
    stream = follow(viewer, "jobs")
    assert stream.event("beat")
    assert stream.event("beat")
    start_s = time.monotonic()
    viewer.stop()
    assert stream.reply.read() is not None
    assert time.monotonic() - start_s < 10


def test_the_head_of_a_stream_ends(lab):
    assert lab[1].get("/api/events?jobs", method="HEAD").status == 200


@pytest.mark.parametrize("query", ["", "secrets", "&".join(f"run={number:012x}" for number in range(30))])
def test_what_nobody_offers_is_refused(query, lab, follow):
    assert follow(lab[1], query).reply.status == 400


def test_a_page_that_does_not_read_stops_nobody(lab, follow):
    _, viewer = lab
    numbers = itertools.count()
    long = "x" * 2**20  # a few of them fill the buffers of a connection
    viewer.room.events._kinds["long"] = Kind(lambda subjects: {"": f"{next(numbers)}{long}"}, interval_s=0.02)
    follow(viewer, "long")
    until_s = time.monotonic() + 20
    while next(numbers) < 60:
        assert time.monotonic() < until_s
        time.sleep(0.02)
    stream = follow(viewer, "long")
    for _ in range(3):
        assert stream.event("long")


def test_a_slow_kind_and_one_that_fails_stop_no_other(lab, follow):
    _, viewer = lab
    numbers, calls, end = itertools.count(), itertools.count(), threading.Event()

    def fail(subjects):
        if next(calls) < 2:
            raise RuntimeError("odd")
        return {"": "1"}

    kinds = {
        "slow": Kind(lambda subjects: {"": str(end.wait(20))}, interval_s=0.02),
        "odd": Kind(fail, interval_s=0.02),
        "quick": Kind(lambda subjects: {"": str(next(numbers))}, interval_s=0.02),
    }
    viewer.room.events._kinds |= kinds
    stream = follow(viewer, "slow&odd&quick")
    assert {stream.event(*kinds)[0] for _ in range(9)} == {"odd", "quick"}
    end.set()
    assert stream.event("slow")


def test_too_many_pages_are_refused(lab, monkeypatch, follow):
    monkeypatch.setattr("ptypinn.viewer.events.MAX_PAGES", 2)
    streams = [follow(lab[1], "jobs") for _ in range(2)]
    for stream in streams:
        stream.event("jobs")
    assert follow(lab[1], "jobs").reply.status == 503
