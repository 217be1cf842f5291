"""The pages in a real browser: what is drawn changes with every control, by mouse, finger and key."""

import base64
import io
import json
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ptypinn.io.provenance import file_hash
from ptypinn.io.reconstruction_file import Snapshots
from ptypinn.runs.folder import SNAPSHOT

COMPLETE = "#view[data-drawn=complete]"
SMALL = {"width": 900, "height": 600}
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True, "is_mobile": True}

READ_CANVAS = """() => {
  const canvas = document.querySelector("#view canvas");
  const size = { width: Math.round(canvas.width / 3), height: Math.round(canvas.height / 3) };
  const small = Object.assign(document.createElement("canvas"), size);
  const context = small.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(canvas, 0, 0, size.width, size.height);
  return small.toDataURL().split(",")[1];
}"""


def until(page, expression):
    """Wait until a JavaScript expression holds; polled from outside, since the page's policy forbids `eval`."""
    deadline = time.monotonic() + 15
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"never: {expression}"
        page.wait_for_timeout(50)


def wait_for_text(page, selector, text):
    """Wait until an element contains a text."""
    until(page, f"document.querySelector({json.dumps(selector)}).textContent.includes({json.dumps(text)})")


class Canvas:
    """The canvas of a page, and the mouse over it."""

    def __init__(self, page):
        self.page = page
        page.wait_for_selector(COMPLETE)
        self.box = page.locator("#view").bounding_box()

    def pixels(self):
        """Every third pixel of the canvas."""
        encoded = self.page.evaluate(READ_CANVAS)
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGBA")).astype(int)

    def settled(self):
        """The canvas once everything has arrived and nothing changes any more."""
        last, deadline = None, time.monotonic() + 15
        while time.monotonic() < deadline:
            self.page.wait_for_selector(COMPLETE)
            now = self.pixels()
            if last is not None and np.array_equal(now, last):
                return now
            last = now
            self.page.wait_for_timeout(60)
        raise AssertionError("the canvas does not come to rest")

    def changes(self, act, fraction=0.05):
        """Return True if an action changes more than a fraction of the canvas."""
        before = self.settled()
        act()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            after = self.settled()
            if (np.abs(after - before).max(axis=-1) > 8).mean() > fraction:
                return True
        return False

    def at(self, x, y):
        """A point of the view by fractions of its size, on the page."""
        return self.box["x"] + x * self.box["width"], self.box["y"] + y * self.box["height"]

    def drag(self, start, end):
        mouse = self.page.mouse
        mouse.move(*self.at(*start))
        mouse.down()
        mouse.move(*self.at(*end), steps=6)
        mouse.up()


@pytest.fixture
def run_page(viewer, open_page):
    def open_run(name="good", **options):
        page = open_page(viewer.address(f"/run/{viewer.ids[name]}"), **{"viewport": SMALL, **options})
        return page, Canvas(page)

    return open_run


def choose(page, layer):
    page.locator(f"input[name=layer][value={layer}]").check(force=True)


def test_a_run_is_drawn_and_every_layer_looks_different(run_page):
    page, canvas = run_page()
    assert page.inner_text("h1") == "good"
    assert page.inner_text("#badge") == "no warning"
    first = canvas.settled()
    assert len(np.unique(first.reshape(-1, 4), axis=0)) > 100
    for layer in ("phase", "complex", "illumination", "amplitude"):
        assert canvas.changes(lambda layer=layer: choose(page, layer)), layer
    np.testing.assert_array_equal(canvas.settled(), first)


def test_limits_and_maps_change_colours(run_page):
    page, canvas = run_page()
    low, high = page.locator("[data-limits=low]"), page.locator("[data-limits=high]")
    default_high = high.input_value()
    assert canvas.changes(lambda: (high.fill("3"), high.press("Enter")))
    assert canvas.changes(lambda: page.select_option("[data-limits=map]", "gray"))
    gray = canvas.settled()
    middle = gray[80:110, 80:110]
    assert np.abs(middle[..., 0] - middle[..., 2]).max() == 0
    handle = page.locator("[data-limits=low-handle]")
    before = float(low.input_value())
    assert canvas.changes(lambda: [handle.press("Shift+ArrowRight") for _ in range(3)])
    assert float(low.input_value()) > before
    page.click("[data-limits=default]")
    canvas.settled()
    box = page.locator("[data-limits=high-handle]").bounding_box()

    def drag_handle():
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 20)
        page.mouse.down()
        page.mouse.move(box["x"] - 60, box["y"] + 20, steps=5)
        page.mouse.up()

    assert canvas.changes(drag_handle)
    page.click("[data-limits=default]")
    assert high.input_value() == default_high
    high.fill("-5")  # below the lower one: refused, and the field says what holds
    high.press("Enter")
    assert high.input_value() == default_high


