"""Pages of trainings state the course of the loss, and pages of diagnoses and studies their results."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ptypinn.report.html.stage_pages import render_diagnosis, render_training, training_verdict
from ptypinn.stages.diagnose import diagnose

EPOCHS = np.arange(20.0)
FALLS = np.exp(-EPOCHS)


@pytest.mark.parametrize(
    ("loss", "level", "statement"),
    [
        (FALLS, "good", "settled"),
        (1 - 0.04 * EPOCHS, "open", "more epochs"),
        (FALLS + np.where(EPOCHS > 15, 0.2, 0), "warn", "fitted noise"),
        (EPOCHS, "warn", "never fell"),
        (EPOCHS[:1], "open", "too few"),
        (np.where(EPOCHS % 2 == 0, FALLS, np.nan), "good", "settled"),
    ],
)
def test_the_verdict_on_a_training_is_by_its_validation_loss(loss, level, statement):
    verdict = training_verdict({"train_loss": list(FALLS), "val_loss": list(loss)})
    assert verdict.level == level and statement in verdict.statement


def test_the_page_of_a_training_has_curves_remarks_and_provenance(read, run):
    history = {"train_loss": list(2 * FALLS), "val_loss": list(FALLS), "learning_rate": [1e-3] * 20}
    page = read(render_training("scan <7>", history, {**run, "stage": "finetune"}, ["Selected: `tuned`."]))
    words = page.words()
    assert page.all("h1")[0].text == "scan <7>"
    assert "Did it learn?" in words and "Selected: tuned ." in words and "--output-dir out" in words
    assert len(page.all("svg")) == 2 and "val loss" in words
    tiles = {cell.find("dt").text: cell.find("dd") for cell in page.all("dl")[0]}
    assert tiles["Epochs"].find("data").get("value") == "20.0"
    assert float(tiles["Lowest validation loss"].find("data").get("value")) == FALLS.min()


def test_the_page_of_a_training_without_numbers_says_so(read, run):
    page = read(render_training("x", {"train_loss": [float("nan")], "val_loss": [float("nan")]}, run))
    assert page.section("convergence").get("class") == "absent"


@pytest.mark.parametrize("measured", [4.0, 3.0])
def test_the_page_of_a_diagnosis_states_that_the_scale_is_preserved_or_not(recon, read, run, measured):
    ledger = [{"stage": "merge", "expected": 4.0, "measured": measured, "source": "test"}]
    diagnosis = diagnose(dataclasses.replace(recon, scale=ledger))
    page = read(render_diagnosis(diagnosis, "a run", ["the scan is gone"], run))
    assert page.all("section")[0].get("class") == ("verdict good" if diagnosis.healthy else "verdict warn")
    assert diagnosis.healthy == (measured == 4.0)
    words = page.words()
    assert diagnosis.verdict[1:] in words and "the scan is gone" in words
    assert (f"{measured / 4:.4f}" in words) and (diagnosis.healthy or "What to do about merge" in words)
