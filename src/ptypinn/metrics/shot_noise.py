"""The shot-noise limit: how well counts alone, however they are inverted, can tell an object under a known probe.

Derivation. Counts are Poisson numbers of mean `mu = A**2`, with `A` the modulus of a far field, so the Fisher
information of two parameters a, b is `sum (dmu/da)(dmu/db) / mu = 4 sum (dA/da)(dA/db)`. Real and imaginary part of one
object pixel r move the field of pattern j by `P_j(r)` times a unit phasor, spread evenly over the detector, and A moves
by the part of that along the field: a cosine for the one, a sine for the other. Their squares add to one whatever the
phases of the field are, so the two diagonal elements add up to exactly `4 sum_j abs(P_j(r))**2`. The inverse of a
positive matrix is no smaller than the inverse of its diagonal, and the inverses of two numbers add up to at least four
over their sum. The Cramer-Rao bound therefore gives every unbiased estimate

    E abs(O(r) - T(r))**2 >= 1 / sum_j abs(P_j(r))**2

one over the photons that went to the pixel. It is reached only where all phases are equally likely and no two pixels
are confused, which a diverse probe and enough overlap come close to. Bound and Fisher matrix of ptychography with
Poisson noise: Wei, Urbach and Coene, Phys. Rev. A 102, 043516 (2020), arXiv:2003.05475.

An estimate that expects something of the object, such as smoothness, is biased and may stay below.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Complex, Float

from ptypinn.metrics.masks import Lit


def shot_noise_limit(
    illumination: Float[np.ndarray, "height width"], truth: Complex[np.ndarray, "height width"], mask: Lit
) -> float:
    """Least complex error of an unbiased estimate, `sqrt(sum 1/illumination / sum abs(T)**2)` on the mask.

    Args:
        illumination: Sum of `abs(probe)**2` over positions and modes, photons per object pixel.
        truth: The true object T, transmission.
        mask: Pixels to compare; all of them lit.

    Raises:
        ValueError: Where the mask holds no pixel, or one without light.
    """
    light, power = illumination[mask].astype(np.float64), np.abs(truth[mask].astype(np.complex128)) ** 2
    if not light.size or light.min() <= 0:
        raise ValueError("the shot-noise limit needs a mask of lit pixels")
    return float(np.sqrt((1 / light).sum() / power.sum()))
