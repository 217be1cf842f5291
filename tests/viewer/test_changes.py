"""Changes need the key, a page of the same server, JSON and a short body; read-only viewers refuse them all."""

import http.client

import pytest

from ptypinn.viewer.auth import MAX_BODY_BYTES
from ptypinn.viewer.job_store import HIDDEN


@pytest.fixture
def room(lab, view_folder):
    """A viewer whose jobs never start."""
    viewer = view_folder(lab)
    viewer.room.jobs._slots = 0
    return viewer


def scan_address(viewer):
    viewer.room.scans.scans()
    viewer.room.scans.wait(30.0)
    (scan,) = viewer.get("/api/scans").json["scans"]
    return f"/api/scans/{scan['id']}"


FORM = {"command": "refine", "values": {"iterations": "3"}, "output": "run", "overwrite": False}


def test_a_page_of_this_viewer_queues_cancels_resumes_and_removes_a_job(room, lab):
    base = scan_address(room)
    line = room.post(f"{base}/check", FORM).json["line"]
    assert line == "ptypinn refine scan.h5 --output-dir=run --iterations=3"
    assert not (lab / HIDDEN).exists()  # to look changes nothing
    job = room.post(f"{base}/jobs", FORM).json["job"]
    assert (job["state"], job["line"]) == ("queued", line)
    for action, state in (("cancel", "cancelled"), ("resume", "queued"), ("cancel", "cancelled")):
        (after,) = room.post(f"/api/jobs/{job['id']}/{action}").json["jobs"]
        assert after["state"] == state
    assert room.get(f"/api/jobs/{job['id']}/log").json == {"log": []}
    assert room.post(f"/api/jobs/{job['id']}/remove").json == {"jobs": []}
    assert str(lab) not in room.get("/api/jobs").body.decode()


LIVE_FORM = {**FORM, "command": "live", "source": "replay:scan.h5?rate=9", "values": {"idle_s": "3"}}


def test_a_scan_in_progress_is_started_with_its_address_from_both_pages(room, lab):
    base = scan_address(room)
    assert room.get("/api/source").json["outputs"]["live"] == "live"
    assert room.get(base).json["source"] == "replay:scan.h5?rate=200"
    for place in (base, "/api/source"):
        line = room.post(f"{place}/check", LIVE_FORM).json["line"]
        assert line == "ptypinn live 'replay:scan.h5?rate=9' --output-dir=run --idle-s=3"
    job = room.post("/api/source/jobs", LIVE_FORM).json["job"]
    assert (job["scan"], job["scan_id"]) == (LIVE_FORM["source"], base.rsplit("/", 1)[1])
    assert room.post(f"/api/jobs/{job['id']}/finish").status == 400  # it does not receive yet
    room.post(f"/api/jobs/{job['id']}/cancel")
    stream = room.post("/api/source/jobs", {**LIVE_FORM, "source": "zmq://127.0.0.1:1"}).json["job"]
    assert stream["scan_id"] == ""
    assert str(lab) not in room.get("/api/jobs").body.decode()


@pytest.mark.parametrize(
    "change",
    [
        {"source": "replay:/etc/passwd"},
        {"source": "../scan.h5"},
        {"source": "file://scan.h5"},
        {"source": "replay:scan.h5?rate=x"},
        {"source": ""},
        {"source": None},
        {"values": {"positions_source": "/etc/passwd"}},
        {"values": {"patterns_file": "scan.h5"}},
        {"command": "refine"},
    ],
    ids=str,
)
def test_bad_sources_are_refused_in_one_line(change, room, lab):
    for path in ("check", "jobs"):
        reply = room.post(f"/api/source/{path}", {**LIVE_FORM, **change})
        assert reply.json["error"] and "\n" not in reply.json["error"] and str(lab) not in reply.json["error"]
        if isinstance(change.get("source"), str):
            assert reply.json["field"] == "source"
    assert not (lab / HIDDEN).exists()


CHANGES = [
    *("/api/scans/{scan}/check", "/api/scans/{scan}/jobs", "/api/source/check", "/api/source/jobs"),
    *(f"/api/jobs/{{job}}/{action}" for action in ("cancel", "finish", "resume", "remove")),
]


@pytest.fixture
def changes(room):
    base = scan_address(room)
    job = room.post(f"{base}/jobs", FORM).json["job"]["id"]
    before = room.get("/api/jobs").body
    yield [path.format(scan=base.rsplit("/", 1)[1], job=job) for path in CHANGES]
    assert room.get("/api/jobs").body == before


REFUSED_HEADERS = {
    "no key": ({"Cookie": None}, 403),
    "another key": ({"Cookie": "ptypinn-view-PORT=guess"}, 403),
    "no origin": ({"Origin": None}, 403),
    "a null origin": ({"Origin": "null"}, 403),
    "another origin": ({"Origin": "http://evil.example"}, 403),
    "another port": ({"Origin": "http://127.0.0.1:1"}, 403),
    "another name": ({"Origin": "http://localhost:PORT"}, 403),
    "an origin that begins alike": ({"Origin": "http://127.0.0.1:PORT.evil.example"}, 403),
    "another site by the browser": ({"Sec_Fetch_Site": "cross-site"}, 403),
    "a sibling by the browser": ({"Sec_Fetch_Site": "same-site"}, 403),
    "a form": ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
    "a text": ({"Content_Type": "text/plain"}, 415),
    "no type": ({"Content_Type": None}, 415),
    "another host": ({"Host": "evil.example", "Origin": "http://evil.example"}, 400),
}