def test_zoom_and_pan_by_mouse_and_keys(run_page):
    page, canvas = run_page()
    home = canvas.settled()
    page.mouse.move(*canvas.at(0.5, 0.5))
    assert canvas.changes(lambda: page.mouse.wheel(0, -240))
    assert canvas.changes(lambda: canvas.drag((0.5, 0.5), (0.3, 0.6)))
    assert canvas.changes(lambda: page.click("#fit"))
    np.testing.assert_array_equal(canvas.settled(), home)
    page.focus("#view")
    for key in ("+", "ArrowLeft", "ArrowDown", "-"):
        assert canvas.changes(lambda key=key: page.keyboard.press(key)), key
    page.keyboard.press("0")
    assert not (canvas.settled() != home).any()
    for _ in range(20):
        page.keyboard.press("+")
    squares = canvas.settled()  # single pixels, each of one colour
    assert len(np.unique(squares.reshape(-1, 4), axis=0)) < 200


def test_every_button_and_key_does_something(run_page):
    page, canvas = run_page()
    wait_for_text(page, "[data-pattern=description]", "400 positions")
    assert canvas.changes(lambda: page.click("#zoom-in"))
    assert canvas.changes(lambda: page.click("#zoom-out"))
    page.click("#fit")
    assert canvas.changes(lambda: page.check("#weak"), fraction=0.01)
    page.focus("#view")
    page.keyboard.press("1")
    one_to_one = canvas.settled()
    page.click("#fit")
    assert canvas.changes(lambda: page.click("#true-size"))
    np.testing.assert_array_equal(canvas.settled(), one_to_one)
    page.focus("#view")
    for key in ("P", "Enter", "n", "B"):
        assert canvas.changes(lambda key=key: page.keyboard.press(key), fraction=0.001), key
    script = "document.querySelector('[data-pattern=description]').textContent"
    before = page.evaluate(script)
    page.click("[data-pattern=previous]")
    until(page, f"{script} !== {json.dumps(before)}")
    assert canvas.changes(
        lambda: page.keyboard.press("l") or page.focus("#view") or page.keyboard.press("l"), fraction=0.002
    )
    assert canvas.changes(lambda: page.keyboard.press("Escape"), fraction=0.002)
    assert not page.locator("#profile").is_visible()


def test_the_value_under_the_pointer_is_told_in_units(run_page, recon):
    page, canvas = run_page()
    page.mouse.move(*canvas.at(0.5, 0.5))
    wait_for_text(page, "#readout", "rad")
    text = page.inner_text("#readout")
    y, x = int(text.split("y ")[1].split(",")[0]), int(text.split("x ")[1].split(" ")[0])
    assert f"amplitude {abs(recon.object[y, x]):.4g}"[:14] in text
    assert "µm" in text


def test_a_click_shows_the_patterns_of_the_position(run_page):
    page, canvas = run_page()
    wait_for_text(page, "[data-pattern=description]", "400 positions")
    assert canvas.changes(lambda: page.check("#positions"), fraction=0.01)
    page.mouse.click(*canvas.at(0.5, 0.5))
    page.wait_for_selector("[data-pattern=figures] dd")
    assert "Photons measured" in page.inner_text("[data-pattern=figures]")
    for kind in ("measured", "predicted", "difference"):
        until(page, f"document.querySelector('[data-kind={kind}] img').naturalWidth === 32")
    first = page.inner_text("[data-pattern=description]")
    page.click("[data-pattern=next]")
    until(page, f"document.querySelector('[data-pattern=description]').textContent !== {json.dumps(first)}")
    page.click("[data-kind=measured] button")
    width = page.locator("[data-kind=measured] img").bounding_box()["width"]
    assert width > 250


