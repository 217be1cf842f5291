"""The part of a report that follows amplitude from counts to object."""

from __future__ import annotations

from dataclasses import dataclass

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.diagnose import Diagnosis, diagnose
from ptypinn.errors import InputError
from ptypinn.report.diagnosis_text import number, stats_rows
from ptypinn.report.page import Picture, picture_of
from ptypinn.report.waterfall import waterfall_bars, waterfall_figure


@dataclass(frozen=True)
class LedgerRow:
    """One line of the table."""

    stage: str
    """Name of the stage, in parentheses off the path."""
    expected: str
    """What it should hand on."""
    measured: str
    """What it handed on."""
    factor: str
    """What it does to the object's amplitude."""
    product: str
    """The same of all stages so far; empty off the path."""
    source: str
    """How expected and measured were obtained."""
    on_path: bool
    """Whether the factor reaches the total."""
    lost: bool
    """Whether the verdict names it."""


@dataclass(frozen=True)
class ScaleSection:
    """What the page shows of a diagnosis."""

    diagnosis: Diagnosis
    """Verdict and findings."""
    picture: Picture
    """The waterfall."""
    rows: list[LedgerRow]
    """The ledger."""
    total: str
    """What the stages multiply to."""
    stats: list[tuple[str, ...]]
    """What flowed through the stages: a line of titles, then one line per stage; empty where nothing is on record."""


def scale_section(recon: Reconstruction) -> ScaleSection | None:
    """What the ledger of a reconstruction says; None where it has none."""
    try:
        diagnosis = diagnose(recon)
    except InputError:
        return None
    caption = "Every stage multiplies the amplitude by its factor. Hollow steps are checked, but lead nowhere."
    picture = picture_of("Scale ledger", caption, waterfall_figure(diagnosis, title=False))
    stats = stats_rows(diagnosis)
    return ScaleSection(diagnosis, picture, _rows(diagnosis), f"{diagnosis.total:.6g}", stats)


def _rows(diagnosis: Diagnosis) -> list[LedgerRow]:
    return [
        LedgerRow(
            stage=bar.stage if bar.on_path else f"({bar.stage})",
            expected=number(entry.expected),
            measured=number(entry.measured),
            factor=f"{entry.discrepancy:.4f}",
            product=f"{bar.stop:.4f}" if bar.on_path else "",
            source=entry.source,
            on_path=bar.on_path,
            lost=bar.lost,
        )
        for entry, bar in zip(diagnosis.ledger, waterfall_bars(diagnosis), strict=True)
    ]
