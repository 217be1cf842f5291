"""Health in words, whatever the file holds."""

import json
import os
import platform
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.errors import InputError
from ptypinn.runs.service.health import (
    HEALTH,
    STALE_S,
    STATE_FOLDER,
    describe_health,
    is_healthy,
    memory_bytes,
    read_health,
)

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
KEYS = ("state", "pid", "host", "since", "updated", "reason", "source", "scans", "current", "last_scan", "last_error")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*KEYS, "scan", "time"]), inner),
    max_leaves=8,
)


def record(**changes):
    times = {"since": (NOW - timedelta(hours=5)).isoformat(), "updated": (NOW - timedelta(seconds=2)).isoformat()}
    return {"state": "watching", "pid": os.getpid(), "host": platform.node(), **times, **changes}


@given(content=st.dictionaries(st.sampled_from([*KEYS, "disk", "memory_bytes"]), VALUES))
def test_any_record_has_lines(content):
    lines = describe_health(content, NOW)
    assert lines and all(isinstance(line, str) for line in lines)
    assert isinstance(is_healthy(content, NOW), bool)


def test_a_service_that_works_is_healthy():
    lines = describe_health(record(scans={"finished": 7, "failed": 0}, disk={"free_bytes": 2**31}), NOW)
    assert lines == [
        f"watching (process {os.getpid()}, since 5 hours)",
        "scans: 7 finished, 0 failed",
        "disk: 2 GiB free",
    ]
    assert is_healthy(record(), NOW) and is_healthy(record(state="solving"), NOW)


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "stopped"},
        {"state": "failed"},
        {"state": "paused", "reason": "0.5 GiB are free"},
        {"updated": (NOW - timedelta(seconds=STALE_S + 1)).isoformat()},
        {"updated": None},
        {"pid": 2**22 + 1},
    ],
)
def test_a_service_that_does_not_is_not(changes):
    assert not is_healthy(record(**changes), NOW)


def test_a_process_of_another_computer_is_judged_by_its_file():
    assert is_healthy(record(host="elsewhere", pid=2**22 + 1), NOW)
    assert describe_health(record(state="paused", reason="0.5 GiB are free"), NOW)[0].startswith("paused: 0.5 GiB")


@pytest.mark.parametrize("content", [None, "", "[]", "{", "[" * 100_000])
def test_what_is_no_health_is_refused_in_one_line(tmp_path, content):
    if content is not None:
        (tmp_path / STATE_FOLDER).mkdir()
        (tmp_path / STATE_FOLDER / HEALTH).write_text(content)
    with pytest.raises(InputError) as refused:
        read_health(tmp_path)
    assert "\n" not in str(refused.value)


def test_health_is_read_back(tmp_path):
    (tmp_path / STATE_FOLDER).mkdir()
    (tmp_path / STATE_FOLDER / HEALTH).write_text(json.dumps(record()))
    assert read_health(tmp_path) == record()


def test_the_memory_of_a_process_is_measured():
    size = memory_bytes()
    assert size is None or 2**20 < size < 2**36
    assert memory_bytes(2**22 + 1) is None