@pytest.mark.parametrize("name", REFUSED_HEADERS)
def test_other_requests_change_nothing(name, room, changes):
    headers, status = REFUSED_HEADERS[name]
    port = str(room.port)
    headers = {key: None if value is None else value.replace("PORT", port) for key, value in headers.items()}
    for path in changes:
        assert room.post(path, FORM, **headers).status == status


def test_the_key_in_the_address_changes_nothing(room, changes):
    for path in changes:
        assert room.post(f"{path}?key={room.key}", FORM, Cookie=None).status == 403


def test_a_read_only_viewer_refuses_every_change_and_hides_the_form(lab, view_folder):
    viewer = view_folder(lab, read_only=True)
    base = scan_address(viewer)
    paths = [path.format(scan=base.rsplit("/", 1)[1], job="0" * 12) for path in CHANGES]
    for path in paths:
        reply = viewer.post(path, FORM)
        assert reply.status == 405 and b"read-only" in reply.body
    for place in ("/", base.removeprefix("/api").replace("scans", "scan")):
        page = viewer.get(place).body
        assert b"<form" not in page and b"data-read-only" in page
    assert viewer.get(f"{base}/facts").status == 200
    assert not (lab / HIDDEN).exists()


BAD_BODIES = [b"", b"[]", b"3", b"{", b"\xff", b"[" * 30000, b'{"a":' * 9000, b"1" * 6000]


@pytest.mark.parametrize("body", BAD_BODIES, ids=lambda body: repr(body[:6]))
def test_bodies_that_are_no_object_are_refused(body, room):
    base = scan_address(room)
    for path in (f"{base}/jobs", f"{base}/check"):
        reply = room.post(path, body)
        assert reply.status == 400
        assert "body" in reply.json["error"] and "\n" not in reply.json["error"]


BAD_FORMS = [
    {"command": 5},
    {"command": "rm"},
    {"values": [1]},
    {"values": {"iterations": 3}},
    {"values": {"iterations": None}},
    {"values": {str(number): "x" for number in range(300)}},
    {"values": {"iterations": "-1"}},
    {"values": {"--overwrite": "x"}},
    {"values": {"monitor": "\ud800"}},
    {"output": "../run"},
    {"output": None},
    {"overwrite": "yes"},
]


@pytest.mark.parametrize("change", BAD_FORMS, ids=str)
def test_bad_forms_are_refused_in_one_line(change, room, lab):
    base = scan_address(room)
    reply = room.post(f"{base}/jobs", {**FORM, **change})
    assert reply.status == 400
    assert "\n" not in reply.json["error"] and str(lab) not in reply.json["error"]
    assert room.post(f"{base}/check", {**FORM, **change}).json["error"] == reply.json["error"]
    assert room.get("/api/jobs").json == {"jobs": []}


def test_the_field_at_fault_is_named(room):
    base = scan_address(room)
    for change, field in (({"values": {"iterations": "0"}}, "iterations"), ({"output": "/x"}, "output_dir")):
        assert room.post(f"{base}/check", {**FORM, **change}).json["field"] == field


def send_raw(viewer, base, headers, body):
    connection = http.client.HTTPConnection("127.0.0.1", viewer.port, timeout=30)
    connection.putrequest("POST", f"{base}/jobs")
    fixed = {"Cookie": f"ptypinn-view-{viewer.port}={viewer.key}", "Content-Type": "application/json"}
    for name, value in {**fixed, "Origin": f"http://127.0.0.1:{viewer.port}", **headers}.items():
        connection.putheader(name, value)
    connection.endheaders()
    try:
        connection.send(body)
        return connection.getresponse().status
    except (BrokenPipeError, ConnectionResetError):
        return 413
    finally:
        connection.close()


def test_long_bodies_are_not_read(room):
    base = scan_address(room)
    assert send_raw(room, base, {"Content-Length": str(MAX_BODY_BYTES + 1)}, b"") == 413
    assert send_raw(room, base, {"Content-Length": "9" * 15}, b"") == 413
    assert send_raw(room, base, {"Transfer-Encoding": "chunked"}, b"5\r\nhello\r\n0\r\n\r\n") == 413


@pytest.mark.parametrize("path", ["/api/scans/{}", "/api/scans/{}/facts", "/api/scans/{}/x/probe.png", "/scan/{}"])
@pytest.mark.parametrize("name", ["000000000000", "..", "%2e%2e", "scan.h5", "%2fetc%2fpasswd"])
def test_no_path_in_an_address_leads_to_a_scan(path, name, room):
    assert room.get(path.format(name)).status == 404


def test_no_job_is_found_by_a_path(room):
    for job in ("..", "000000000000", "%2e%2e", "x"):
        assert room.get(f"/api/jobs/{job}/log").status == 404
        assert room.post(f"/api/jobs/{job}/cancel").status == 404


def test_scans_are_named_by_ids_and_never_by_their_folder(room, lab):
    base = scan_address(room)
    for path in (base, "/api/scans", f"/scan/{base.rsplit('/', 1)[1]}"):
        assert str(lab) not in room.get(path).body.decode()
