"""The report stands alone, says what it knows, and escapes what it is given; figures draw in every case."""

import base64
import dataclasses
from html.parser import HTMLParser

import numpy as np
import pytest

from ptypinn.config.simulate import SimulateConfig
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.evaluate import evaluate
from ptypinn.report.curves import convergence_figure, frc_figure
from ptypinn.report.figures import comparison_figure, object_figure, probe_figure
from ptypinn.report.report import render_report, write_report
from ptypinn.report.style import metres, png_bytes, robust_limits, scale_bar_of
from ptypinn.report.words import HEADLINE, WORDS
from ptypinn.simulate import simulate

VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """Collects tags, addresses and text, and checks that elements nest."""

    def __init__(self, text):
        super().__init__()
        self.open, self.addresses, self.tags, self.text = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def scan():
    return simulate(SimulateConfig(object_size=(110, 120), overlap=0.4, mode_fractions=(0.8, 0.2), photons=1e5))


@pytest.fixture(scope="module")
def recon(scan):
    illumination = np.zeros(scan.truth.shape, np.float32)
    for y, x in np.round(scan.positions_px).astype(int):
        illumination[y : y + scan.size, x : x + scan.size] += (np.abs(scan.probe) ** 2).sum(0)
    return Reconstruction(
        (0.9 * scan.truth).astype(np.complex64),
        illumination,
        scan.probe,
        scan.positions_px,
        pixel_size_m=scan.pixel_size_m,
        scale=[
            {"stage": "merge", "expected": 4.0, "measured": 3.0, "source": "test"},
            {"stage": "grouping", "expected": 4.0, "measured": 4.0, "source": "beside", "on_path": False},
            {"stage": "of another make", "expected": None},
        ],
        history={"loss": [3.0, 2.0, 0.1], "held_out_loss": [3.0, 2.2, 1.0], "step": [1.0, 1.0, 1.0]},
        provenance={"config": {"note": "<script>alert(1)</script>"}, "seed": 7},
    )


def test_the_report_is_one_file_without_outside_addresses(recon, scan, tmp_path):
    path = write_report(recon, tmp_path / "report.html", evaluate(recon, scan), scan, "ptypinn refine a & b")
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert len(page.addresses) == page.tags.count("img") == 9
    for address in page.addresses:
        kind, _, content = address.partition(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(content, validate=True).startswith(b"\x89PNG")
    assert "http" not in "".join(piece for piece in text.split("data:image/png")[0])
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert list(tmp_path.iterdir()) == [path]


def test_the_report_tells_figures_warnings_ledger_and_origin(recon, scan):
    result = evaluate(recon, scan)
    page = Page(render_report(recon, result, scan, "ptypinn refine a & b"))
    text = " ".join(" ".join(page.text).split())
    for name, value in result.metrics.items():
        shown = f"{value:.0f}" if value.is_integer() else f"{value:.4g}"
        assert name in text and WORDS[name].label in text and shown in text
    assert "The amplitude scale is off" in text
    assert "ptypinn refine a & b" in text
    assert "0.7500" in text and "(grouping)" in text and "of another make" not in text
    assert "What to do about merge" in text
    assert '"seed": 7' in text and "<script>" in text


def test_a_reconstruction_alone_still_makes_a_report(recon):
    bare = dataclasses.replace(
        recon, scale=[], history={}, provenance={}, pixel_size_m=None, metrics={"flux_closure": 0.5}
    )
    page = Page(render_report(bare))
    text = " ".join(page.text)
    assert page.tags.count("img") == 3
    assert "Flux closure" in text
    assert "Scale ledger" not in text
    assert "No check raised" not in text


def test_prediction_scaling_is_told_on_the_page_and_in_the_titles_of_pictures(recon, scan):
    scaled = dataclasses.replace(recon, prediction_scale={"source": "least_squares", "factor": 1.25})
    note = "amplitude scaled by 1.25 (least squares)"
    page = Page(render_report(scaled))
    assert note in page.text
    assert object_figure(scaled).get_suptitle() == note
    assert object_figure(scaled, "star").get_suptitle() == f"star, {note}"
    comparison = evaluate(scaled, scan).comparison
    assert note in comparison_figure(comparison, None, scaled.scale_note).get_suptitle()
    assert note not in " ".join(Page(render_report(recon)).text)
    assert object_figure(recon).get_suptitle() == ""


def test_a_failed_write_keeps_the_old_report(recon, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_report(recon, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_every_public_figure_has_words():
    assert set(HEADLINE) <= set(WORDS)
    assert all(word.label and word.meaning.endswith(".") for word in WORDS.values())


@pytest.mark.parametrize("modes", [1, 3, 7])
def test_probes_with_any_number_of_modes_draw(recon, modes):
    probe = np.repeat(recon.probe[:1], modes, axis=0)
    assert png_bytes(probe_figure(dataclasses.replace(recon, probe=probe)), 30).startswith(b"\x89PNG")


@pytest.mark.parametrize("field", [np.ones, np.zeros])
def test_uniform_and_unlit_objects_draw(recon, field):
    flat = dataclasses.replace(recon, object=field(recon.object.shape, np.complex64))
    unlit = dataclasses.replace(flat, illumination=np.zeros_like(recon.illumination))
    for case in (flat, unlit):
        assert png_bytes(object_figure(case), 30).startswith(b"\x89PNG")


def test_curves_draw_with_gaps_and_at_the_limit(recon, scan):
    history = {"loss": [float("nan"), 2.0, 1.0], "other": [float("nan")] * 3, "third": [-1.0, 0.0, 1.0]}
    png_bytes(convergence_figure(history), 30)
    png_bytes(convergence_figure({}), 30)
    result = evaluate(recon, scan)
    assert result.frc.half_bit_reaches_nyquist
    png_bytes(frc_figure(result.frc), 30)


@pytest.mark.parametrize(
    ("width", "pixel"), [(10, None), (64, None), (3000, None), (200, 29e-9), (777, 1.3e-11), (50, 1e-3)]
)
def test_scale_bars_are_round_and_fit(width, pixel):
    length, label = scale_bar_of(width, pixel)
    assert 0.09 * width <= length <= 0.31 * width
    assert label.split()[0].lstrip("0.").rstrip("0") in ("1", "2", "5")


def test_lengths_take_the_prefix_that_suits_them():
    assert [metres(x) for x in (2e-6, 1e-9, 4.5e-11, 0.02)] == ["2 µm", "1 nm", "45 pm", "20 mm"]


def test_limits_ignore_gaps_and_never_coincide():
    assert robust_limits(np.full((3, 3), np.nan)) == (0.0, 1.0)
    low, high = robust_limits(np.array([[2.0, 2.0], [2.0, np.nan]]))
    assert low < 2 < high
