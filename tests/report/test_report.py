"""The report stands alone, is sound HTML, states what is absent and why, and its numbers are right."""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import re
from xml.etree.ElementTree import Element

import numpy as np
import pytest

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.report.html.report import render_report, write_report
from ptypinn.report.text.experiment import experiment_sentences
from ptypinn.report.text.metric_labels import KEY_METRICS, METRIC_LABELS
from ptypinn.stages.evaluate import Evaluation, evaluate
from ptypinn.utils.plain_values import to_plain

SECTIONS = (
    *("uncertainty", "experiment", "comparison", "resolution", "patterns", "probe", "dose", "convergence", "scale"),
    *("metrics", "provenance"),
)
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def result(recon, scan):
    return evaluate(recon, scan)


@pytest.fixture(scope="module")
def page(recon, scan, result, run, read):
    return read(render_report(recon, result, scan, run))


@pytest.fixture(scope="module")
def bare(recon):
    """A reconstruction with the required fields only."""
    return Reconstruction(recon.object, recon.illumination, recon.probe[:1], recon.positions_px)


def test_the_report_is_one_file_without_outside_addresses(page, recon, scan, result, run, tmp_path):
    path = write_report(recon, tmp_path / "report.html", result, scan, run)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text(encoding="utf-8") == page.text
    assert not {"script", "link", "iframe", "object", "embed"} & {element.tag for element in page.tree.iter()}
    assert "http" not in re.sub(r"data:image/png;base64,[\w+/=]+", "", page.text)
    for element in page.tree.iter():
        for name, address in element.items():
            if name in ("src", "href", "action", "poster", "srcset"):
                assert address.startswith(("data:image/png;base64,", "#")), address
    assert not re.search(r"@import|url\((?!#)", page.text)


def test_panels_are_sound_sized_and_described_in_words(page):
    pictures = page.all("img")
    assert len(pictures) == 2 + 3 + 6 + 9 + 4 + 2  # object, maps, comparison, patterns, probe, illumination
    for picture in pictures:
        content = base64.b64decode(picture.get("src").partition(",")[2], validate=True)
        assert content.startswith(b"\x89PNG")
        assert int(picture.get("width")) > 0 and int(picture.get("height")) > 0
        assert len(picture.get("alt").split()) > 6
    assert len({picture.get("alt") for picture in pictures}) == len(pictures)
    drawings = [element for element in page.all("div") if element.get("role") == "img"]
    assert drawings and all(len(drawing.get("aria-label").split()) > 5 for drawing in drawings)


def test_the_structure_is_that_of_a_document(page):
    names = [element.get("id") for element in page.tree.iter() if element.get("id")]
    assert len(names) == len(set(names))
    for link in (element.get("href") for element in page.all("a")):
        assert link[1:] in names
    for section in page.all("section"):
        assert section.get("aria-labelledby") in names
        assert section.find("h2") is not None
    assert len(page.all("h1")) == len(page.all("main")) == 1
    assert page.tree.get("lang") == "en"
    for table in page.all("table"):
        assert table.find("caption") is not None
        heads = list(table.iter("th"))
        assert heads and {head.get("scope") for head in heads} == {"row", "col"}


def test_every_section_of_a_full_run_is_there_with_something_to_show(page):
    for key in SECTIONS:
        section = page.section(key)
        assert section is not None, key
        assert section.get("class") != "absent", key
        assert "Not shown" not in page.words(section)


def test_sections_that_lack_data_say_why(bare, read):
    page = read(render_report(bare))
    reasons = {
        "experiment": "No departure",
        "comparison": "it was not evaluated",
        "resolution": "two halves",
        "patterns": "the patterns were not at hand",
        "convergence": "no values of single iterations",
        "scale": "no scale ledger",
        "metrics": "nothing was measured",
    }
    for key, reason in reasons.items():
        assert page.section(key).get("class") == "absent"
        assert reason in page.words(page.section(key))
    assert "residual over the positions is not shown" in page.words(page.section("uncertainty"))
    assert "uncertainty of single pixels is not shown" in page.words(page.section("uncertainty"))
    assert "no command line on record" in page.words(page.section("provenance"))
    assert "unknown size" in page.words() and " px" in page.words()
    assert len(page.all("img")) == 2 + 2 + 1
    assert "Undecided" in page.words()


