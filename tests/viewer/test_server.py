"""The server uses ids and versions, caches, requires the key, and never takes a path from an address."""

import io
import json
import os
import resource
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.viewer.conftest import Viewer, write_finished_run

from ptypinn.io.provenance import file_hash
from ptypinn.io.reconstruction_file import Snapshots
from ptypinn.runs.folder import SNAPSHOT
from ptypinn.viewer.tiles import TILE_PX

LOOK = "low=0&high=2&map=gray"


def test_requests_without_the_key_are_refused(viewer):
    assert viewer.get("/", Cookie="").status == 403
    assert viewer.get("/api/runs", Cookie=f"ptypinn-view-{viewer.port}=guess").status == 403
    assert viewer.get("/?key=guess", Cookie="").status == 403
    assert viewer.get("/", Cookie=f"ptypinn-view-{viewer.port}=séame").status == 403
    assert viewer.get("/").status == 200


def test_the_key_becomes_a_cookie_and_leaves_the_address(viewer):
    reply = viewer.get(f"/run/{viewer.ids['good']}?key=sesame&x=1", Cookie="")
    assert reply.status == 303
    assert reply.headers["location"] == f"/run/{viewer.ids['good']}?x=1"
    assert viewer.get("//elsewhere.example/?key=sesame", Cookie="").headers["location"] == "/elsewhere.example/"
    cookie = reply.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=lax" in cookie


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "192.168.1.1", ""])
def test_names_that_only_lead_here_are_refused(viewer, host):
    assert viewer.get("/api/runs", Host=host).status == 400


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_names_of_the_loopback_are_taken(viewer, host):
    assert viewer.get("/api/runs", Host=f"{host}:{viewer.port}").status == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_only_pages_are_read_and_changes_posted(viewer, method):
    assert viewer.get("/api/runs", method=method).status == 405


def test_what_is_read_is_not_changed(viewer):
    assert viewer.post("/api/runs").status == 405


def test_every_answer_says_what_pages_may_load(viewer):
    for path in ("/", "/static/run.js", "/api/runs", "/nowhere"):
        headers = viewer.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in headers


def test_a_report_is_shown_apart_from_everything_else(viewer):
    reply = viewer.get(f"/run/{viewer.ids['good']}/report")
    assert b"A report" in reply.body
    policy = reply.headers["content-security-policy"]
    assert policy.startswith("sandbox") and "allow-same-origin" not in policy and "'self'" not in policy
    assert viewer.run("good")["report"] is True
    assert viewer.run("live")["report"] is False
    assert viewer.get(f"/run/{viewer.ids['live']}/report").status == 404
    assert viewer.get(f"/run/{viewer.ids['alone.h5']}/report").status == 404


def test_pages_refer_to_nothing_from_elsewhere(viewer):
    pages = [viewer.get("/"), viewer.get(f"/run/{viewer.ids['good']}")]
    names = ["run.js", "list.js", "stage.js", "tiles.js", "view.css", "icon.svg"]
    for reply in [*pages, *(viewer.get(f"/static/{name}") for name in names)]:
        assert reply.status == 200
        text = reply.body.decode().replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in text and "https:" not in text and "@import" not in text


BAD_PATHS = [
    "/static/../run.js",
    "/static/%2e%2e%2fserver.py",
    "/static/..%5cserver.py",
    "/static/%2fetc%2fpasswd",
    "/static/server.py",
    "/run/..",
    "/run/%2e%2e",
    "/run/good",
    "/run/000000000000",
    "/api/runs/000000000000",
    "/api/runs/../../etc/passwd",
    "/api/runs/%2fetc%2fpasswd",
    "/api/runs/GGGGGGGGGGGG/thumbnail.png",
    "/api/maps/jet.png",
    "/api/maps/..%2fcomplex.png",
]


@pytest.mark.parametrize("path", BAD_PATHS)
def test_no_path_in_an_address_leads_to_a_file(viewer, path):
    assert viewer.get(path).status == 404


def test_the_list_has_names_verdicts_and_dates_and_no_folders(viewer, home):
    reply = viewer.get("/api/runs")
    runs = {run["name"]: run for run in reply.json["runs"]}
    assert list(runs) == ["alone.h5", "deep/dim", "good", "live", "lost"]
    assert runs["good"]["status"] == "finished" and runs["good"]["warnings"] == []
    assert runs["live"]["status"] == "running"
    assert str(home) not in reply.body.decode()


