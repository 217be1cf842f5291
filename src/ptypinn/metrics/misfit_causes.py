"""Likely causes of what a reconstruction leaves unexplained, from where the misfit lies: frames, time, pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ptypinn.data.reconstruction import DataFit

MIN_FRAMES = 30
"""Frames from which the course of the misfit over the scan is looked at."""
SLOW_DEGREE, MIN_SLOW_FRACTION = 4, 0.4
"""Degree of the polynomial in time that a slow change is, and the fraction of the variance that it explains: 0.5 and
0.64 with a probe or a flux that varies slowly, 0.3 with motion during the exposures, else at most 0.2."""
FLUX_SCATTERS = 0.06, 0.2
"""Scatter of the photons of the frames around the prediction that only flux explains: positions that are off reach
0.04; where it is larger, nothing is explained, whatever the cause."""
MIN_FLUX_EXCESS, MIN_FLUX_SCATTER = 2.0, 0.004
"""The same over that of counting noise, and in itself, from which it needs a warning however small the misfit: 1.0 to
1.3 on scans without faults, 3 to 10 with a slow flux, most of which the object has imitated."""
MIN_PATTERN_EXCESS = 2.2
"""Deviation of the mean pattern in standard deviations, over the root of the misfit: 2.4 to 3.9 with a partially
coherent beam, a detector that blurs, or motion; at most 1.9 with positions that are off."""


@dataclass(frozen=True)
class MisfitTraits:
    """Where the misfit of a reconstruction lies."""

    slow_fraction: float
    """Fraction of the variance of the frames' misfit that changes slowly in time; 0 for few frames."""
    flux_scatter: float
    """Standard deviation of measured over predicted photons of the frames."""
    flux_excess: float
    """The same over that of counting noise."""
    pattern_excess: float
    """Deviation of the mean pattern from its prediction, in standard deviations of counting noise, over the root of the
    misfit: large where the same pixels deviate in all frames."""


def measure_traits(fit: DataFit) -> MisfitTraits:
    """Measure where the misfit of a data fit lies.

    Args:
        fit: Agreement with the counts, frames in order of time.
    """
    ratio = fit.per_pattern_residual / np.maximum(fit.per_pattern_expected, 1e-30)
    slow = 0.0
    if len(ratio) >= MIN_FRAMES and ratio.var() > 0:
        time = np.linspace(-1, 1, len(ratio))
        slow = float(np.polynomial.Legendre.fit(time, ratio, SLOW_DEGREE)(time).var() / ratio.var())
    scatter = float(np.log(np.maximum(fit.per_pattern_closure, 1e-6)).std())
    noise = float(np.sqrt(np.mean(1 / fit.per_pattern_photons)))
    lit = fit.predicted_map > 1
    deviation = (fit.measured_map - fit.predicted_map)[lit] / np.sqrt(fit.predicted_map[lit])
    misfit = fit.amplitude_residual / fit.expected_residual if fit.expected_residual > 0 else 1.0
    pattern = float(np.sqrt(np.mean(deviation**2))) if lit.any() else 0.0
    return MisfitTraits(slow, scatter, scatter / noise, pattern / max(misfit, 1e-9) ** 0.5)


def name_causes(fit: DataFit) -> str:
    """Return the likely causes of a misfit as a clause, the likeliest first.

    Args:
        fit: Agreement with the counts, frames in order of time.
    """
    traits = measure_traits(fit)
    if traits.slow_fraction > MIN_SLOW_FRACTION:
        return (
            "it changes slowly over the scan, as with a probe that varies, a stage that drifts, or a flux that changes "
            "slowly"
        )
    if FLUX_SCATTERS[0] < traits.flux_scatter < FLUX_SCATTERS[1] and traits.flux_excess > MIN_FLUX_EXCESS:
        return (
            f"the photons of the frames scatter by {100 * traits.flux_scatter:.2g} % around the prediction, as with a "
            "flux that varies"
        )
    if traits.pattern_excess > MIN_PATTERN_EXCESS:
        return (
            "the same pixels deviate in all frames, as with a partially coherent beam (`--probe-modes 3`), a detector "
            "that blurs, a background, or motion during the exposures"
        )
    return (
        "it differs from frame to frame, as with positions that are off, or a wrong orientation; a background, further "
        "modes of the probe, or more rounds may be missing as well"
    )


def flux_warnings(fit: DataFit) -> list[str]:
    """Return a sentence where the photons of the frames differ from the prediction by more than chance explains."""
    traits = measure_traits(fit)
    if traits.flux_excess < MIN_FLUX_EXCESS or traits.flux_scatter < MIN_FLUX_SCATTER:
        return []
    return [
        f"The photons of the frames scatter by {100 * traits.flux_scatter:.2g} % around the prediction, "
        f"{traits.flux_excess:.2g} times as much as counting noise does: the flux of the frames may vary "
        "(`--flux solve`), and what of that is slow may be in the amplitude of the object."
    ]
