"""Data terms with their derivative by hand: half the work of automatic differentiation in the hot loop.

Both return, per pixel, the loss and the *relative residual* `d`: the descent direction of the detector field is
`d * field`, because `d loss / d conj(field) = -d * field`. Both are scaled so that near the solution the loss is half
the squared deviation in units of the counting noise.
"""

from collections.abc import Callable

import torch

from ptypinn.types import Patterns

DARK_PHOTONS = 0.1
"""Added to measured and expected counts alike: bounds the residual where the model is dark, and is unbiased."""
LEAST_RESIDUAL = -1 + 2**-23
"""Where no photon came and millions are expected, float32 rounds the residual to -1, of which there is no logarithm."""
ANSCOMBE = 0.375
"""Variance-stabilising offset of Poisson counts (Anscombe 1948)."""

JUDGE_PHOTONS = 1.0
"""The same for judging held-out pixels: single photons in the dark do not decide when to stop."""

DataTerm = Callable[[Patterns, Patterns], tuple[Patterns, Patterns]]


def poisson_term(expected: Patterns, counts: Patterns, dark: float = DARK_PHOTONS) -> tuple[Patterns, Patterns]:
    """Poisson deviance `J - I + I log(I / J)` and its relative residual `(I - J) / J`.

    Written in the relative residual through `log1p`, so that float32 resolves it at 1e9 photons (Thibault and
    Guizar-Sicairos 2012, eq. 2).
    """
    model = expected + dark
    residual = ((counts - expected) / model).clamp_(min=LEAST_RESIDUAL)
    return model * ((1 + residual) * torch.log1p(residual) - residual), residual


def amplitude_term(expected: Patterns, counts: Patterns) -> tuple[Patterns, Patterns]:
    """Variance-stabilised amplitude error `2 (sqrt(I + 3/8) - sqrt(J + 3/8))**2` and its relative residual."""
    model = torch.sqrt(expected + ANSCOMBE)
    residual = torch.sqrt(counts + ANSCOMBE) / model - 1
    return 2 * (model * residual).square(), 2 * residual


DATA_TERMS: dict[str, DataTerm] = {"poisson": poisson_term, "amplitude": amplitude_term}
