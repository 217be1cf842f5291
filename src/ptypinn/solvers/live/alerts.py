"""Alerts of a scan in progress, from robust changes of the series of its frames: beam, flux, place, residual.

A pure function of the series, in the order of the frames' numbers. All along the scan the level of some frames is
compared with that of those before, by medians and by the scatter that these frames had, so that single bad frames raise
nothing. As long as a change lasts, the level before stays that of the frames before it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int64

from ptypinn.solvers.live.frame_checks import FrameChecks

MIN_BEFORE = 50
"""Fewest frames that a level is taken from."""
RECENT, MAX_BEFORE = 15, 1000
"""Frames whose median is the level of now, and the largest number of those before that it is compared with."""
SIGNIFICANCE = 6.0
"""Change of the level over the scatter of single frames, from which it is no chance."""
GONE, FALLEN = 0.05, 0.7
"""Photons, over those of before, below which there is no beam, and below which the flux has fallen."""
MIN_SHIFT_PX = 1.0
"""Smallest move of the patterns that is told, detector pixels."""
MIN_RESIDUAL = 2.0
"""Smallest factor on the residual that is told: the patterns no longer fit the object, as where the sample moves."""

Kind = Literal["flux", "centre", "residual"]
Series = Float64[np.ndarray, "..."]
"""One entry per frame, a number or the two of a place."""


Judge = Callable[[Series, Series], float | None]
"""Compares the level of now with frames before; returns the change, or None where there is none."""


@dataclass(frozen=True)
class Alert:
    """Something has changed during the scan."""

    kind: Kind
    """Series that shows it."""
    text: str
    """Sentence for people."""
    since_number: int
    """Number of the first frame with the change."""
    active: bool = True
    """True if the last frames still have it."""


@dataclass(frozen=True)
class Episode:
    """Frames of a series during which it was changed."""

    first: int
    """First of the frames."""
    end: int | None
    """First frame after them; None where the last frames still have the change."""
    change: float
    """Its size, from the judge of the series."""


def find_alerts(numbers: Int64[np.ndarray, " frames"], checks: FrameChecks) -> list[Alert]:
    """Return what has changed during the scan; while the beam is gone, nothing else is looked for.

    Args:
        numbers: Number of every frame, in any order.
        checks: Comparison of every frame with its prediction; frames without one are left out.
    """
    order = np.argsort(numbers, kind="stable")
    order = order[np.isfinite(checks.photons[order])]
    dark = find_episodes(checks.photons[order], _judge_dark)
    alerts = [_describe("flux", _tell_dark, numbers[order], episode) for episode in dark]
    lit = np.ones(len(order), bool)
    for episode in dark:
        lit[episode.first : episode.end] = False
    order = order[lit]
    parts: tuple[tuple[Kind, Series, Judge, Callable[[int, float], str]], ...] = (
        ("flux", checks.flux, _judge_flux, _tell_flux),
        ("centre", checks.centre_px, _judge_centre, _tell_centre),
        ("residual", checks.residual, _judge_residual, _tell_residual),
    )
    for kind, series, judge, tell in parts:
        chosen = order[np.isfinite(checks.residual[order])]
        alerts += [_describe(kind, tell, numbers[chosen], each) for each in find_episodes(series[chosen], judge)]
    return alerts


def find_episodes(series: Series, judge: Judge) -> list[Episode]:
    """Return the episodes of a series in which its level was changed against that of the frames before them.

    Args:
        series: One entry per frame, a number or the two of a place.
        judge: Judge of the change.
    """
    episodes: list[Episode] = []
    steady, current = np.zeros(0, np.int64), None
    for end in (*range(RECENT, len(series), RECENT), len(series)):
        block = np.arange(max(0, end - 1) // RECENT * RECENT, end)
        before, recent = series[steady[-MAX_BEFORE:]], series[max(0, end - RECENT) : end]
        change = judge(before, recent) if len(before) >= MIN_BEFORE else None
        if change is not None:
            if current is None:
                current = Episode(_find_first(series[:end], recent, before), None, change)
                steady = steady[steady < max(current.first, MIN_BEFORE)]
            continue
        if current is not None:
            middle = series[current.first : end - RECENT]
            current = replace(current, end=_find_first(series[:end], recent, middle))
            episodes.append(current)
            block = block[block >= current.end]
        steady, current = np.concatenate([steady, block]), None
    return [*episodes, current] if current is not None else episodes


def _describe(
    kind: Kind, tell: Callable[[int, float], str], numbers: Int64[np.ndarray, " frames"], episode: Episode
) -> Alert:
    since = int(numbers[episode.first])
    return Alert(kind, tell(since, episode.change), since, episode.end is None)


def _judge_dark(before: Series, recent: Series) -> float | None:
    return _measure_fall(before, recent, GONE)


def _tell_dark(since: int, fraction: float) -> str:
    return f"The beam is gone since frame {since}: {_percent(fraction)} of the photons are left."


def _judge_flux(before: Series, recent: Series) -> float | None:
    """Look for photons that fell against the prediction: the sample may absorb as many by itself."""
    return _measure_fall(before, recent, FALLEN)


def _tell_flux(since: int, fraction: float) -> str:
    return f"The flux has fallen to {_percent(fraction)} since frame {since}."


def _judge_centre(before: Series, recent: Series) -> float | None:
    """Look for patterns that moved on the detector against their prediction."""
    middle = np.median(before, 0)
    now = float(np.hypot(*(np.median(recent, 0) - middle)))
    return now if now >= max(MIN_SHIFT_PX, SIGNIFICANCE * _scatter(np.hypot(*(before - middle).T))) else None


def _tell_centre(since: int, distance_px: float) -> str:
    return f"The beam has moved by {distance_px:.1f} detector pixels since frame {since}."


def _judge_residual(before: Series, recent: Series) -> float | None:
    """Look for patterns that the object no longer explains."""
    level, now = float(np.median(before)), float(np.median(recent))
    return now / level if now >= max(MIN_RESIDUAL * level, level + SIGNIFICANCE * _scatter(before)) else None


def _tell_residual(since: int, factor: float) -> str:
    return (
        f"The sample or the beam has moved: since frame {since} the patterns differ from the prediction "
        f"{factor:.2g} times as much as before."
    )


def _measure_fall(before: Series, recent: Series, fraction: float) -> float | None:
    """Return the level of now over that before, where it is below a fraction of it and that is no chance."""
    level, now = float(np.median(before)), float(np.median(recent))
    if not level > 0 or now >= fraction * level or level - now < SIGNIFICANCE * _scatter(before):
        return None
    return now / level


def _find_first(series: Series, recent: Series, before: Series) -> int:
    """Return the first of the frames, up to the last, most of which are nearer to the level of now than before."""
    level, now = np.median(before, 0), np.median(recent, 0)
    distances = [np.linalg.norm(np.reshape(series - each, (len(series), -1)), axis=1) for each in (level, now)]
    votes = np.cumsum(np.where(distances[1] < distances[0], 1, -1)[::-1])
    return len(series) - 1 - int(np.argmax(votes))


def _scatter(series: Series) -> float:
    """Return the standard deviation from frame to frame, from the median of the differences of neighbours."""
    return float(np.median(np.abs(np.diff(series)))) / 0.954


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2g} %"
