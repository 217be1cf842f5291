"""Terms of single frames and of the detector among the unknowns: where they start, and what becomes of them."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ptypinn.data.pattern_batches import FrameTerms
from ptypinn.physics.propagation import to_centred
from ptypinn.solvers.quasi_newton.unknowns import Unknowns
from ptypinn.types import Fractions


def start_frames(
    terms: FrameTerms, zeros: Float[Tensor, " positions"]
) -> tuple[Float[Tensor, " positions"], Fractions]:
    """Return the logarithm of the flux of every frame, and its beam, detector pixels: those of a scan, 0 without.

    Args:
        terms: Terms of the scan.
        zeros: A zero for every frame.
    """
    log_flux = zeros if terms.flux is None else terms.flux.log()
    return log_flux, torch.stack([zeros, zeros], 1) if terms.beam_px is None else terms.beam_px


def frames_to_host(point: Unknowns) -> dict[str, Any]:
    """Return flux, background and beam of a point as arrays, under the names that results have for them."""
    flux = None if point.log_flux is None else point.log_flux.double().exp()
    return {
        "flux": None if flux is None else (flux / flux.mean()).cpu().numpy(),
        "background": None if point.background is None else to_centred(point.background).cpu().numpy(),
        "beam_px": None if point.beam_px is None else point.beam_px.double().cpu().numpy(),
    }
