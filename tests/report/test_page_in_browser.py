"""The report as a browser shows it: at once, without a shift, on a phone, in the dark, and on paper."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from ptypinn.report.figures.colours import DARK_THEME, LIGHT_THEME
from ptypinn.report.html.report import write_report
from ptypinn.stages.evaluate import evaluate

TIMES = "performance.getEntriesByType('navigation')[0].loadEventEnd"
SHIFT = """new Promise(done => {
  let sum = 0;
  new PerformanceObserver(list => { for (const entry of list.getEntries()) sum += entry.value; })
    .observe({type: 'layout-shift', buffered: true});
  setTimeout(() => done(sum), 200);
})"""


@pytest.fixture(scope="module")
def report(recon, scan, run, tmp_path_factory):
    return write_report(recon, tmp_path_factory.mktemp("page") / "report.html", evaluate(recon, scan), scan, run)


def ground_of(page) -> str:
    red, green, blue = Image.open(io.BytesIO(page.screenshot())).convert("RGB").getpixel((2, 2))
    return f"#{red:02x}{green:02x}{blue:02x}"


def test_the_page_asks_for_nothing_and_shows_every_picture(open_page, report):
    page = open_page("about:blank")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri())
    assert [address for address in asked if not address.startswith("data:")] == [report.as_uri()]
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert page.evaluate(SHIFT) < 0.01
    assert page.evaluate(TIMES) < 10_000  # far above what it takes, for busy machines


def test_the_first_screen_answers_and_shows(open_page, report):
    page = open_page(report.as_uri(), viewport={"width": 1280, "height": 900})
    below = page.evaluate("[...document.querySelectorAll('.first img')].map(i => i.getBoundingClientRect().bottom)")
    assert len(below) == 2 and max(below) < 900
    assert page.locator(".verdict h2").bounding_box()["y"] < 300
    assert ground_of(page) == LIGHT_THEME["page"]


def test_it_is_dark_where_the_reader_wants_that(open_page, report):
    page = open_page(report.as_uri(), color_scheme="dark")
    assert ground_of(page) == DARK_THEME["page"]
    ink = page.evaluate("getComputedStyle(document.querySelector('.drawing svg text')).fill")
    assert ink == "rgb({}, {}, {})".format(*bytes.fromhex(DARK_THEME["ink"][1:]))


def test_nothing_is_cut_off_on_a_phone(open_page, report):
    page = open_page(report.as_uri(), viewport={"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    widths = page.evaluate("[...document.querySelectorAll('.first img')].map(i => i.getBoundingClientRect().width)")
    assert min(widths) > 300
    sizes = page.evaluate(
        "[...document.querySelectorAll('.drawing text')].map(t => t.getBoundingClientRect().height).filter(h => h > 0)"
    )
    assert np.percentile(sizes, 20) > 7
    starts = """bar => {
      const label = document.createRange();
      label.selectNodeContents(bar);
      return label.getBoundingClientRect().left - bar.parentElement.getBoundingClientRect().left;
    }"""
    assert min(page.evaluate(f"[...document.querySelectorAll('.bar')].map({starts})")) > 0


def test_print_unfolds_the_details(open_page, report):
    page = open_page(report.as_uri())
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb({}, {}, {})".format(
        *bytes.fromhex(LIGHT_THEME["ink"][1:])
    )
    tables = "[...document.querySelectorAll('details table')].map(t => t.getBoundingClientRect().height)"
    heights = page.evaluate(tables)
    assert heights and min(heights) > 0
    assert len(page.pdf(format="A4")) > 10_000