def test_what_has_not_changed_is_not_sent_again(viewer):
    address = viewer.picture("good")
    for path in (
        "/api/runs",
        f"/api/runs/{viewer.ids['good']}",
        "/static/view.css",
        f"/api/runs/{viewer.ids['good']}/thumbnail.png",
        f"{address}/tiles/phase/0/0/0.png?low=-1&high=1&map=twilight",
    ):
        first = viewer.get(path)
        again = viewer.get(path, If_None_Match=first.headers["etag"])
        assert (first.status, again.status, again.body) == (200, 304, b"")
    tile = viewer.get(f"{address}/tiles/phase/0/0/0.png?low=-1&high=1&map=twilight")
    assert "immutable" in tile.headers["cache-control"]
    assert viewer.get("/api/runs").headers["cache-control"] == "private, no-cache"


def test_a_picture_is_described_in_its_units(viewer):
    picture = viewer.run("good")["picture"]
    assert (picture["height"], picture["width"], picture["levels"], picture["tile"]) == (300, 420, 2, TILE_PX)
    assert picture["pixel_size_m"] == 2e-8
    layers = {layer["name"]: layer for layer in picture["layers"]}
    assert list(layers) == ["amplitude", "phase", "complex", "illumination"]
    assert layers["phase"]["unit"] == "rad"
    assert not picture["in_progress"]
    assert viewer.run("live")["picture"]["in_progress"]


def test_tiles_depend_on_limits(viewer):
    address = viewer.picture("good")
    one, other = (viewer.get(f"{address}/tiles/amplitude/0/0/0.png?low=0&high={h}&map=gray").body for h in (1, 2))
    bright, dark = (np.asarray(Image.open(io.BytesIO(png)).convert("L"))[100:200, 100:200] for png in (one, other))
    assert bright.mean() > dark.mean() + 30


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (f"tiles/amplitude/9/0/0.png?{LOOK}", "level"),
        (f"tiles/amplitude/0/9/0.png?{LOOK}", "tile"),
        (f"tiles/sharpness/0/0/0.png?{LOOK}", "sharpness"),
        ("tiles/amplitude/0/0/0.png?low=2&high=1&map=gray", "limits"),
        ("tiles/amplitude/0/0/0.png?low=nan&high=1&map=gray", "low"),
        ("tiles/amplitude/0/0/0.png?low=0&map=gray", "high"),
        ("tiles/amplitude/0/0/0.png?low=0&high=1&map=jet", "jet"),
        ("blocks/99/0", "block"),
        ("histogram/sharpness", "sharpness"),
        ("profile?y0=0&x0=0&y1=5", "x1"),
        ("patterns/99999", "99999"),
        ("patterns/3/guessed.png", "guessed"),
    ],
)
def test_bad_requests_are_answered_in_one_line(viewer, path, message):
    reply = viewer.get(f"{viewer.picture('good')}/{path}")
    assert reply.status == 400
    assert message in reply.json["error"]
    assert "\n" not in reply.json["error"] and "Traceback" not in reply.json["error"]


def test_another_version_is_gone(viewer):
    address = f"/api/runs/{viewer.ids['good']}/0123456789ab"
    assert viewer.get(f"{address}/tiles/amplitude/0/0/0.png?{LOOK}").status == 410
    assert viewer.get(f"{address}/positions").status == 410


def test_positions_and_patterns(viewer, scan):
    address = viewer.picture("good")
    positions = viewer.get(f"{address}/positions").json
    assert positions["measured"] is True
    assert positions["size_px"] == scan.size
    np.testing.assert_allclose(positions["centres_px"], scan.positions_px + scan.size / 2, atol=0.01)
    figures = viewer.get(f"{address}/patterns/7").json
    assert figures["photons"] == pytest.approx(scan.counts[7].sum())
    assert figures["photons_predicted"] == pytest.approx(figures["photons"], rel=0.02)
    assert figures["residual"] == pytest.approx(figures["expected_residual"], rel=0.3)
    for kind in ("measured", "predicted", "difference"):
        reply = viewer.get(f"{address}/patterns/7/{kind}.png")
        assert Image.open(io.BytesIO(reply.body)).size == (scan.size, scan.size)


