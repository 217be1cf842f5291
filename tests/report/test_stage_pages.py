"""Pages of trainings say whether they learned, and pages of diagnoses and studies what they found."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ptypinn.report.html.stage_pages import render_diagnosis, render_training, verdict_of
from ptypinn.stages.diagnose import diagnose

EPOCHS = np.arange(20.0)
FALLS = np.exp(-EPOCHS)


@pytest.mark.parametrize(
    ("loss", "level", "answer"),
    [
        (FALLS, "good", "settled"),
        (1 - 0.04 * EPOCHS, "open", "more epochs"),
        (FALLS + np.where(EPOCHS > 15, 0.2, 0), "warn", "learned noise"),
        (EPOCHS, "warn", "never fell"),
        (EPOCHS[:1], "open", "too few"),
        (np.where(EPOCHS % 2 == 0, FALLS, np.nan), "good", "settled"),
    ],
)
def test_a_training_is_judged_by_its_validation_loss(loss, level, answer):
    found = verdict_of({"train_loss": list(FALLS), "val_loss": list(loss)})
    assert found.level == level and answer in found.answer


def test_the_page_of_a_training_tells_curves_remarks_and_origin(read, run):
    history = {"train_loss": list(2 * FALLS), "val_loss": list(FALLS), "learning_rate": [1e-3] * 20}
    page = read(render_training("scan <7>", history, {**run, "stage": "finetune"}, ["Kept: `tuned`."]))
    words = page.words()
    assert page.all("h1")[0].text == "scan <7>"
    assert "Did it learn?" in words and "Kept: tuned ." in words and "--output-dir out" in words
    assert len(page.all("svg")) == 2 and "val loss" in words
    tiles = {cell.find("dt").text: cell.find("dd") for cell in page.all("dl")[0]}
    assert tiles["Epochs"].find("data").get("value") == "20.0"
    assert float(tiles["Lowest validation loss"].find("data").get("value")) == FALLS.min()


def test_the_page_of_a_training_without_numbers_says_so(read, run):
    page = read(render_training("x", {"train_loss": [float("nan")], "val_loss": [float("nan")]}, run))
    assert page.section("convergence").get("class") == "absent"


@pytest.mark.parametrize("measured", [4.0, 3.0])
def test_the_page_of_a_diagnosis_says_whether_the_scale_is_kept(recon, read, run, measured):
    ledger = [{"stage": "merge", "expected": 4.0, "measured": measured, "source": "test"}]
    found = diagnose(dataclasses.replace(recon, scale=ledger))
    page = read(render_diagnosis(found, "a run", ["the scan is gone"], run))
    assert page.all("section")[0].get("class") == ("verdict good" if found.healthy else "verdict warn")
    assert found.healthy == (measured == 4.0)
    words = page.words()
    assert found.verdict[1:] in words and "the scan is gone" in words
    assert (f"{measured / 4:.4f}" in words) and (found.healthy or "What to do about merge" in words)
