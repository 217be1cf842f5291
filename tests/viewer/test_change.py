"""The page while a file changes, disappears or breaks, with several browsers and with many runs."""

import shutil
import time
from dataclasses import replace

import numpy as np
import pytest
from tests.viewer.conftest import Viewer, write_finished_run
from tests.viewer.test_page import SMALL, Look, choose, says, until

from ptypinn.runs.folder import RECONSTRUCTION

MANY = 200


@pytest.fixture
def mine(recon, tmp_path):
    """A viewer of one run that may be harmed."""
    place = tmp_path / "runs" / "mine"
    write_finished_run(place, recon, {}, [])
    here = Viewer(tmp_path / "runs")
    yield here, place
    here.stop()


@pytest.fixture
def looked_at(mine, open_page):
    here, place = mine
    page = open_page(here.address(f"/run/{here.ids['mine']}"), viewport=SMALL, refused=True)
    return page, Look(page), place


def test_a_run_that_goes_is_told_and_found_again(looked_at, recon):
    page, look, place = looked_at
    before = look.settled()
    aside = place.rename(place.parent.parent / "aside")
    says(page, "#connection-error", "no such run")
    assert np.ptp(look.pixels()[..., :3]) > 50  # what was seen stays in sight
    aside.rename(place)
    until(page, "document.querySelector('#connection-error').hidden")
    np.testing.assert_array_equal(look.settled(), before)
    page.goto(page.url.split("#")[0][:-1] + "x")
    assert page.inner_text("h1") == "No such run"
    page.click("text=Runs")
    page.wait_for_selector("li.card")


def test_a_run_that_is_written_again_is_shown_as_it_is_now(looked_at, recon):
    page, look, place = looked_at
    choose(page, "phase")
    before = look.settled()
    replace(recon, object=recon.object[::-1].copy()).save(place / RECONSTRUCTION)
    deadline = time.monotonic() + 15
    while (np.abs(look.settled() - before).max(axis=-1) > 8).mean() < 0.1:
        assert time.monotonic() < deadline, "the page has not followed"


def test_a_file_that_breaks_is_told_in_words(looked_at):
    page, look, place = looked_at
    look.settled()
    whole = (place / RECONSTRUCTION).read_bytes()
    (place / RECONSTRUCTION).write_bytes(whole[: len(whole) // 2])
    says(page, "[data-run=error]", "damaged")
    says(page, "#empty", "no object")


def test_a_run_without_an_object_is_clicked_without_harm(mine, open_page):
    here, place = mine
    (place / RECONSTRUCTION).unlink()
    page = open_page(here.address(f"/run/{here.ids['mine']}"), viewport=SMALL)
    says(page, "#empty", "no object")
    page.click("#view", position={"x": 200, "y": 200})
    page.keyboard.press("l")
    assert not page.locator("#profile").is_visible()


def test_two_browsers_look_at_the_same_run_each_in_its_own_way(mine, open_page):
    here, _ = mine
    pages = [open_page(here.address(f"/run/{here.ids['mine']}"), viewport=SMALL) for _ in range(2)]
    looks = [Look(page) for page in pages]
    first = looks[0].settled()
    assert looks[1].changes(lambda: choose(pages[1], "complex"))
    assert looks[0].changes(lambda: pages[0].click("#closer"))
    pages[0].click("#fit")
    np.testing.assert_array_equal(looks[0].settled(), first)


@pytest.fixture
def crowd(recon, tmp_path):
    """A viewer of many small runs."""
    home, corner = tmp_path / "runs", np.s_[:64, :64]
    small = replace(recon, object=recon.object[corner], illumination=recon.illumination[corner])
    write_finished_run(home / "run000", small, {}, [])
    for number in range(1, MANY):
        shutil.copytree(home / "run000", home / f"run{number:03d}")
    here = Viewer(home)
    yield here
    here.stop()


def test_many_runs_are_listed_and_filtered(crowd, open_page):
    page = open_page(crowd.address())
    until(page, f"document.querySelectorAll('li.card').length === {MANY}")
    assert page.inner_text("#count") == str(MANY)
    page.fill("#filter", "run19")
    assert page.locator("li.card").count() == 10
    until(page, "[...document.querySelectorAll('li.card img')].slice(0, 3).every((image) => image.naturalWidth > 0)")