def test_a_scan_that_is_gone_leaves_the_prediction_and_a_note(viewer):
    address = viewer.picture("lost")
    positions = viewer.get(f"{address}/positions").json
    assert positions["measured"] is False
    assert "gone.h5" in positions["note"]
    assert viewer.get(f"{address}/patterns/7/predicted.png").status == 200
    refused = viewer.get(f"{address}/patterns/7/measured.png")
    assert refused.status == 400
    assert "gone.h5" in refused.json["error"]
    assert "photons" not in viewer.get(f"{address}/patterns/7").json


def test_a_run_in_progress_has_its_patterns_and_reads_its_scan_once(viewer, home, recon, monkeypatch):
    from ptypinn.viewer import patterns

    searches, find = [], patterns.find_scan
    monkeypatch.setattr(patterns, "find_scan", lambda *where: searches.append(where) or find(*where))
    closures = []
    for factor in (1.0, 0.5):
        record = {"sha256": file_hash(home.parent / "scan.h5")}
        half = replace(recon, object=recon.object * np.complex64(factor), provenance={"scan": record})
        Snapshots(home / "live" / SNAPSHOT, home.parent / "scan.h5")(lambda half=half: half)
        address = viewer.picture("live")
        assert viewer.get(f"{address}/positions").json["measured"]
        figures = viewer.get(f"{address}/patterns/7").json
        closures.append(figures["photons_predicted"] / figures["photons"])
        assert viewer.get(f"{address}/patterns/7/difference.png").status == 200
    assert closures[1] == pytest.approx(closures[0] / 4)
    assert len(searches) == 1


def test_a_damaged_reconstruction_is_reported_and_other_runs_work(viewer, home):
    place = home / "alone.h5"
    whole = place.read_bytes()
    identity = viewer.ids["alone.h5"]
    try:
        place.write_bytes(whole[: len(whole) // 2])
        reply = viewer.get(f"/api/runs/{identity}")
        assert reply.status in (200, 404)
        assert b"Traceback" not in reply.body
        if reply.status == 200:
            assert json.loads(reply.body)["picture"] is None
            assert "damaged" in reply.json["error"]
    finally:
        place.write_bytes(whole)
    assert viewer.run("good")["picture"]


@pytest.mark.parametrize("number", ["9" * 18, "9" * 19, "9" * 5000])
def test_numbers_of_any_length_have_an_answer(viewer, number):
    base = viewer.picture("good")
    places = [
        *(f"tiles/phase/{level}/{row}/0.png" for level, row in ((number, 0), (0, number))),
        *(f"blocks/{number}/0", f"blocks/0/{number}", f"patterns/{number}", f"patterns/{number}/predicted.png"),
    ]
    for place in places:
        assert viewer.get(f"{base}/{place}").status in (400, 404), place


def test_a_thousand_requests_for_a_folder_with_traps_all_have_an_answer(tmp_path, recon):
    folder = tmp_path / "runs"
    write_finished_run(folder / "<b>one", recon, {}, ["<script>alert(1)</script>"])
    for name, target in (("pipe", None), ("endless", "/dev/zero"), ("link", "/etc/hostname")):
        write_finished_run(folder / name, recon, {}, [])
        for entry in ("log.txt", "report.html", "metrics.json"):
            (folder / name / entry).unlink(missing_ok=True)
            if target is None:
                os.mkfifo(folder / name / entry)
            else:
                (folder / name / entry).symlink_to(target)
    server = Viewer(folder)
    try:
        paths = ["/api/runs", "/"]
        for run_id in server.ids.values():
            paths += [f"/api/runs/{run_id}", f"/api/runs/{run_id}/thumbnail.png"]
            paths += [f"/run/{run_id}", f"/run/{run_id}/report"]
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with ThreadPoolExecutor(40) as pool:
            replies = list(pool.map(server.get, [paths[n % len(paths)] for n in range(1000)]))
        grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    finally:
        server.stop()
    assert {reply.status for reply in replies} == {200, 404}
    secret = Path("/etc/hostname").read_bytes().strip()
    assert not any(secret and reply.body.strip() == secret for reply in replies)
    assert grown_mb < 300