def test_departures_of_the_experiment_have_their_size_and_their_course(page, recon, read):
    words = page.words(page.section("experiment"))
    assert "varies by 7 % from frame to frame" in words
    assert "from 3 to 1.05 times counting noise" in words
    assert "1.04 detector pixels beside the zero frequency, at row 32 and column 33" in words
    flux = 1 + 0.1 * np.sin(np.arange(len(recon.positions_px)))
    for terms in ({"flux": flux}, {"beam_px": np.stack([flux, -flux], 1)}):
        section = read(render_report(dataclasses.replace(recon, **terms))).section("experiment")
        assert len(list(section.iter(f"{SVG}svg"))) == 1 + len(list(page.section("experiment").iter(f"{SVG}svg")))


@pytest.mark.parametrize(
    "record", [{}, {"flux": 3}, {"flux": {"size": "large"}, "beam_offset_px": [1.0]}, "text", None]
)
def test_records_of_another_form_are_no_departures(recon, record):
    assert experiment_sentences(dataclasses.replace(recon, provenance={"experiment": record})) == []


def test_a_term_that_explains_little_is_said_to_be_left_out(recon):
    term = {"size": 0.04, "misfit_before": 8.7, "misfit_after": 8.5, "corrected": False}
    (sentence,) = experiment_sentences(dataclasses.replace(recon, provenance={"experiment": {"flux": term}}))
    assert "not taken in" in sentence


def test_a_background_has_its_size_its_limit_and_its_picture(page, recon, read):
    term = {"size": 0.12, "misfit_before": 2.4, "misfit_after": 1.0, "corrected": True}
    background = np.full(recon.probe.shape[-2:], 3.0, np.float32)
    changed = dataclasses.replace(recon, background=background, provenance={"experiment": {"background": term}})
    section = read(render_report(changed)).section("experiment")
    words = "".join(section.itertext())
    assert "12 % of the photons" in words
    assert "known to about 20 %" in words
    assert len(list(section.iter("img"))) == 1
    (left_out,) = experiment_sentences(
        dataclasses.replace(recon, provenance={"experiment": {"background": {**term, "corrected": False}}})
    )
    assert "not taken in" in left_out
    measured = {"scan": {"dark": {"from": "dark.npy", "photons_per_frame": 1234.5}}}
    (sentence,) = experiment_sentences(dataclasses.replace(changed, provenance=measured))
    assert "1234 photons per frame" in sentence


def test_reports_of_electron_scans_speak_of_electrons(recon, read):
    term = {"size": 0.12, "misfit_before": 2.4, "misfit_after": 1.0, "corrected": True}
    names = ("background", "flux", "probe_variation", "modes")
    terms = [{name: {**term, "corrected": corrected} for name in names} for corrected in (True, False)]
    scan = {"particle": "electron", "dark": {"from": "dark.npy", "photons_per_frame": 1234.5}}
    background = np.full(recon.probe.shape[-2:], 3.0, np.float32)
    for experiment in terms:
        provenance = {"scan": scan, "experiment": experiment}
        changed = dataclasses.replace(recon, background=background, provenance=provenance)
        page = read(render_report(changed))
        for section in ("experiment", "probe", "uncertainty", "dose"):
            words = "".join(page.section(section).itertext())
            assert "photon" not in words.lower()
        assert "electrons" in "".join(page.section("experiment").itertext())


def test_numbers_are_those_of_the_metrics(page, result):
    rows = [row for row in page.section("metrics").iter("tr") if row.find("td") is not None]
    shown = {"".join(row.find("th").find("small").find("code").itertext()): row.find("td").find("data") for row in rows}
    assert {name for name, value in shown.items() if value is not None} == set(result.metrics)
    for name, value in result.metrics.items():
        assert float(shown[name].get("value")) == value
        assert METRIC_LABELS[name].label in page.words()
        if 1e-4 <= abs(value) < 1e5:
            assert float(shown[name].text) == pytest.approx(value, rel=6e-4)
    tiles = next(element for element in page.all("dl") if element.get("class") == "tiles")
    shown_values = [float(value.get("value")) for value in tiles.iter("data")]
    assert {result.metrics[name] for name in KEY_METRICS if name in result.metrics} <= set(shown_values)


