"""The page while a file changes, disappears or breaks, with several browsers and with many runs."""

import shutil
import time
from dataclasses import replace

import numpy as np
import pytest
from tests.viewer.conftest import Viewer, write_finished_run
from tests.viewer.test_page import SMALL, Canvas, choose, until, wait_for_text

from ptypinn.runs.folder import RECONSTRUCTION

MANY = 200


@pytest.fixture
def mine(recon, tmp_path):
    """A viewer of one run that may be harmed."""
    place = tmp_path / "runs" / "mine"
    write_finished_run(place, recon, {}, [])
    server = Viewer(tmp_path / "runs")
    yield server, place
    server.stop()


@pytest.fixture
def opened(mine, open_page):
    server, place = mine
    page = open_page(server.address(f"/run/{server.ids['mine']}"), viewport=SMALL, refused=True)
    return page, Canvas(page), place


def test_a_run_that_goes_is_told_and_found_again(opened, recon):
    page, canvas, place = opened
    before = canvas.settled()
    aside = place.rename(place.parent.parent / "aside")
    wait_for_text(page, "#connection-error", "This run has left nothing")
    assert np.ptp(canvas.pixels()[..., :3]) > 50  # the last picture stays visible
    aside.rename(place)
    until(page, "document.querySelector('#connection-error').hidden")
    np.testing.assert_array_equal(canvas.settled(), before)
    page.goto(page.url.split("#")[0][:-1] + "x")
    assert page.inner_text("h1") == "No such run"
    page.click("text=Runs")
    page.wait_for_selector("li.card")


def test_a_run_that_is_written_again_is_shown_as_it_is_now(opened, recon):
    page, canvas, place = opened
    choose(page, "phase")
    before = canvas.settled()
    replace(recon, object=recon.object[::-1].copy()).save(place / RECONSTRUCTION)
    deadline = time.monotonic() + 15
    while (np.abs(canvas.settled() - before).max(axis=-1) > 8).mean() < 0.1:
        assert time.monotonic() < deadline, "the page has not followed"


def test_a_file_that_breaks_is_told_in_words(opened):
    page, canvas, place = opened
    canvas.settled()
    whole = (place / RECONSTRUCTION).read_bytes()
    (place / RECONSTRUCTION).write_bytes(whole[: len(whole) // 2])
    wait_for_text(page, "[data-run=error]", "damaged")
    wait_for_text(page, "#empty", "no object")


def test_a_run_without_an_object_is_clicked_without_harm(mine, open_page):
    server, place = mine
    (place / RECONSTRUCTION).unlink()
    page = open_page(server.address(f"/run/{server.ids['mine']}"), viewport=SMALL)
    wait_for_text(page, "#empty", "no object")
    page.click("#view", position={"x": 200, "y": 200})
    page.keyboard.press("l")
    assert not page.locator("#profile").is_visible()


def test_two_browsers_look_at_the_same_run_each_in_its_own_way(mine, open_page):
    server, _ = mine
    pages = [open_page(server.address(f"/run/{server.ids['mine']}"), viewport=SMALL) for _ in range(2)]
    canvases = [Canvas(page) for page in pages]
    first = canvases[0].settled()
    assert canvases[1].changes(lambda: choose(pages[1], "complex"))
    assert canvases[0].changes(lambda: pages[0].click("#zoom-in"))
    pages[0].click("#fit")
    np.testing.assert_array_equal(canvases[0].settled(), first)


@pytest.fixture
def crowd(recon, tmp_path):
    """A viewer of many small runs."""
    home, corner = tmp_path / "runs", np.s_[:64, :64]
    small = replace(recon, object=recon.object[corner], illumination=recon.illumination[corner])
    write_finished_run(home / "run000", small, {}, [])
    for number in range(1, MANY):
        shutil.copytree(home / "run000", home / f"run{number:03d}")
    server = Viewer(home)
    yield server
    server.stop()


def test_many_runs_are_listed_and_filtered(crowd, open_page):
    page = open_page(crowd.address())
    until(page, f"document.querySelectorAll('li.card').length === {MANY}")
    assert page.inner_text("#count") == str(MANY)
    page.fill("#filter", "run19")
    assert page.locator("li.card").count() == 10
    until(page, "[...document.querySelectorAll('li.card img')].slice(0, 3).every((image) => image.naturalWidth > 0)")