def test_a_run_without_its_scan_says_so(run_page):
    page, canvas = run_page("lost")
    wait_for_text(page, "[data-pattern=description]", "gone.h5")
    page.mouse.click(*canvas.at(0.5, 0.5))
    until(page, "document.querySelector('[data-kind=predicted] img').naturalWidth === 32")
    assert not page.locator("[data-kind=measured]").is_visible()


def test_a_line_gives_a_profile(run_page):
    page, canvas = run_page()
    page.click("#line")
    canvas.drag((0.3, 0.4), (0.7, 0.6))
    page.wait_for_selector("#profile:not([hidden]) canvas")
    assert "µm" in page.inner_text("#profile output")
    page.hover("#profile canvas >> nth=0", position={"x": 150, "y": 60})
    assert "amplitude" in page.inner_text("#profile output")
    assert page.locator("#profile canvas:visible").count() == 1
    choose(page, "complex")
    until(page, "document.querySelectorAll('#profile canvas:not([hidden])').length === 2")
    page.click("#clear-line")
    assert not page.locator("#profile").is_visible()
    page.focus("#view")
    page.keyboard.press("l")
    page.wait_for_selector("#profile:not([hidden])")


def test_a_swipe_compares_two_runs(run_page, viewer):
    page, canvas = run_page()
    alone = canvas.settled()
    assert canvas.changes(lambda: page.select_option("#other-run", viewer.ids["deep/dim"]))
    both = canvas.settled()
    half = both.shape[1] // 2
    differs = np.abs(both - alone).max(axis=-1) > 8
    assert differs[:, : half - 8].mean() < 0.01  # one run left of the edge, the other right of it
    assert differs[:, half + 8 :].mean() > 0.2
    assert canvas.changes(lambda: canvas.drag((0.5, 0.2), (0.8, 0.2)))
    page.focus("#swipe")
    assert canvas.changes(lambda: page.keyboard.press("Home"))
    assert page.get_attribute("#swipe", "aria-valuenow") == "0"
    assert canvas.changes(lambda: page.keyboard.press("End"))
    np.testing.assert_array_equal(canvas.settled(), alone)
    assert f"with={viewer.ids['deep/dim']}" in page.url
    assert page.inner_text("#right-name") == "deep/dim"
    assert canvas.changes(lambda: page.keyboard.press("Home"))
    assert canvas.changes(lambda: page.select_option("#other-run", ""))
    assert not page.locator("#swipe").is_visible()


def test_two_runs_are_compared_in_one_phase_and_subtracted(run_page, viewer):
    page, canvas = run_page()
    choose(page, "phase")
    alone = canvas.settled()
    page.select_option("#other-run", viewer.ids["deep/dim"])
    wait_for_text(page, "#alignment", "-0.02 (across) rad per pixel")
    both = canvas.settled()
    half = both.shape[1] // 2
    assert (np.abs(both - alone).max(axis=-1) > 30)[:-40, half + 8 :].mean() < 0.01  # neither offset nor ramp is left
    assert canvas.changes(lambda: choose(page, "difference"), fraction=0.2)
    assert not page.locator("#swipe").is_visible()
    page.mouse.move(*canvas.at(0.5, 0.5))
    wait_for_text(page, "#readout", "modulus of the difference")
    assert canvas.changes(lambda: choose(page, "phase_difference"), fraction=0.2)
    page.focus("#view")
    page.keyboard.press("l")
    page.wait_for_selector("#profile:not([hidden])")
    wait_for_text(page, "#profile output", "dashed: deep/dim")
    page.mouse.click(*canvas.at(0.5, 0.4))
    page.wait_for_selector("[data-pattern=figures] dd")
    assert canvas.changes(lambda: page.select_option("#other-run", ""), fraction=0.2)  # back to a layer of one run
    assert not page.locator("input[value=difference] + span").is_visible()


def test_runs_of_other_pixels_lie_beside_each_other_and_are_not_subtracted(run_page, viewer):
    page, canvas = run_page()
    assert canvas.changes(lambda: page.select_option("#other-run", viewer.ids["alone.h5"]))
    wait_for_text(page, "#alignment", "20 nm and 30 nm")
    assert page.locator("#swipe").is_visible()
    assert not page.locator("input[value=difference] + span").is_visible()


