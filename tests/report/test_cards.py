"""Cards of notebooks: well-formed for every shape, in words too, escaped, cheap, and never an error."""

from __future__ import annotations

import dataclasses
import html
import re

import html5lib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError

SIZES = st.integers(1, 40)
PIXELS = st.none() | st.floats(1e-12, 1e-6)


class Watched:
    """Counts on a disk that remembers what was asked of it."""

    def __init__(self, n_patterns: int, size: int, error: Exception | None = None) -> None:
        self.shape, self.dtype = (n_patterns, size, size), np.dtype(np.uint16)
        self.read: list[int] = []
        self.error = error

    def __getitem__(self, key) -> np.ndarray:
        if self.error is not None:
            raise self.error
        wanted = np.arange(self.shape[0])[key]
        self.read += np.atleast_1d(wanted).tolist()
        return np.ones((len(wanted), *self.shape[1:]), self.dtype)


def a_scan(counts, **fields) -> ScanData:
    positions = np.stack(np.unravel_index(np.arange(counts.shape[0]), (counts.shape[0], 1)), axis=1)
    return ScanData(counts, positions.astype(np.float64), **fields)


def an_object(height, width, seed=0, **fields) -> Reconstruction:
    rng = np.random.default_rng(seed)
    field = (rng.normal(size=(height, width)) + 1j * rng.normal(size=(height, width))).astype(np.complex64)
    illumination = rng.uniform(0, 5, (height, width)).astype(np.float32)
    return Reconstruction(field, illumination, np.ones((1, 2, 2), np.complex64), np.zeros((3, 2)), **fields)


def parsed(text):
    return html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parseFragment(text)


def is_a_card(text: str) -> bool:
    tree = parsed(text)
    for picture in tree.iter("img"):
        assert picture.get("src").startswith("data:image/png;base64,") and picture.get("alt").endswith(".")
    assert "<script" not in text and "http" not in text and " on" not in re.sub(r">[^<]*<", "><", text)
    return 'class="ptypinn-card"' in text


@settings(max_examples=15)
@given(SIZES, SIZES, PIXELS, st.sampled_from(["noise", "dark", "nan", "flat"]))
def test_objects_of_every_shape_have_a_card_and_a_line(height, width, pixel, kind):
    recon = an_object(height, width, pixel_size_m=pixel)
    if kind == "dark":
        recon = dataclasses.replace(recon, illumination=np.zeros_like(recon.illumination))
    elif kind != "noise":
        value = np.nan if kind == "nan" else 1
        recon = dataclasses.replace(recon, object=np.full_like(recon.object, value))
    assert is_a_card(recon._repr_html_())
    assert f"object {height} x {width}" in repr(recon) and "\n" not in repr(recon)


@settings(max_examples=10)
@given(st.integers(1, 30), st.sampled_from([8, 10, 32]), PIXELS, st.booleans())
def test_scans_of_every_shape_have_a_card_and_a_line(n_patterns, size, pixel, with_probe):
    probe = np.ones((2, size, size), np.complex64) if with_probe else None
    scan = a_scan(np.ones((n_patterns, size, size), np.uint16), pixel_size_m=pixel, probe=probe)
    text = scan._repr_html_()
    assert is_a_card(text)
    assert len(list(parsed(text).iter("img"))) == 1 + with_probe
    assert f"{n_patterns} patterns of {size} x {size} uint16" in repr(scan) and "\n" not in repr(scan)


def test_a_card_reads_one_pattern_and_a_line_none():
    counts = Watched(20_000, 32)
    scan = a_scan(counts)
    assert "20000 patterns of 32 x 32 uint16 on disk" in repr(scan)
    assert counts.read == []
    text = scan._repr_html_()
    assert counts.read == [10_000]
    assert len(text) < 30_000


