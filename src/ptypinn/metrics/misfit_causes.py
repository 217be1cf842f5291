"""Likely causes of what a reconstruction leaves unexplained, from where the misfit lies: frames, time, pixels."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ptypinn.data.beam_centre import record_experiment
from ptypinn.data.reconstruction import DataFit, Reconstruction
from ptypinn.metrics.flux import MIN_FLUX_EXCESS, fit_slow_part, measure_flux_scatter

MIN_FRAMES = 30
"""Frames from which the course of the misfit over the scan is looked at."""
SLOW_DEGREE, MIN_SLOW_FRACTION = 4, 0.4
"""Degree of the polynomial in time that a slow change is, and the fraction of the variance that it explains: 0.5 and
0.64 with a probe or a flux that varies slowly, 0.3 with motion during the exposures, else at most 0.2."""
FLUX_SCATTERS = 0.06, 0.2
"""Scatter of the photons of the frames around the prediction that only flux explains: positions that are off reach
0.04; where it is larger, nothing is explained, whatever the cause."""
MIN_PATTERN_EXCESS = 2.2
"""Deviation of the mean pattern in standard deviations, over the root of the misfit: 2.4 to 3.9 with a partially
coherent beam, a detector that blurs, or motion; at most 1.9 with positions that are off."""

UNSOUGHT = "not_looked_for"
"""Key of the names of terms that a scan was too large for, in the record of its experiment."""
UNSOUGHT_CAUSES = {
    "flux": "a flux that varies",
    "positions": "positions that are off",
    "beam": "a beam that moves over the detector",
    "probe_variation": "a probe that varies",
}
"""Such terms in words."""
MIN_MISFIT = 1.04
"""Amplitude residual over that of counting noise from which detector, positions or a probe that varies may be to blame:
up to 1.03 on scans without faults."""


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
        slow = float(fit_slow_part(ratio, SLOW_DEGREE).var() / ratio.var())
    scatter, excess = measure_flux_scatter(fit)
    lit = fit.predicted_map > 1
    deviation = (fit.measured_map - fit.predicted_map)[lit] / np.sqrt(fit.predicted_map[lit])
    misfit = fit.amplitude_residual / fit.expected_residual if fit.expected_residual > 0 else 1.0
    pattern = float(np.sqrt(np.mean(deviation**2))) if lit.any() else 0.0
    return MisfitTraits(slow, scatter, excess, pattern / max(misfit, 1e-9) ** 0.5)


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
            f"the counts of the frames scatter by {100 * traits.flux_scatter:.2g} % around the prediction, as with a "
            "flux that varies"
        )
    if traits.pattern_excess > MIN_PATTERN_EXCESS:
        return (
            "the same pixels deviate in all frames, as with a partially coherent beam (`--probe-modes 3`), a detector "
            "that blurs, a background, or motion during the exposures"
        )
    return (
        "it differs from frame to frame, as with positions that are off, or a wrong orientation; a background, further "
        "modes of the probe, slices of a thick sample (`--slices auto`), or more rounds may be missing as well"
    )


def record_unsought(recon: Reconstruction, names: Collection[str]) -> Reconstruction:
    """Return a reconstruction with terms of the experiment on record for which its scan is too large.

    Args:
        recon: The reconstruction.
        names: Names of terms that are looked for in smaller scans; those that were solved for are left out.
    """
    unsought = [name for name in names if not recon.has_solved(name)]
    return replace(recon, provenance=record_experiment(recon, {UNSOUGHT: unsought})) if unsought else recon


def name_unsought(recon: Reconstruction) -> str:
    """Return the departures from an ideal experiment that a scan was too large to look for; empty where there are none.

    Args:
        recon: The reconstruction, with `record_unsought`.
    """
    record = recon.provenance.get("experiment")
    names = record.get(UNSOUGHT) if isinstance(record, Mapping) else None
    causes = [UNSOUGHT_CAUSES[name] for name in names if name in UNSOUGHT_CAUSES] if isinstance(names, list) else []
    return ", ".join(causes)


def unsought_warnings(recon: Reconstruction) -> list[str]:
    """Return a sentence where something is left that terms which were not looked for may explain."""
    causes = name_unsought(recon)
    residual, noise = (recon.metrics.get(name) for name in ("amplitude_residual", "expected_residual"))
    if not causes or residual is None or not noise or residual < MIN_MISFIT * noise:
        return []
    return [
        f"The scan was too large to look for {causes}, which may cause the misfit: what they do is in the object. A "
        "part of the scan (`--select`) shows whether they are to blame."
    ]
