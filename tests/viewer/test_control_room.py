"""From an empty folder to a report in a real browser: scans appear, jobs are started, watched, ended and resumed."""

import shutil
import sys
from dataclasses import replace

import pytest
from tests.viewer.job_program import PROGRAM
from tests.viewer.test_page import PHONE, until, wait_for_text

from ptypinn.config.simulate import SimulateConfig
from ptypinn.io.load_save import save
from ptypinn.stages.simulate import simulate
from ptypinn.viewer.folders import stamp_places
from ptypinn.viewer.scan_process import LookProcess


@pytest.fixture(scope="module")
def small_scan(tmp_path_factory):
    """A scan that is reconstructed in seconds."""
    path = tmp_path_factory.mktemp("small") / "scan.h5"
    return save(simulate(SimulateConfig(size=32, object_size=(80, 80), n_patterns=36)), path)


@pytest.fixture(scope="module", autouse=True)
def looks():
    """One process looks at the scan for all copies of it: `test_scan_looks.py` is about such processes."""
    look_at, looks = LookProcess.run, {}

    def reuse(process, is_unwanted):
        places, options = (process._path,), repr(sorted(process._options.items()))
        if options in looks:
            return replace(looks[options], places=places, stamp=stamp_places(places))
        if (look := look_at(process, is_unwanted)) is not None:
            looks[options] = look
        return look

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LookProcess, "run", reuse)
        yield looks


@pytest.fixture
def lab(tmp_path, small_scan, monkeypatch):
    """A folder with one scan, searched often."""
    monkeypatch.setattr("ptypinn.viewer.scan_index.MIN_INTERVAL_S", 0.2)
    (tmp_path / "lab").mkdir()
    shutil.copy(small_scan, tmp_path / "lab" / "scan.h5")
    return tmp_path / "lab"


@pytest.fixture
def slow_program(tmp_path, monkeypatch):
    """A program in place of ptypinn that runs until it is cancelled, where its seed is 2."""
    (tmp_path / "program.py").write_text(PROGRAM)
    monkeypatch.setattr("ptypinn.viewer.job_process.PROGRAM", (sys.executable, str(tmp_path / "program.py")))


def open_scan(page):
    page.click("#scans a")
    page.wait_for_selector("[data-facts=headline] dd")


def option(page, name):
    field = page.locator(f"[data-option={name}]")
    for group in page.locator("#form details", has=field).all():
        if group.get_attribute("open") is None:
            group.locator("> summary").click()
    return field.locator("input, select")


def wait_for_state(page, state):
    page.wait_for_selector(f".job[data-state={state}]", timeout=120_000, state="attached")


def test_from_an_empty_folder_to_a_report_by_mouse(tmp_path, small_scan, view_folder, open_page, monkeypatch):
    monkeypatch.setattr("ptypinn.viewer.scan_index.MIN_INTERVAL_S", 0.2)
    folder = tmp_path / "lab"
    folder.mkdir()
    page = open_page(view_folder(folder).address())
    page.wait_for_selector("#nothing >> text=Nothing here yet")
    shutil.copy(small_scan, folder / "scan.h5")  # while the page is open
    page.wait_for_selector("#scans a")
    open_scan(page)
    until(page, "[...document.images].every((image) => image.naturalWidth > 0)")
    assert "36 of 32 x 32" in page.inner_text("[data-facts=headline]")
    option(page, "rounds").fill("1")
    option(page, "probe_rounds").fill("1")
    wait_for_text(page, "[data-form=line]", "--rounds=1 --probe-rounds=1")
    assert page.inner_text("[data-form=line]").startswith("ptypinn reconstruct scan.h5 --output-dir=scan-reconstruct")
    page.click("[data-form=start]")
    wait_for_state(page, "finished")
    assert page.input_value("#output") == "scan-reconstruct-2"  # the next one does not meet the first
    page.click("text=Open the run")
    page.wait_for_selector("#view[data-drawn=complete]")
    with page.expect_popup() as report:
        page.click("[data-run=report]")
    assert "scan.h5" in report.value.inner_text("body")
    page.click("header a")
    page.wait_for_selector("#runs .thumbnail img")
    assert page.locator("#scans a").count() == 1


def test_a_job_is_watched_cancelled_resumed_and_removed(lab, slow_program, view_folder, open_page):
    page = open_page(view_folder(lab).address())
    open_scan(page)
    page.click("text=refine")
    option(page, "seed").fill("2")
    wait_for_text(page, "[data-form=line]", "--seed=2")
    page.click("[data-form=start]")
    wait_for_state(page, "running")
    page.click(".job summary")
    wait_for_text(page, ".job details", "refine 1/9")
    page.click("header a")  # the list shows the same job
    wait_for_state(page, "running")
    page.click("text=Cancel")
    wait_for_state(page, "cancelled")
    page.click("text=Resume")
    wait_for_state(page, "running")
    for _ in range(200):
        if (lab / "scan-refine" / "calls.txt").read_text().count("\n") == 2:
            break
        page.wait_for_timeout(50)
    else:
        raise AssertionError("the command was not called again")
    page.click("text=Cancel")
    wait_for_state(page, "cancelled")
    page.click("text=Remove")
    page.wait_for_selector("#jobs", state="hidden")


def test_a_run_is_cancelled_on_its_own_page_and_says_that_nothing_is_left(lab, view_folder, open_page):
    page = open_page(view_folder(lab).address(), refused=True)
    open_scan(page)
    option(page, "probe_rounds").fill("20000")  # which no criterion ends early
    wait_for_text(page, "[data-form=line]", "--probe-rounds=20000")
    page.click("[data-form=start]")
    page.click("text=Open the run", timeout=60_000)
    page.click(".job button >> text=Cancel")
    wait_for_state(page, "cancelled")
    page.wait_for_selector("#connection-error >> text=This run has left nothing", timeout=60_000)
    assert page.locator("text=Resume").is_visible()


