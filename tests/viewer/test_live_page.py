"""The page of a scan in progress in a real browser: it follows, keeps its view, and comes back by itself."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from tests.viewer.live_folder import LiveFolder
from tests.viewer.test_page import PHONE, SMALL, Canvas, until, wait_for_text

from ptypinn.config.simulate import SimulateConfig
from ptypinn.io.load_save import save
from ptypinn.stages.simulate import simulate

MAX_DELAY_S = 1.0
"""From the writing of a snapshot to its display; well below 0.3 s on a machine with nothing else to do."""
WATCH_CANVAS = """() => {
  const view = document.querySelector("#view");
  const canvas = view.querySelector("canvas");
  window.shown = [];
  new MutationObserver(() => window.shown.push([view.dataset.version, Date.now() / 1000]))
    .observe(view, { attributeFilter: ["data-version"] });
  window.blank = 0;
  const copy = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
  const context = copy.getContext("2d", { willReadFrequently: true });
  const look = () => {
    context.clearRect(0, 0, 1, 1);
    context.drawImage(canvas, canvas.width / 2, canvas.height / 2, 1, 1, 0, 0, 1, 1);
    if (!context.getImageData(0, 0, 1, 1).data[3]) window.blank += 1;
    requestAnimationFrame(look);
  };
  look();
}"""
LIVE_PARTS_HIDDEN = "!document.querySelector('[data-live-part]:not([hidden])')"
ALERT = {"kind": "flux", "text": "The flux has fallen to 20 % of that before", "since_number": 812, "active": True}


@pytest.fixture
def live(scan, tmp_path):
    with LiveFolder(tmp_path / "runs" / "live", scan) as folder:
        folder.write(100)
        yield folder


@pytest.fixture
def open_live(live, view_folder, open_page):
    def start(read_only=False, **options):
        viewer = view_folder(live.path.parent, read_only=read_only)
        page = open_page(viewer.address(f"/run/{viewer.ids['live']}"), **{"viewport": SMALL, **options})
        return page, Canvas(page)

    return start


def shown_version(page):
    return page.get_attribute("#view", "data-version")


def wait_for_another(page, version):
    until(page, f"document.querySelector('#view').dataset.version !== {json.dumps(version)}")


def test_the_picture_grows_in_its_place_and_is_never_blank(open_live, live):
    page, canvas = open_live()
    for _ in range(2):
        page.mouse.move(*canvas.at(0.5, 0.5))
        page.mouse.wheel(0, -120)
    before = canvas.settled()
    page.evaluate(WATCH_CANVAS)
    delays = []
    for solved in range(140, 400, 40):
        version = shown_version(page)
        live.write(solved)
        written_s = (live.path / "snapshot.h5").stat().st_mtime
        wait_for_another(page, version)
        delays.append(page.evaluate("shown.at(-1)[1]") - written_s)
    after = canvas.settled()
    assert page.evaluate("blank") == 0
    middle = tuple(slice(round(0.4 * n), round(0.6 * n)) for n in before.shape[:2])
    assert np.abs(after[middle] - before[middle]).mean() < 8  # neither moved nor scaled, though its origin has moved
    assert (after[..., 3] > 0).mean() > (before[..., 3] > 0).mean() + 0.05
    assert np.median(delays) < MAX_DELAY_S, delays
    print("delay of snapshots", np.round(delays, 3))


def test_what_is_known_is_stated(open_live, live):
    page, canvas = open_live()
    assert page.inner_text("#badge") == "receiving"
    wait_for_text(page, "[data-live=counts]", "100 in the picture")
    assert page.inner_text("[data-live=mark]") == "✓"
    assert page.locator("[data-live=alerts]").is_hidden()
    until(page, "[...document.querySelectorAll('[data-live=pattern] img')].every((image) => image.naturalWidth === 32)")
    assert not page.locator("#patterns").is_visible()
    changed = {"alerts": [ALERT], "delay_s": 2.34, "mode": ("subsampled", "Some patterns wait.")}
    live.write(150, **changed)
    wait_for_text(page, "[data-live=alerts]", "fallen to 20 % of that before (since frame 812)")
    assert page.get_attribute("[data-live=alerts]", "role") == "alert"
    assert page.inner_text("[data-live=delay]") == "2.3 s"
    assert "Some patterns wait." in page.inner_text("[data-live=reasons]")
    lost = {"missing": "17, 203-205", "n_missing": 4, "repeated": 12, "rejected": 1}
    live.status.frames = {**live.status.frames, **lost}
    live.status.alerts = [{**ALERT, "active": False}]
    live.status.write(95.0)
    wait_for_text(page, "[data-live=losses]", "4 not come: 17, 203-205")
    assert "12 repeated" in page.inner_text("[data-live=losses]")
    assert page.locator("[data-live=alerts]").is_hidden()
    assert "fallen" in page.inner_text("[data-live=past-alerts]")
    assert canvas.changes(lambda: page.check("#positions"), fraction=0.003)


def test_the_page_becomes_that_of_the_finished_run(open_live, live, recon):
    page, canvas = open_live()
    page.evaluate("window.stays = true")
    live.write(400, state="finishing")
    wait_for_text(page, "#badge", "finishing")
    live.finish(recon)
    page.wait_for_selector("[data-run=report]:visible")
    wait_for_text(page, "#badge", "no warning")
    until(page, LIVE_PARTS_HIDDEN)
    wait_for_text(page, "[data-pattern=description]", "positions")
    assert page.evaluate("window.stays")
    page.mouse.click(*canvas.at(0.5, 0.5))
    page.wait_for_selector("[data-pattern=figures] dd")


def test_the_page_of_the_finished_run_is_whole_though_its_picture_comes_before_its_state(open_live, live, recon):
    page, _ = open_live()
    live.write(400, state="finishing")
    wait_for_text(page, "#badge", "finishing")
    version = shown_version(page)
    live.write_result(recon)
    live.write_status(400, state="finishing")
    wait_for_another(page, version)
    page.wait_for_selector("[data-run=report]:visible")
    page.wait_for_timeout(2000)  # the page has taken all of that in
    live.write_status(400, state="finished")
    until(page, LIVE_PARTS_HIDDEN)
    wait_for_text(page, "[data-pattern=description]", "positions")


def test_a_process_that_ends_without_a_word_is_noticed(open_live, live):
    page, _ = open_live()
    (live.path / ".lock").write_text(json.dumps({"host": os.uname().nodename, "pid": 2**22 + 1}))
    wait_for_text(page, "[data-live=verdict]", "The same command goes on")
    assert page.inner_text("#badge") == "interrupted"


def test_the_list_shows_scans_in_progress_first(live, recon, view_folder, open_page):
    from tests.viewer.conftest import write_finished_run

    write_finished_run(live.path.parent / "later", recon, {}, [])
    page = open_page(view_folder(live.path.parent).address())
    page.wait_for_selector("li.card")
    assert page.inner_text("#runs li:first-child h3") == "live"
    text = page.inner_text("#runs li:first-child")
    assert "receiving" in text and "explains the frames" in text and "400 of 400 frames" in text
    live.write_status(100, alerts=[ALERT])
    wait_for_text(page, "#runs li:first-child", "fallen")


@pytest.mark.parametrize("options", [PHONE, {"viewport": {"width": 1920, "height": 1080}, "color_scheme": "dark"}])
def test_nothing_overflows_on_a_phone_or_a_wall(open_live, live, options):
    page, _ = open_live(read_only=True, **options)
    live.write(200, alerts=[ALERT], mode=("fewer rounds", "Patterns come faster than they can be solved. " * 3))
    wait_for_text(page, "[data-live=alerts]", "fallen")
    assert page.evaluate("document.documentElement.scrollWidth") <= options["viewport"]["width"]
    height = page.locator(".live-head").bounding_box()["height"]
    live.write(240, alerts=[], mode=("full", ""))
    wait_for_text(page, "[data-live=counts]", "240 in the picture")
    assert page.locator(".live-head").bounding_box()["height"] == height  # the picture below stays in its place
    assert page.locator("button", has_text="Cancel").count() == 0


def start_viewer(folder, port, key):
    words = ["view", str(folder), "--port", str(port), "--key-file", str(key), "--read-only"]
    code = "import sys; from ptypinn.cli.main import main; sys.exit(main(sys.argv[1:]))"
    process = subprocess.Popen([sys.executable, "-c", code, *words], stdout=subprocess.PIPE, text=True)
    return process, re.search(r"http\S+", process.stdout.readline())[0]


def test_the_page_comes_back_after_the_viewer_was_killed(live, chromium, tmp_path):
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    process, address = start_viewer(live.path.parent, port, tmp_path / "key")
    context = chromium.new_context(viewport=SMALL)
    try:
        page = context.new_page()
        page.goto(address)
        page.click("#runs h3 a")
        Canvas(page)
        page.evaluate("window.stays = true")
        process.kill()
        process.wait()
        process.stdout.close()
        wait_for_text(page, "#connection-error", "No connection")
        live.write(300)
        process, again = start_viewer(live.path.parent, port, tmp_path / "key")
        assert again == address
        wait_for_text(page, "[data-live=counts]", "300 in the picture")
        until(page, "document.querySelector('#connection-error').hidden")
        assert page.evaluate("window.stays")
    finally:
        context.close()
        process.kill()
        process.wait()
        process.stdout.close()


def wait_while_running(process, page, selector):
    """Wait for an element as long as the run goes on, however slow the computer is."""
    while process.poll() in (None, 0) and not page.locator(selector).count():
        page.wait_for_timeout(100)
    assert page.locator(selector).count(), f"the run has ended with {process.returncode} without {selector}"


def test_a_replayed_scan_is_seen_to_grow_and_to_finish(tmp_path, view_folder, open_page):
    scan = simulate(SimulateConfig(size=32, object_size=(100, 130), n_patterns=160, photons=1e5))
    path = save(scan, tmp_path / "scan.h5")
    words = ["live", f"replay:{path}?rate=40", "--probe", str(path), "--threads", "1", "--rounds", "1"]
    code = "import sys; from ptypinn.cli.main import main; sys.exit(main(sys.argv[1:]))"
    out = tmp_path / "runs" / "replay"
    with (tmp_path / "output").open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *words, "--output-dir", str(out)], stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + 60
        while not (out / "live.json").exists():
            assert time.monotonic() < deadline and process.poll() is None, (tmp_path / "output").read_text()
            time.sleep(0.1)
        viewer = view_folder(out.parent)
        page = open_page(viewer.address(f"/run/{viewer.ids['replay']}"), viewport=SMALL)
        wait_while_running(process, page, "#view[data-drawn=complete]")
        first, version = Canvas(page).pixels(), shown_version(page)
        wait_for_another(page, version)
        assert not np.array_equal(Canvas(page).pixels(), first)
        wait_while_running(process, page, "[data-run=report]:visible")
        until(page, LIVE_PARTS_HIDDEN)
    finally:
        process.terminate()
        process.wait(timeout=30)