def test_large_objects_are_drawn_from_few_of_their_pixels():
    small, large = an_object(600, 600, pixel_size_m=1e-9), an_object(2400, 2400, pixel_size_m=1e-9)
    assert len(large._repr_html_()) < 1.2 * len(small._repr_html_()) < 250_000
    bars = [re.search(r'width: ([\d.]+)%">(\d+) nm', recon._repr_html_()) for recon in (small, large)]
    lengths = [float(bar[2]) / float(bar[1]) for bar in bars]
    assert lengths[1] / lengths[0] == pytest.approx(4, rel=0.02)


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a&b<i>"])
def test_names_from_files_are_text(hostile):
    scan = a_scan(np.ones((4, 8, 8), np.uint16), provenance={"file": f"/data\\{hostile.replace('/', '')}"})
    text = scan._repr_html_()
    assert is_a_card(text)
    name = scan.provenance["file"].rpartition("/")[2]
    assert name in "".join(parsed(text).itertext()) and name not in text
    broken = a_scan(Watched(3, 8, InputError(hostile, "counts", "x", "y")))
    assert hostile in "".join(parsed(broken._repr_html_()).itertext()) and hostile not in broken._repr_html_()


def test_a_file_that_is_gone_costs_the_picture_alone():
    text = a_scan(Watched(3, 8, InputError("scan.h5", "file", "nothing", "a file")))._repr_html_()
    assert is_a_card(text)
    assert "Pattern 1 cannot be read: scan.h5: file: found nothing" in text


def test_what_cannot_be_drawn_is_described_in_a_line(monkeypatch):
    recon = an_object(8, 8)

    def fail(_):
        raise RuntimeError("no picture")

    monkeypatch.setattr("ptypinn.report.html.cards._object_panels", fail)
    assert recon._repr_html_() == f"<pre>{html.escape(repr(recon))}</pre>"


def test_facts_are_on_the_card(scan, recon):
    words = " ".join(" ".join(parsed(scan._repr_html_()).itertext()).split())
    assert "8.8 keV photons" in words and "2 modes (calibrated)" in words and "110 x 120 px" in words
    measured = dataclasses.replace(recon, metrics={"flux_closure": 0.98765, "residual_over_noise": float("nan")})
    words = " ".join(" ".join(parsed(measured._repr_html_()).itertext()).split())
    assert "flux_closure 0.9877" in words and "110 x 120 px" in words
    scaled = dataclasses.replace(recon, prediction_scale={"source": "flux", "factor": 1.25})
    assert "amplitude scaled by 1.25" in scaled._repr_html_()


@pytest.mark.parametrize("shape", [(1, 1), (3, 60), (50, 40)])
def test_a_plot_is_a_figure_of_amplitude_and_phase(shape):
    figure = an_object(*shape).plot("sample")
    assert figure.get_suptitle() == "sample"
    assert [axes.get_title() for axes in figure.axes if axes.images] == ["Amplitude", "Phase"]


def test_notebooks_show_a_plot_without_pyplot():
    assert an_object(8, 8).plot()._repr_png_().startswith(b"\x89PNG")


def test_scale_bars_are_in_metres_or_in_pixels():
    for pixel, unit in ((1e-8, "nm"), (None, "px")):
        figure = an_object(50, 50, pixel_size_m=pixel).plot()
        assert all(axes.texts[0].get_text().endswith(unit) for axes in figure.axes if axes.images)


def test_cards_follow_the_notebook_in_a_browser(scan, recon, open_page, tmp_path):
    body = scan._repr_html_() + recon._repr_html_()
    for name, colour in (("light", "rgb(0, 0, 0)"), ("dark", "rgb(230, 230, 230)")):
        path = tmp_path / f"{name}.html"
        page = f"<!doctype html><meta charset=utf-8><link rel=icon href=data:,><body style='color: {colour}'>{body}"
        path.write_text(page, encoding="utf-8")
        shown = open_page(path.as_uri(), viewport={"width": 375, "height": 800})
        assert shown.evaluate("getComputedStyle(document.querySelector('.ptypinn-card dd')).color") == colour
        assert shown.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
        assert shown.evaluate("document.documentElement.scrollWidth") <= 375