def test_jobs_wait_and_a_failure_has_its_line(lab, slow_program, view_folder, open_page):
    page = open_page(view_folder(lab).address())
    open_scan(page)
    option(page, "seed").fill("2")
    wait_for_text(page, "[data-form=line]", "--seed=2")
    page.click("[data-form=start]")
    wait_for_state(page, "running")
    until(page, "document.querySelector('#output').value.endsWith('-2')")
    option(page, "seed").fill("4")
    wait_for_text(page, "[data-form=line]", "--seed=4")
    page.click("[data-form=start]")
    wait_for_state(page, "queued")
    page.locator(".job[data-state=running] >> text=Cancel").click()
    wait_for_state(page, "failed")
    assert "scan.h5: no probe" in page.inner_text(".job[data-state=failed]")


def test_a_bad_value_has_its_line_beside_it_and_nothing_starts(lab, view_folder, open_page):
    page = open_page(view_folder(lab).address())
    open_scan(page)
    for name, value, line in (
        ("rounds", "many", "--rounds: found 'many', expected a whole number"),
        ("mask", "../mask.npy", "--mask: found '../mask.npy', expected a file in the folder of this viewer"),
    ):
        field = option(page, name)
        field.fill(value)
        wait_for_text(page, f"[data-option={name}] .field-error", line)
        assert page.is_disabled("[data-form=start]")
        assert field.get_attribute("aria-invalid") == "true"
        field.fill("")
        until(page, "!document.querySelector('[data-form=start]').disabled")
    page.fill("#output", "../elsewhere")
    wait_for_text(page, "#output-error", "--output-dir")


def test_options_of_reading_change_what_is_stated(lab, view_folder, open_page):
    page = open_page(view_folder(lab).address())
    open_scan(page)
    option(page, "select").fill("0-11")
    wait_for_text(page, "[data-facts=headline]", "12 of 32 x 32")


def test_a_read_only_page_shows_everything_and_offers_nothing(lab, slow_program, view_folder, open_page):
    page = open_page(view_folder(lab).address())
    open_scan(page)
    option(page, "seed").fill("2")
    wait_for_text(page, "[data-form=line]", "--seed=2")
    page.click("[data-form=start]")
    wait_for_state(page, "running")
    wall = open_page(view_folder(lab, read_only=True).address())
    wait_for_state(wall, "running")
    assert wall.locator("button:visible").count() == 0
    open_scan(wall)
    assert wall.locator("form, .job button:visible").count() == 0
    page.click("text=Cancel")
    wait_for_state(wall, "cancelled")


def test_a_job_is_started_by_keys(lab, slow_program, view_folder, open_page):
    page = open_page(view_folder(lab).address())
    open_scan(page)
    page.focus("[data-form=commands] input")
    page.keyboard.press("ArrowRight")
    wait_for_text(page, "[data-form=line]", "ptypinn refine")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset.form") == "start":
            break
    page.keyboard.press("Enter")
    wait_for_state(page, "finished")


def test_on_a_phone_nothing_overflows_and_a_job_is_started_by_finger(lab, slow_program, view_folder, open_page):
    page = open_page(view_folder(lab).address(), **PHONE)
    page.tap("#scans a")
    page.wait_for_selector("[data-facts=headline] dd")
    option(page, "seed").fill("4")
    wait_for_text(page, "[data-form=line]", "--seed=4")
    page.tap("[data-form=start]")
    wait_for_state(page, "failed")
    for path in (page.url, page.url.split("/scan/")[0]):
        page.goto(path)
        wait_for_state(page, "failed")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_page_finds_back_after_a_restart(lab, view_folder, open_page):
    viewer = view_folder(lab)
    page = open_page(viewer.address(), refused=True)
    page.wait_for_selector("#scans a")
    page.route("**/api/**", lambda route: route.fulfill(status=403, body="{}"))
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_selector("#connection-error >> text=started anew")
    page.unroute("**/api/**")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_selector("#connection-error", state="hidden")


def test_a_live_replay_is_started_watched_and_finished_by_mouse(lab, view_folder, open_page):
    page = open_page(view_folder(lab).address())
    page.click("#live summary")
    assert page.is_disabled("[data-form=start]")
    page.fill("#source", "replay:../scan.h5")
    wait_for_text(page, "#source-error", "files in the folder of this viewer")
    page.fill("#source", "replay:scan.h5?rate=2")
    wait_for_text(page, "[data-form=line]", "ptypinn live 'replay:scan.h5?rate=2' --output-dir=live")
    page.click("[data-form=start]")
    page.wait_for_selector("#runs a >> text=live", timeout=60_000)
    page.click(".job >> text=Finish now", timeout=60_000)
    wait_for_state(page, "finished")
    assert page.input_value("#output") == "live-2"
    page.click("#runs a >> text=live")
    page.wait_for_selector("#view[data-drawn=complete]")


def test_the_page_of_a_scan_offers_its_replay(lab, view_folder, open_page):
    page = open_page(view_folder(lab).address())
    open_scan(page)
    assert page.is_hidden("#source")
    page.click("[data-form=commands] >> text=live")
    wait_for_text(page, "[data-form=line]", "ptypinn live 'replay:scan.h5?rate=200' --output-dir=scan-live")
    page.click("[data-form=commands] >> text=refine")
    wait_for_text(page, "[data-form=line]", "ptypinn refine scan.h5")
    assert page.is_hidden("#source")