@pytest.mark.parametrize("spoil", [math.nan, math.inf])
def test_what_is_not_finite_is_never_shown(recon, scan, run, read, spoil):
    history = {"loss": [spoil, 2.0, 1.0], "other": [spoil] * 3}
    ledger = [*recon.scale, {"stage": "loading", "expected": 1.0, "measured": None, "source": "test"}]
    object_ = recon.object.copy()
    object_[50:60, 50:60] = spoil
    broken = dataclasses.replace(recon, object=object_, history=history, scale=ledger)
    metrics = {"flux_closure": spoil, "amplitude_residual": 0.5}
    page = read(render_report(broken, Evaluation(metrics), None, {**run, "timings_s": {"refine": spoil}}))
    for section in page.all("section"):
        assert not re.search(r"\bnan\b", page.words(section), re.I), section.get("id")
    assert not re.search(r"\bnan\b", " ".join(str(picture.get("alt")) for picture in page.all("img")), re.I)
    assert 'value="nan"' not in page.text and 'value="inf"' not in page.text


def test_the_page_has_warnings_ledger_and_provenance(page, result, run):
    words = page.words()
    assert f"With care: {len(result.warnings)} checks raise warnings." in words
    assert all(text in words for text in result.warnings) and "The amplitude scale is off" in words
    assert "ptypinn refine 'a & b' --output-dir out" in words
    assert "0.7500" in words and "(grouping)" in words and "of another make" not in words
    assert "What to do about merge" in words
    assert '"seed": 7' in words and "<script>" in words and '"worst": null' in words
    for value in ("ab" * 32, "2020-02-02 10:20 UTC", "python 3.12", "refine 2.50 s", "iterations", "seed 3"):
        assert value in words
    for name, value in run["config"].items():
        assert name in words and str(to_plain(value)).replace("None", "null") in words


def test_the_record_is_json_with_short_lists_on_one_line(page, recon):
    text = "".join(list(page.section("provenance").iter("pre"))[-1].itertext())
    assert json.loads(text) == recon.provenance | {"worst": None, "trust": json.loads(text)["trust"]}
    assert '"config": { "note": "<script>' in text


def test_a_reconstruction_from_a_file_shows_the_metrics_in_it(bare, read):
    page = read(render_report(dataclasses.replace(bare, metrics={"flux_closure": 0.5})))
    assert "Flux closure" in page.words(page.section("metrics"))
    assert "no check raises" not in page.words() and "was not checked" in page.words()


def test_a_good_picture_is_trusted_and_a_doubtful_one_is_not(recon, scan, read):
    good = dataclasses.replace(recon, object=scan.truth, provenance={}, uncertainty=None)
    verdict = read(render_report(good, evaluate(good, scan), scan)).all("section")[0]
    assert verdict.get("class") == "verdict good" and verdict.find("h2").find("small").tail.strip().startswith("Yes")
    blurred = dataclasses.replace(good, object=np.ones_like(scan.truth))
    verdict = read(render_report(blurred, evaluate(blurred, scan), scan)).all("section")[0]
    assert verdict.get("class") == "verdict warn"
    assert len(verdict.findall("ul/li")) == len(evaluate(blurred, scan).warnings) > 1


def test_prediction_scaling_is_stated_on_the_page(recon, read):
    scaled = dataclasses.replace(recon, prediction_scale={"source": "least_squares", "factor": 1.25})
    note = "amplitude scaled by 1.25 (least squares)"
    assert note in read(render_report(scaled)).words()
    assert note not in read(render_report(recon)).words()


@pytest.mark.parametrize("modes", [1, 3, 7])
def test_probes_with_any_number_of_modes_are_listed_in_full(bare, read, modes):
    probe = np.repeat(bare.probe, modes, axis=0) / np.arange(1, modes + 1)[:, None, None].astype(np.float32)
    section = (page := read(render_report(dataclasses.replace(bare, probe=probe)))).section("probe")
    assert len(list(section.iter("img"))) == 2 * min(modes, 5)
    powers = np.sum(np.abs(probe.astype(np.complex128)) ** 2, axis=(1, 2))
    if modes > 1:
        rows = [[float(cell.get("value")) for cell in row.iter("data")] for row in section.iter("tr")][1:]
        np.testing.assert_allclose(rows, np.stack([powers, 100 * powers / powers.sum()], -1), rtol=1e-6)
    assert f"{100 / sum(k**-2 for k in range(1, modes + 1)):.1f} %" in page.words(section)


def test_one_pattern_alone_makes_a_report(recon, scan, read):
    one = scan.subset(np.array([3]))
    alone = dataclasses.replace(recon, positions_px=one.positions_px)
    page = read(render_report(alone, evaluate(alone, one), one))
    assert "none: one position" in page.words(page.section("dose"))
    assert len(list(page.section("patterns").iter("img"))) == 3


