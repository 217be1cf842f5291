"""The health of a viewer: problems of disks, silent runs and services, for programs and on a page."""

import json
import os
import platform
from collections import namedtuple
from datetime import UTC, datetime, timedelta

import pytest
from tests.viewer.test_page import wait_for_text

from ptypinn.runs.service.health import HEALTH, STATE_FOLDER
from ptypinn.viewer import health

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def service(tmp_path):
    """A folder that a service writes into, and its health as it states it."""
    folder = tmp_path / "runs"
    (folder / STATE_FOLDER).mkdir(parents=True)

    def state(**changes):
        record = {
            "state": "watching",
            "host": platform.node(),
            "pid": os.getpid(),
            "updated": datetime.now(UTC).isoformat(),
            "source": str(folder / "incoming"),
            "scans": {"finished": 3},
            **changes,
        }
        (folder / STATE_FOLDER / HEALTH).write_text(json.dumps(record))
        return folder

    return state


def test_a_service_that_works_is_no_problem_and_one_that_died_is(service, view_folder):
    viewer = view_folder(service())
    content = viewer.get("/api/health").json
    (shown,) = content["services"]
    assert content["healthy"] and shown["healthy"] and not content["problems"]
    assert "source: incoming" in shown["lines"] and "scans: 3 finished" in shown["lines"]
    service(updated=(datetime.now(UTC) - timedelta(hours=1)).isoformat())
    content = viewer.get("/api/health").json
    assert not content["healthy"] and content["problems"][0].startswith("runs: dead")


@pytest.mark.parametrize(
    "record", [b"", b"[]", b"{", b'{"source": 5, "scans": [], "state": {}}', b'{"source": "' + b"x" * 9000 + b'"}']
)
def test_a_damaged_record_of_a_service_is_a_problem_in_short_lines(record, service, view_folder):
    folder = service()
    (folder / STATE_FOLDER / HEALTH).write_bytes(record)
    content = view_folder(folder).get("/api/health").json
    assert not content["healthy"]
    assert all(len(line) <= 500 for line in content["services"][0]["lines"])
    assert str(folder) not in json.dumps(content)


def test_a_link_to_another_service_is_not_followed(service, view_folder, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / STATE_FOLDER).symlink_to(service() / STATE_FOLDER)
    assert view_folder(folder).get("/api/health").json["services"] == []


def test_a_full_disk_and_a_silent_run_are_problems(home, view_folder, monkeypatch):
    monkeypatch.setattr("ptypinn.viewer.run_status.SILENT_S", 1e6)  # the folder may have been written long ago
    viewer = view_folder(home)
    content = viewer.get("/api/health").json
    assert [run["name"] for run in content["runs_in_progress"]] == ["live"]
    assert content["healthy"] and content["disks"][0]["free_bytes"] > 0
    monkeypatch.setattr(health.shutil, "disk_usage", lambda folder: Usage(2**40, 2**40 - 5, 5))
    monkeypatch.setattr("ptypinn.viewer.run_status.SILENT_S", -1.0)
    problems = viewer.get("/api/health").json["problems"]
    assert len(problems) == 2 and "of 1.02e+03 GiB free" in problems[0] and problems[1] == "live: no recent output"


def test_health_needs_the_key_and_hides_paths(viewer, home):
    for path in ("/health", "/api/health"):
        assert viewer.get(path, Cookie=None).status == 403
    assert str(home) not in viewer.get("/api/health").body.decode()


def test_the_page_shows_what_is_wrong(service, view_folder, open_page):
    page = open_page(view_folder(service(), read_only=True).address())
    page.click("text=Health")
    wait_for_text(page, "#badge", "all is well")
    wait_for_text(page, "#services", "scans: 3 finished")
    service(state="paused", reason="4 MiB free")
    page.reload()
    wait_for_text(page, "#badge", "needs attention")
    wait_for_text(page, "#problems", "paused: 4 MiB free")
