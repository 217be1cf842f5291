"""Data terms with their derivative by hand: half the work of automatic differentiation in the hot loop.

A term gives, per pixel, the *relative residual* `d`: the descent direction of the detector field is `d * field`,
because `d loss / d conj(field) = -d * field`. The loss follows from it, where it is asked for. Both are scaled so that
near the solution the loss is half the squared deviation in units of the counting noise.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch

from ptypinn.types import Patterns

DARK_PHOTONS = 0.1
"""Added to measured and expected counts alike: bounds the residual where the model is dark, and is unbiased."""
LEAST_RESIDUAL = -1 + 2**-23
"""Where no photon came and millions are expected, float32 rounds the residual to -1, of which there is no logarithm."""
ANSCOMBE = 0.375
"""Variance-stabilising offset of Poisson counts (Anscombe 1948)."""

JUDGE_PHOTONS = 1.0
"""The same as `DARK_PHOTONS` for judging held-out pixels: single photons in the dark do not decide when to stop."""


class DataTerm(NamedTuple):
    """How far expected counts are from measured ones, per pixel."""

    residual: Callable[[Patterns, Patterns], Patterns]
    """(expected, counts) -> relative residual."""
    loss: Callable[[Patterns, Patterns], Patterns]
    """(expected, relative residual) -> loss."""


def poisson_residual(expected: Patterns, counts: Patterns, dark: float = DARK_PHOTONS) -> Patterns:
    """Relative residual `(I - J) / J` of the Poisson deviance (Thibault and Guizar-Sicairos 2012, eq. 2).

    Args:
        expected: Expected photons `J` without `dark`.
        counts: Measured photons `I` without `dark`.
        dark: Photons added to both.
    """
    return (counts - expected).div_(expected + dark).clamp_(min=LEAST_RESIDUAL)


def poisson_loss(expected: Patterns, residual: Patterns, dark: float = DARK_PHOTONS) -> Patterns:
    """Poisson deviance `J - I + I log(I / J)` from the relative residual.

    Written through `log1p`, so that float32 resolves it at 1e9 photons.
    """
    return ((1 + residual).mul_(torch.log1p(residual)) - residual).mul_(expected + dark)


def amplitude_residual(expected: Patterns, counts: Patterns) -> Patterns:
    """Relative residual `2 (sqrt(I + 3/8) / sqrt(J + 3/8) - 1)` of variance-stabilised amplitudes."""
    return 2 * (torch.sqrt(counts + ANSCOMBE) / torch.sqrt(expected + ANSCOMBE) - 1)


def amplitude_loss(expected: Patterns, residual: Patterns) -> Patterns:
    """Variance-stabilised amplitude error `2 (sqrt(I + 3/8) - sqrt(J + 3/8))**2` from the relative residual."""
    return (expected + ANSCOMBE) * residual.square() / 2


AMPLITUDE = DataTerm(amplitude_residual, amplitude_loss)
"""Least squares of variance-stabilised amplitudes."""
POISSON = DataTerm(poisson_residual, poisson_loss)
"""Likelihood of the counts."""
JUDGE = DataTerm(partial(poisson_residual, dark=JUDGE_PHOTONS), partial(poisson_loss, dark=JUDGE_PHOTONS))
"""Deviance that judges: that of the likelihood, in which single photons in the dark weigh little."""

DATA_TERMS: dict[str, DataTerm] = {"poisson": POISSON, "amplitude": AMPLITUDE}