@pytest.mark.parametrize("field", [np.ones, np.zeros])
def test_uniform_zero_and_unilluminated_objects_make_reports(bare, read, field):
    flat = dataclasses.replace(bare, object=field(bare.object.shape, np.complex64))
    dim = dataclasses.replace(flat, illumination=np.zeros_like(bare.illumination))
    dark = dataclasses.replace(dim, probe=np.zeros_like(bare.probe))
    for case in (flat, dim, dark):
        assert len(read(render_report(case)).all("img")) == 5


def test_the_page_of_a_large_object_is_small(bare, read):
    edge = 2100
    noise = np.random.default_rng(0).normal(1, 0.1, (edge, edge)).astype(np.complex64)
    illumination = np.full((edge, edge), 100, np.float32)
    text = render_report(
        dataclasses.replace(bare, object=noise, illumination=illumination, uncertainty=illumination / 1e4)
    )
    assert len(text) < 5e6
    assert max(int(picture.get(side)) for picture in read(text).all("img") for side in ("width", "height")) <= 1024
    assert "Each pixel is the mean of 3 " in text


def test_the_outline_of_the_well_illuminated_region_lies_on_the_panels(page):
    hero = next(element for element in page.all("div") if element.get("class") == "first")
    outlines = [path.get("d") for path in hero.iter(f"{SVG}path")]
    assert len(outlines) == 4 and len(set(outlines)) == 1
    numbers = np.array(re.findall(r"[\d.]+", outlines[0]), float).reshape(-1, 2)
    picture: Element = next(hero.iter("img"))
    assert (numbers.max(0) <= (int(picture.get("width")), int(picture.get("height")))).all()


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


def test_every_public_metric_has_a_label():
    assert set(KEY_METRICS) <= set(METRIC_LABELS)
    assert all(label.label and label.meaning.endswith(".") for label in METRIC_LABELS.values())


HOSTILE = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a $x^{2 b$", "`<b>` & 'c'"]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_of_a_file_is_more_than_text(text, recon, scan, result, read):
    """Names of files, stages, figures, options: whatever a file holds is shown word by word."""
    ledger = [{"stage": text, "expected": 1.0, "measured": 1.0, "source": text}, *recon.scale]
    hostile = dataclasses.replace(
        recon,
        scale=ledger,
        history={text: [3.0, 2.0]},
        provenance={"stage": text, "scan": {"file": text}, text: text},
        prediction_scale={"source": text, "factor": 2.0},
    )
    named = scan.replace(provenance={"file": text, "format": text})
    words = dict.fromkeys(("stage", "started", "seed", "platform"), text)
    tables = {"versions": {text: text}, "config": {text: text}, "timings_s": {text: 1.0}}
    inputs = {text: dict.fromkeys(("path", "format", "sha256"), text)}
    run = {**words, **tables, "command": ["ptypinn", text], "inputs": inputs}
    warned = dataclasses.replace(result, warnings=[text])
    page = read(render_report(hostile, warned, named, run))
    assert not {"script", "b"} & {element.tag for element in page.tree.iter()}
    assert not [name for element in page.tree.iter() for name in element.attrib if str(name).startswith("on")]
    assert all(picture.get("src").startswith("data:image/png") for picture in page.all("img"))


def test_the_caption_of_convergence_mentions_pixels_that_join_and_of_polishing():
    from ptypinn.report.html.metrics_section import convergence_section

    def caption(**history):
        return convergence_section(history).blocks[0].caption

    assert caption(loss=[3.0, 2.0]) == ""
    assert "fitted too" not in caption(loss=[3.0, 2.0], held_out_loss=[3.0, 2.0, 1.0])
    assert "fitted too" in caption(loss=[3.0, 2.0, 2.5], held_out_loss=[3.0, 2.0])
    assert "Polishing" in caption(loss=[3.0, 2.0], polish_loss=[1.0, 0.9])
    assert "find the probe" in caption(probe_loss=[3.0, 2.0], loss=[3.0, 2.0])


def test_positions_that_were_moved_are_reported(recon, scan, result, read):
    label = "Positions moved by refinement"
    assert label not in read(render_report(recon, result, scan)).text
    shifts = np.zeros_like(recon.positions_px)
    shifts[::2, 0], shifts[1::2, 0] = 3.0, 2.0  # the common part, 2.5 px, tells where the object lies
    text = read(render_report(dataclasses.replace(recon, positions_px=recon.positions_px + shifts), result, scan)).text
    assert label in text
    assert re.search(label + r'.*?<data value="0.5\d*">0.5</data> <span class="unit">px = ', text, re.S)


def test_names_of_metrics_break_after_underscores(page):
    assert "<code>amplitude_<wbr>residual</code>" in page.text
