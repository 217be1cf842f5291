"""The part of a report that holds the object against a reference."""

from __future__ import annotations

from ptypinn.evaluate import Evaluation
from ptypinn.report.blocks import Figures, Section
from ptypinn.report.images import comparison_images
from ptypinn.report.told import panels_of

KEY, TITLE = "comparison", "Compared with a reference"
CAPTION = (
    "The first two of a row share one colour scale. Structure in a difference is an error; grain is noise. No "
    "amplitude was fitted."
)


def comparison_section(result: Evaluation, pixel_size_m: float | None, judged: bool) -> Section:
    """Reference, reconstruction and difference, amplitude above phase."""
    if result.comparison is None:
        why = "neither the truth of a simulation nor a reference is at hand" if judged else "nobody compared it"
        return Section(
            KEY, TITLE, absent=f"Not shown: {why}. `ptypinn evaluate RUN --reference OTHER` compares two runs."
        )
    rows = comparison_images(result.comparison)
    captions = ("", CAPTION)
    blocks = [Figures(panels_of(row, pixel_size_m), text) for row, text in zip(rows, captions, strict=True)]
    return Section(KEY, f"Compared with the {result.comparison.kind}", blocks)
