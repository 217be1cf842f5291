"""What the viewer reads of a scan in progress, from files that anybody may have written."""

import io
import json
import math
import os
import platform
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.viewer.live_folder import LiveFolder

from ptypinn.runs.folder import SNAPSHOT
from ptypinn.runs.lock import LOCK
from ptypinn.stages.live_status import NEWEST, POSITIONS, STATUS
from ptypinn.viewer.live_run import (
    MAX_POSITIONS,
    MAX_STATUS_BYTES,
    live_version,
    pack_positions,
    read_live,
    read_newest,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = (
    "frames",
    "rates_hz",
    "backlog",
    "mode_text",
    "quality",
    "verdict",
    "alerts",
    "updated_s",
    "elapsed_s",
    "source",
)


@pytest.fixture
def live(scan, tmp_path):
    with LiveFolder(tmp_path / "live", scan) as folder:
        yield folder


def unpack(packed):
    count = len(packed) // 9
    return np.frombuffer(packed[: 8 * count], "<f4").reshape(count, 2), np.frombuffer(packed[8 * count :], np.uint8)


def test_the_state_is_that_of_the_solver(live):
    live.write(100)
    state = read_live(live.path)
    assert (state["state"], state["is_active"], state["level"]) == ("receiving", True, "good")
    assert state["frames"]["solved"] == 100
    assert 0 <= state["age_s"] < 60


@given(values=st.fixed_dictionaries({}, optional=dict.fromkeys(KEYS, JSON)))
def test_whatever_a_state_says_a_page_gets_finite_numbers_and_short_texts(tmp_path_factory, values):
    folder = tmp_path_factory.getbasetemp() / "hostile"
    folder.mkdir(exist_ok=True)
    (folder / STATUS).write_text(json.dumps({"state": "receiving", **values}))
    state = read_live(folder)
    json.dumps(state, allow_nan=False)
    numbers = [*state["frames"].values(), *state["rates_hz"].values(), state["misfit"], state["age_s"]]
    assert all(isinstance(value, str) or value is None or math.isfinite(value) for value in numbers)
    assert all(isinstance(text, str) for text in [*state["verdict"]["reasons"], state["source"]])


@pytest.mark.parametrize("state", ["", "running", 3, None, ["receiving"], {"state": 1}])
def test_other_states_are_none(live, state):
    (live.path / STATUS).write_text(json.dumps({"state": state}))
    assert read_live(live.path) is None


def test_long_states_links_and_pipes_are_none(live, tmp_path):
    path = live.path / STATUS
    path.write_text(json.dumps({"state": "receiving", "source": "x" * MAX_STATUS_BYTES}))
    assert read_live(live.path) is None
    path.unlink()
    (tmp_path / "aside.json").write_text(json.dumps({"state": "receiving"}))
    path.symlink_to(tmp_path / "aside.json")
    assert read_live(live.path) is None
    path.unlink()
    path.write_text("[" * 10**5)
    assert read_live(live.path) is None
    path.unlink()
    os.mkfifo(path)
    assert read_live(live.path) is None


def test_a_run_whose_process_has_ended_is_interrupted(live):
    live.write(100)
    before = live_version(live.path)
    process = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    record = {"host": platform.node(), "pid": int(process.stdout)}
    (live.path / LOCK).write_text(json.dumps(record))
    assert read_live(live.path)["state"] == "interrupted"
    assert live_version(live.path) != before  # which pages learn
    (live.path / LOCK).write_text(json.dumps({**record, "host": "elsewhere"}))
    assert read_live(live.path)["state"] == "receiving"


def test_positions_end_with_the_newest_frame_and_are_bounded(live):
    number = 2 * MAX_POSITIONS
    numbers = np.random.default_rng(0).permutation(number)
    positions = np.column_stack([numbers, -numbers]).astype(float)
    live.write_positions(numbers, positions, np.full(number, 2))
    places, states = unpack(pack_positions(live.path))
    assert MAX_POSITIONS - 1 <= len(places) <= MAX_POSITIONS + 1
    assert places[-1].tolist() == [number - 1, 1 - number]
    assert set(states) == {2}
    positions[3], positions[4] = np.nan, 1e300
    live.write_positions(numbers[:10], positions[:10], np.zeros(10))
    assert len(unpack(pack_positions(live.path))[0]) == 8


ONES = np.ones((8, 8))
GOOD = {"number": 3, "measured": ONES, "predicted": ONES, "mask": ONES > 0}


@pytest.mark.parametrize(
    "change",
    [
        {"measured": np.array([{}], object)},
        {"measured": np.ones(8)},
        {"predicted": np.ones((8, 9))},
        {"mask": np.ones((4, 4), bool)},
        {"number": np.arange(3)},
        {"number": np.nan},
        {"number": "three"},
        {"measured": ONES + 1j},
        {"measured": np.ones((0, 0)), "predicted": np.ones((0, 0)), "mask": np.ones((0, 0), bool)},
    ],
)
def test_a_pattern_that_makes_no_sense_is_none(tmp_path, change):
    np.savez(tmp_path / NEWEST, **GOOD)
    assert read_newest(tmp_path).number == 3
    np.savez(tmp_path / NEWEST, **{**GOOD, **change})
    assert read_newest(tmp_path) is None


READERS = {NEWEST: read_newest, POSITIONS: lambda folder: pack_positions(folder) or None}


@pytest.mark.parametrize("name", READERS)
def test_damaged_and_foreign_files_are_none(tmp_path, live, name):
    live.write(50)
    read = READERS[name]
    whole = (live.path / name).read_bytes()
    for content in (b"", b"no archive", whole[: len(whole) // 2]):
        (tmp_path / name).write_bytes(content)
        assert read(tmp_path) is None
    (tmp_path / name).unlink()
    assert read(tmp_path) is None
    (tmp_path / name).symlink_to(live.path / name)
    assert read(tmp_path) is None
    assert read(live.path) is not None


def test_counts_that_are_no_numbers_can_be_drawn(tmp_path, live, view_folder):
    live.write(50)
    bad = np.where(np.eye(8) > 0, np.nan, -5.0) + np.diag([0, 0, 0, np.inf, 0, 0, 0, 0])
    bad[0, 1] = 1e300
    with (live.path / NEWEST).open("wb") as stream:
        np.savez(stream, **{**GOOD, "measured": bad})
    viewer = view_folder(live.path)
    base = viewer.get(f"/api/runs/{viewer.ids['live']}/live").json["pattern"]["base"]
    for kind in ("measured", "predicted", "difference"):
        assert Image.open(io.BytesIO(viewer.get(f"{base}/{kind}.png").body)).size == (8, 8)
    assert viewer.get(f"{base}/other.png").status == 404


def test_a_page_asks_for_state_pattern_and_positions(live, view_folder):
    live.write(120)
    viewer = view_folder(live.path)
    content = viewer.get(f"/api/runs/{viewer.ids['live']}/live").json
    assert content["live"]["frames"]["received"] == 400
    assert content["picture"]["in_progress"]
    places, states = unpack(viewer.get(content["positions"]).body)
    assert (len(places), states.tolist().count(0)) == (400, 280)
    assert viewer.get("/api/runs/" + "0" * 12 + "/live").status == 404
    assert viewer.get(f"/api/runs/{viewer.ids['live']}/live", Cookie=None).status == 403


def test_other_runs_have_no_state(viewer):
    assert viewer.get(f"/api/runs/{viewer.ids['good']}/live").json == {"live": None}
    assert viewer.run("good")["live"] is None


def test_parts_of_a_replaced_snapshot_are_still_there(live, view_folder):
    live.write(100)
    viewer = view_folder(live.path)
    address = f"/api/runs/{viewer.ids['live']}/live"
    base = viewer.get(address).json["picture"]["base"]
    tile = f"{base}/tiles/amplitude/0/0/0.png?low=0&high=2&map=gray"
    first = viewer.get(tile).body
    live.write(200)
    newer = viewer.get(address).json["picture"]["base"]
    assert newer != base
    assert viewer.get(tile).body == first != viewer.get(tile.replace(base, newer)).body
    (live.path / SNAPSHOT).unlink()
    assert viewer.get(tile.replace("low=0", "low=0.1")).status == 410  # no object is left


def test_events_come_five_times_a_second_at_most(live, view_folder):
    import http.client

    live.write(100)
    viewer = view_folder(live.path)
    connection = http.client.HTTPConnection("127.0.0.1", viewer.port, timeout=5)
    cookie = {"Cookie": f"ptypinn-view-{viewer.port}={viewer.key}"}
    connection.request("GET", f"/api/events?live={viewer.ids['live']}", headers=cookie)
    response, times, end_s = connection.getresponse(), [], time.monotonic() + 2.0
    while time.monotonic() < end_s:
        (live.path / STATUS).write_text(json.dumps({"state": "receiving", "elapsed_s": time.monotonic()}))
        while (line := response.fp.readline()).strip():
            if line.startswith(b"event: live"):
                times.append(time.monotonic())
    connection.close()
    assert 5 <= len(times) <= 12
    assert min(np.diff(times[1:])) > 0.1


def test_a_pattern_of_another_version_is_not_shown(live, view_folder):
    live.write(30)
    viewer = view_folder(live.path.parent)
    base = viewer.get(f"/api/runs/{viewer.ids['live']}/live").json["pattern"]["base"]
    assert viewer.get(f"{base}/measured.png").status == 200
    assert viewer.get(f"{base.rpartition('/')[0]}/{'0' * 12}/measured.png").status == 410


def test_the_list_is_the_same_until_something_changes(live, view_folder):
    live.write(30)
    viewer = view_folder(live.path.parent)
    first = viewer.get("/api/runs")
    assert first.json["runs"][0]["live"]["frames"]["solved"] == 30
    time.sleep(0.02)
    assert viewer.get("/api/runs", If_None_Match=first.headers["etag"]).status == 304
    status = json.loads((live.path / STATUS).read_text())
    (live.path / STATUS).write_text(json.dumps({**status, "state": "finished"}))
    assert read_live(live.path)["age_s"] is None
