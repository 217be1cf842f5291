"""Merge overlapping object patches on a canvas, weighted by the probe intensity that measured them.

Training merges a window of patches with `stitch`; inference streams a whole scan through `align` and
`patches.add_patches` onto running sums and calls `normalise` once. Numerator and denominator use the same weights,
so a constant object stitches to the constant on every illuminated pixel, edges included.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ptypinn.physics.patches import place_patches, shift_images
from ptypinn.types import Canvases, Corners, Patches

Weights = Float[Tensor, "window batch y x"]
WeightSums = Float[Tensor, "window height width"]

MIN_COVERAGE = 1e-9
"""Fraction of the largest weight below which a canvas pixel counts as uncovered."""


def shift_patches(patches: Patches, fractions: Float[Tensor, "position 2"] | None) -> Patches:
    """Move patches from the frame of their probe to the integer pixels of the canvas.

    A patch of the probe at corner + fraction holds `O(corner + fraction + r)`; the canvas wants `O(corner + r)`.
    The Fourier shift leaves a constant exactly constant.

    Args:
        patches: Object patches in the frame of their probe, (window, batch, y, x).
        fractions: Sub-pixel rest of every position in window-major order, (window * batch, 2); None for none.
    """
    if fractions is None:
        return patches
    return shift_images(patches.flatten(0, 1), fractions).view(patches.shape)


def stitch(
    patches: Patches, weights: Weights, corners: Corners, height: int, width: int
) -> tuple[Canvases, WeightSums]:
    """Return the weighted sums of aligned patches on canvases; `normalise` turns them into objects.

    Args:
        patches: Object patches aligned to the canvas, (window, batch, y, x), dimensionless transmission.
        weights: Non-negative weight of every patch pixel, photons, (window, batch, y, x).
        corners: Integer (y, x) of each patch's pixel (0, 0), (window, batch, 2).
        height: Canvas height, pixels.
        width: Canvas width, pixels.

    Returns:
        Sum of weight times patch, and sum of weights, each (window, height, width).
    """
    return place_patches(patches * weights, corners, height, width), place_patches(weights, corners, height, width)


def weighted_mean(weighted: Canvases, weights: WeightSums, fill: complex = 1.0) -> Canvases:
    """Return the weighted mean object; uncovered pixels hold `fill` (vacuum).

    Args:
        weighted: Sum of weight times patch, (window, height, width).
        weights: Sum of weights, (window, height, width).
        fill: Transmission of pixels that no patch covers.
    """
    covered = coverage_mask(weights)
    return torch.where(covered, weighted / torch.where(covered, weights, 1.0), torch.full_like(weighted, fill))


def coverage_mask(weights: WeightSums) -> Bool[Tensor, "window height width"]:
    """Return the canvas pixels that carry weight: more than `MIN_COVERAGE` times the window's strongest."""
    return weights > MIN_COVERAGE * weights.amax((1, 2), keepdim=True)