def test_a_run_in_progress_is_followed(run_page, viewer, home, scan, recon):
    (home / "live" / "log.txt").touch()  # the run counts as silent after ten minutes, however slow these tests are
    page, canvas = run_page("live")
    assert page.inner_text("#badge") == "in progress"
    assert "refine 40 of 40" in page.inner_text("[data-run=progress-text]")
    wait_for_text(page, "[data-pattern=description]", "positions")
    before = canvas.settled()
    page.mouse.click(*canvas.at(0.5, 0.5))
    page.wait_for_selector("[data-pattern=figures] dd")
    position, pattern = (
        page.inner_text("[data-pattern=description]"),
        page.get_attribute("[data-kind=predicted] img", "src"),
    )
    assert page.locator("[data-kind=measured]").is_visible()
    before = canvas.settled()
    record = {"file": "scan.h5", "sha256": file_hash(home.parent / "scan.h5")}
    turned = replace(recon, object=scan.truth[::-1, ::-1].copy(), provenance={"scan": record})
    Snapshots(home / "live" / SNAPSHOT, home.parent / "scan.h5")(lambda: turned)
    deadline = time.monotonic() + 15
    while np.array_equal(canvas.settled(), before):
        assert time.monotonic() < deadline, "the page has not followed"
    until(page, f"document.querySelector('[data-kind=predicted] img').getAttribute('src') !== {json.dumps(pattern)}")
    assert page.inner_text("[data-pattern=description]") == position  # the selected position stays
    log = home / "live" / "log.txt"
    text = log.read_text()
    try:
        log.write_text(text + "a new line\n")
        wait_for_text(page, "[data-run=log]", "a new line")
    finally:  # other tests read the same runs
        log.write_text(text)


def test_the_list_shows_and_filters_runs_and_compares_two(viewer, open_page, home):
    (home / "live" / "log.txt").touch()
    page = open_page(viewer.address())
    page.wait_for_selector("li.card")
    assert page.locator("li.card").count() == 5
    until(page, "[...document.images].every((image) => image.naturalWidth > 0)")
    text = page.inner_text("#runs")
    assert "no warning" in text and "1 warning" in text and "in progress" in text and "20" in text
    page.fill("#filter", "dim")
    assert page.locator("li.card").count() == 1
    page.fill("#filter", "")
    for name in ("good", "deep/dim"):
        page.locator("li.card", has=page.locator("a", has_text=name)).locator("input").check()
    page.click("#compare")
    page.wait_for_selector("#swipe:not([hidden])")
    page.click("header a")
    page.wait_for_selector("li.card")


def test_a_finger_pans_and_taps_on_a_phone_and_nothing_overflows(run_page):
    page, canvas = run_page(**PHONE)
    wait_for_text(page, "[data-pattern=description]", "positions")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.touchscreen.tap(*canvas.at(0.5, 0.5))
    page.wait_for_selector("[data-pattern=figures] dd")
    view = page.locator("#view")

    def pinch():
        for kind, gap in (("pointerdown", 40), ("pointermove", 120)):
            for number, side in ((1, -1), (2, 1)):
                x, y = canvas.at(0.5, 0.5)
                view.dispatch_event(kind, {"pointerId": number, "clientX": x + side * gap, "clientY": y, "button": 0})
        for number in (1, 2):
            view.dispatch_event("pointerup", {"pointerId": number})

    finger = page.context.new_cdp_session(page)

    def pan():
        for kind, step in (("touchStart", 0), ("touchMove", 40), ("touchMove", 80), ("touchEnd", None)):
            x, y = canvas.at(0.5, 0.5)
            points = [] if step is None else [{"x": x + step, "y": y + step / 2}]
            finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    assert canvas.changes(pan)
    assert page.evaluate("scrollY") == 0  # the finger has moved the object, not the page
    page.evaluate("document.querySelector('#view').setPointerCapture = () => {}")
    assert canvas.changes(pinch)


def test_colours_follow_a_dark_page(run_page):
    shades = {}
    for scheme in ("light", "dark"):
        page, _ = run_page(color_scheme=scheme)
        shades[scheme] = page.evaluate("getComputedStyle(document.querySelector('.panel')).backgroundColor")
    assert shades["light"] != shades["dark"]
