"""Terms of the experiment beside the ideal one: proposed by the counts, solved for, and taken in where they explain.

A scan is solved as if its experiment were ideal. What that leaves unexplained proposes a term; the term is solved for
from there, and the scan solved again with it. It is taken in where the misfit above counting noise falls by more than
`MIN_GAIN`: a term that explains what another one has caused gains little.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.metrics.data_fit import compute_data_fit
from ptypinn.metrics.flux import FluxEvidence, measure_flux

MIN_SIGNIFICANCE = 4.0
"""Gain of log-likelihood over its standard error from which a term is not due to chance."""
MIN_VARIATION = 0.004
"""Smallest standard deviation of the flux that is solved for: on scans of constant flux, errors of the object that
exceed counting noise imitate up to half of it."""
MIN_GAIN = 0.3
"""Smallest fraction of the misfit above counting noise that a term has to explain."""

Solve = Callable[[ScanData, bool], Reconstruction]
"""Solve a scan; with True, from its probe, which is held, for object and flux."""


@dataclass(frozen=True)
class Term:
    """One departure from the ideal experiment, whether it was taken in or not."""

    name: str
    size: float
    """In the unit of the term: of the flux, the standard deviation over the frames."""
    significance: float
    """Gain of log-likelihood on pixels that the term was not fitted to, over its standard error."""
    misfit_before: float
    """Amplitude residual over that of counting noise, without the term."""
    misfit_after: float
    """The same with the term."""

    @property
    def is_corrected(self) -> bool:
        """True if the term explains enough to be taken in."""
        return self.misfit_after - 1 <= (1 - MIN_GAIN) * (self.misfit_before - 1)

    def to_record(self) -> dict[str, Any]:
        """Return the term as plain values for the provenance."""
        return {
            "size": self.size,
            "significance": self.significance,
            "misfit_before": self.misfit_before,
            "misfit_after": self.misfit_after,
            "corrected": self.is_corrected,
        }


def solve_flux(
    scan: ScanData,
    recon: Reconstruction,
    solve: Solve,
    *,
    force: bool = False,
    batch: int = 128,
    device: str | torch.device = "cpu",
) -> tuple[Reconstruction, Term | None]:
    """Solve for the flux of every frame where the counts demand it.

    Args:
        scan: The scan.
        recon: Its reconstruction with the same flux in every frame.
        solve: Solves the scan again; called twice.
        force: Take the flux in whatever it explains.
        batch: Patterns in memory at once.
        device: Where to compute.

    Returns:
        The reconstruction with the term, or the former one, and the term; None where nothing proposes it.
    """
    evidence = measure_flux(scan, recon, batch=batch, device=device)
    if not (force or _proposes_flux(evidence)):
        return recon, None
    trial = solve(scan.replace(probe=recon.probe), True)
    # scans in tiles are solved with the flux that is given
    flux = evidence.ratio / evidence.ratio.mean() if trial.flux is None else trial.flux
    before = _misfit(scan, recon, batch, device)
    term = Term("flux", float(flux.std()), evidence.significance, before, _misfit(scan, trial, batch, device))
    if not (force or term.is_corrected or trial.flux is None):
        return recon, term
    corrected = solve(scan.replace(flux=flux), False)
    term = replace(term, misfit_after=_misfit(scan, corrected, batch, device))
    return (corrected if force or term.is_corrected else recon), term


def _proposes_flux(evidence: FluxEvidence) -> bool:
    return evidence.significance >= MIN_SIGNIFICANCE and evidence.variation >= MIN_VARIATION


def _misfit(scan: ScanData, recon: Reconstruction, batch: int, device: str | torch.device) -> float:
    """Return the amplitude residual over the one that counting noise explains."""
    part = recon.scan_part(scan)
    fit = compute_data_fit(part, recon.object, recon.probe, recon.positions_px, batch=batch, device=device)
    return fit.amplitude_residual / fit.expected_residual if fit.expected_residual > 0 else float("inf")
