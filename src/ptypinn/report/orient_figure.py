"""The eight relative orientations side by side: what each makes of the same patterns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ptypinn.report.colours import phase_scale
from ptypinn.report.orient_text import in_words
from ptypinn.report.style import ACCENT, INK, MUTED, literal, new_figure, show_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ptypinn.orientation import Candidate, Ranking


def orient_figure(ranking: Ranking) -> Figure:
    """Residuals as bars, and the phase of the object in every orientation, best first."""
    figure = new_figure(15.0, 6.4)
    title = f"{literal(ranking.scan.source)}: phase of the object by how the positions are turned"
    figure.suptitle(title, fontsize=11, color=INK)
    grid = figure.add_gridspec(2, 5)
    _draw_residuals(figure.add_subplot(grid[:, 0]), ranking)
    for place, one in enumerate(ranking.candidates):
        axes = figure.add_subplot(grid[place // 4, 1 + place % 4])
        title = f"{place + 1}. {_name(one, ranking)}\nresidual {one.residual:.4g}"
        _draw_phase(axes, one, title, ranking.scan.pixel_size_m)
    return figure


def _name(one: Candidate, ranking: Ranking) -> str:
    note = " (as read)" if one.is_as_read else " (twin)" if one is ranking.twin else ""
    return in_words(ranking.positions_turned(one)) + note


def _draw_residuals(axes: Axes, ranking: Ranking) -> None:
    residuals = [one.residual for one in ranking.candidates]
    colours = [ACCENT, *[MUTED] * (len(residuals) - 1)]
    numbers = np.arange(1, len(residuals) + 1)
    axes.barh(numbers, residuals, color=colours)
    axes.set_yticks(numbers)
    axes.invert_yaxis()
    axes.set_title(f"Residual; second over first {ranking.margin:.2f}", fontsize=10, color=INK)
    axes.set_xlabel("amplitude residual", fontsize=9)
    axes.set_ylabel("rank", fontsize=9)
    axes.tick_params(labelsize=8)


def _draw_phase(axes: Axes, one: Candidate, title: str, pixel_size_m: float | None) -> None:
    phase = np.angle(one.object * np.conj(one.object.sum()))
    show_image(axes, phase, title, phase_scale(phase), pixel_size_m)
