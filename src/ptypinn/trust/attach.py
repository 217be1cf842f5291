"""Give a reconstruction what a reader needs to know how far to trust it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.metrics.data_fit import DataFit
from ptypinn.metrics.verdict import warnings_about
from ptypinn.trust.familiar import traits_of, unfamiliar
from ptypinn.trust.uncertainty import uncertainty_of

WORSE, ABOVE_NOISE = 1.1, 1.2
"""A correction harms where it raises the residual by a tenth, to a fifth above counting noise or more."""


def with_trust(
    recon: Reconstruction,
    scan: ScanData,
    fit: DataFit,
    card: Mapping[str, Any] | None = None,
    *,
    residual_before: float | None = None,
) -> Reconstruction:
    """A reconstruction with its uncertainty map, and with its warnings in `provenance["trust"]`.

    Args:
        recon: The reconstruction.
        scan: The scan that it was made from, or the part of it.
        fit: Agreement of the reconstruction with the counts.
        card: Model card of the network's weights, for what they saw; None where no network took part.
        residual_before: Amplitude residual before the network's last correction, where it was measured.

    Raises:
        InputError: Where the scan has other patterns.
    """
    part = recon.scan_part(scan)
    found = uncertainty_of(recon, part, fit)
    traits = traits_of(part, recon.probe)
    polished = "polish" in recon.provenance
    warnings = [*unfamiliar(traits, card or {}, polished=polished), *harmed(fit, residual_before)]
    record = {
        "warnings": warnings,
        "fit_warnings": warnings_about(fit.figures(), fit),
        "resolved_share": found.resolved_share,
        "constants": asdict(found.constants),
        "traits": traits,
    }
    return replace(recon, uncertainty=found.sigma, provenance={**recon.provenance, "trust": record})


def harmed(fit: DataFit, residual_before: float | None) -> list[str]:
    """A sentence where the network's correction made the data fit worse, beyond what counting noise explains."""
    now = fit.amplitude_residual
    if residual_before is None or now < WORSE * residual_before or now < ABOVE_NOISE * fit.expected_residual:
        return []
    return [
        f"The network's last correction made the data fit worse: the residual rose from {residual_before:.3g} to "
        f"{now:.3g}. Compare with `ptypinn refine`, or polish this result (--polish 30)."
    ]


def warnings_of(recon: Reconstruction, *, with_fit: bool) -> list[str]:
    """Warnings that a reconstruction carries.

    Args:
        recon: The reconstruction, possibly from a file.
        with_fit: Those about its agreement with the counts too; for where the counts are not at hand.
    """
    record = recon.provenance.get("trust")
    if not isinstance(record, Mapping):
        return []
    names = ("warnings", "fit_warnings") if with_fit else ("warnings",)
    return [str(text) for name in names for text in record.get(name) or [] if isinstance(text, str)]
