"""Addresses of scans in progress name streams of known protocols, and files inside the folder of the viewer only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.cli.live import UNREAD
from ptypinn.cli.view import job_command
from ptypinn.errors import InputError
from ptypinn.viewer.source_address import find_file, locate_source, propose_replay

LIVE = job_command("live")


@pytest.fixture
def folder(tmp_path):
    """A folder with a file and a folder in it, and links that lead out."""
    root = tmp_path / "lab"
    (root / "series").mkdir(parents=True)
    for place in (root / "scan.h5", tmp_path / "secret.h5", root / "odd?rate=1.h5"):
        place.write_bytes(b"")
    (root / "link.h5").symlink_to(tmp_path / "secret.h5")
    (root / "out").symlink_to(tmp_path)
    return root


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("scan.h5", "{root}/scan.h5"),
        ("series", "{root}/series"),
        ("./series/../scan.h5?frames=9&data=entry/data", "{root}/scan.h5?frames=9&data=entry/data"),
        ("replay:scan.h5", "replay:{root}/scan.h5"),
        ("replay:scan.h5?rate=20&lost=0.1", "replay:{root}/scan.h5?rate=20&lost=0.1"),
        ("dectris://detector.bl7:31001", "dectris://detector.bl7:31001"),
        ("zmq://10.0.0.1:5555?socket=sub&topic=a", "zmq://10.0.0.1:5555?socket=sub&topic=a"),
        ("pva://13SIM1:Pva1:Image?y=MotorY&x=MotorX", "pva://13SIM1:Pva1:Image?y=MotorY&x=MotorX"),
    ],
)
def test_an_address_is_that_of_the_command_line_with_full_paths(text, expected, folder):
    assert locate_source(text, folder) == expected.format(root=folder)


OUTSIDE = [
    "/etc/passwd",
    "../secret.h5",
    "link.h5",
    "out/secret.h5",
    "series/../../secret.h5",
    "missing.h5",
    "out",
    "..",
]


@pytest.mark.parametrize("place", [*OUTSIDE, "~/x", "/dev/zero", "/proc/self/fd/0", "scan.h5\0", "odd?rate=1.h5", ""])
@pytest.mark.parametrize("scheme", ["", "replay:", "replay://", "file:", "file://", "http://", "ipc://", "REPLAY:"])
@pytest.mark.parametrize("query", ["", "?rate=1"])
def test_files_elsewhere_and_other_protocols_are_refused(scheme, place, query, folder):
    with pytest.raises(InputError, match="SOURCE: ") as refusal:
        locate_source(f"{scheme}{place}{query}", folder)
    assert "\n" not in str(refusal.value)
    with pytest.raises(InputError, match="--positions-source: "):
        LIVE.parse({"positions_source": f"{scheme}{place}{query}" or " ../x"}, folder)


@pytest.mark.parametrize(
    "text",
    [
        "replay:series",
        "replay:scan.h5?path=/etc/passwd",
        "replay:scan.h5?rate=-1",
        "replay:scan.h5?rate=1&rate=2",
        "replay:scan.h5?rate",
        "scan.h5?rate=1",
        "dectris://",
        "dectris://host",
        "dectris://host:99999",
        "dectris:host:1",
        "dectris:///etc/passwd:1",
        "zmq://host:1?bind=maybe",
        "zmq://user@host:1",
        "zmq://a b:1",
        "zmq://../x:1",
        "pva:",
        "pva://",
        "pva://a/b",
        "pva://PV?y=Motor",
        "x" * 2000,
    ],
)
def test_what_the_receiver_would_refuse_is_refused_before(text, folder):
    with pytest.raises(InputError, match="SOURCE: "):
        locate_source(text, folder)


@given(st.text(max_size=30))
def test_no_text_leads_out_of_the_folder(text):
    from pathlib import Path

    root = Path("/nowhere/lab")
    try:
        address = locate_source(text, root)
    except InputError:
        return
    assert address == text and text.startswith(("dectris://", "zmq://", "pva://"))


def test_positions_come_from_an_address_too(folder):
    (setting,) = LIVE.parse({"positions_source": "scan.h5"}, folder)
    assert setting.word(setting.argument) == f"--positions-source={folder}/scan.h5"
    assert setting.word(setting.text) == "--positions-source=scan.h5"


def test_a_form_offers_no_option_that_a_scan_in_progress_does_not_read():
    form = LIVE.describe()
    names = {option["name"] for group in form["groups"] for option in group["options"]}
    assert form["source"] and not names & set(UNREAD)
    assert [option["name"] for option in form["common"]] == list(LIVE.common)


def test_a_replay_belongs_to_its_file_and_a_stream_to_none(folder):
    assert find_file(propose_replay((folder / "scan.h5").relative_to(folder)), folder) == folder / "scan.h5"
    assert find_file("series", folder) == folder / "series"
    assert find_file("zmq://host:1", folder) is None
    assert find_file("../secret.h5", folder) is None
