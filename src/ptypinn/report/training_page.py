"""The page of a training: whether it learned, its curves, and where it came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ptypinn.report.blocks import Cell, Page, Verdict, cell_of
from ptypinn.report.curve_sections import convergence_section
from ptypinn.report.origin_section import origin_section
from ptypinn.report.page import render_page

RISE, STILL_FALLING = 0.05, 0.02
"""Shares of the whole fall of the validation loss: it rose after its lowest, or still fell over the last tenth."""
NEXT = "How good its pictures are, `ptypinn evaluate` tells of each."

History = Mapping[str, Sequence[float]]


def render_training(title: str, history: History, run: Mapping[str, Any], remarks: Sequence[str] = ()) -> str:
    """The page as HTML text.

    Args:
        title: Heading.
        history: Losses and learning rate by epoch; NaN where an epoch has none.
        run: Record of the run, as `RunFolder.record` gives it.
        remarks: What else there is to say, in sentences.
    """
    return render_page(
        Page(
            title=title,
            kind=f"Training, {run.get('stage', '')}",
            verdict=verdict_of(history, remarks),
            tiles=_tiles(history, run),
            sections=[convergence_section(history, "epoch"), origin_section(run)],
        )
    )


def verdict_of(history: History, remarks: Sequence[str] = ()) -> Verdict:
    """Whether the validation loss fell, and whether it still did at the end."""
    loss, question = _validation(history), "Did it learn?"
    if loss.size < 2:
        return Verdict("open", "Not known: too few epochs were validated.", [*remarks, NEXT], question)
    best, fall = int(np.argmin(loss)), float(loss[0] - loss.min())
    told = f"The validation loss went from {loss[0]:.5g} to {loss[-1]:.5g}, lowest at epoch {best + 1} of {loss.size}."
    reasons = [told, *remarks, NEXT]
    if not fall > 0:
        return Verdict("warn", "No: the validation loss never fell.", reasons, question)
    if loss[-1] - loss.min() > RISE * fall:
        return Verdict("warn", "It did, and then learned noise: the validation loss rose again.", reasons, question)
    if loss[-1 - max(1, loss.size // 10)] - loss[-1] > STILL_FALLING * fall:
        return Verdict("open", "Yes, and it still does: more epochs would go further.", reasons, question)
    return Verdict("good", "Yes: the validation loss fell and has settled.", reasons, question)


def _tiles(history: History, run: Mapping[str, Any]) -> list[tuple[str, Cell]]:
    loss = _validation(history)
    tiles = [("Epochs", cell_of(max(map(len, history.values()), default=0)))]
    if loss.size:
        tiles.append(("Lowest validation loss", cell_of(float(loss.min()))))
    seconds = sum((run.get("timings_s") or {}).values())
    return [*tiles, ("Wall time", cell_of(float(seconds), "s", 3))] if seconds else tiles


def _validation(history: History) -> np.ndarray:
    """The loss on what was held out, epochs without one left out."""
    values = next((values for name, values in history.items() if name.startswith("val")), [])
    loss = np.asarray(values, np.float64)
    return loss[np.isfinite(loss)]
