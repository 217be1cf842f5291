"""Background that is solved for: its start, its bounds, and an approximate inverse of its Hessian.

A background trades with the contrast of the sample: too much of it is explained by a more contrasted object at nearly
the same likelihood. So it starts near zero and grows only as far as the counts ask for it; it is never negative, and
never above what the darkest frames leave.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ptypinn.data.pattern_batches import PatternBatches
from ptypinn.metrics.background import SMOOTH_FRACTION
from ptypinn.physics.detector import mirrored_blur
from ptypinn.solvers.distributed.canvas import WHOLE, CanvasPart
from ptypinn.solvers.quasi_newton.unknowns import Background, Unknowns

START_FRACTION = 0.05
"""Start over the upper bound: too little is soon made up for, too much is not."""
PIXEL_FRACTION = 0.3
"""Step of a single pixel beside the smooth one, over the smooth one: smaller, and narrow backgrounds grow too slowly;
larger, and bright pixels take what is the sample's."""
NOISE_MARGIN = 4.0
"""Standard deviations of counting noise by which the upper bound lies above the darkest frame."""


class BackgroundSteps:
    """Preconditioned and projected steps of the background of one scan.

    With a blur S and the curvature `D = sum_j 1 / I_j` of every pixel, `S D S <= diag(S D)`, because rows of S are not
    negative and sum to 1. So the step `S diag(1 / S D) S` is never too long, and is Newton's where both vary slowly.
    """

    def __init__(self, stack: PatternBatches, start: Background | None = None, canvas: CanvasPart = WHOLE) -> None:
        """Measure curvature and bounds in one pass over the counts.

        Args:
            stack: Patterns of the scan.
            start: Background to start from, counts, FFT order; a fraction of the upper bound where None.
            canvas: Rows of the canvas that the patterns lie on.
        """
        size = stack.scan.size
        self._blur = mirrored_blur(size, SMOOTH_FRACTION * size).to(stack.device)
        curvature = torch.zeros((size, size), device=stack.device)
        least = torch.full_like(curvature, torch.inf)
        weight = self._smooth(stack.good.float()).clamp(min=1e-3)
        for _, counts in stack:
            curvature += (stack.good / (counts + 1)).sum(0)  # 1 / (I + 1) is 1 / J on average, and 1 in the dark
            least = torch.minimum(least, (self._smooth(counts) / weight).amin(0))
        canvas.add_up(curvature)
        least = canvas.reduce(least, "min")
        noise = least.clamp(min=0).sqrt() / (2 * np.sqrt(np.pi) * SMOOTH_FRACTION * size)
        self.limit = (least + NOISE_MARGIN * noise) * stack.good
        self.start = START_FRACTION * self.limit if start is None else start
        smooth = self._smooth(curvature).clamp(min=1e-6)
        self._inverse, self._pixel_inverse = 2 / smooth, 2 * PIXEL_FRACTION / torch.maximum(curvature, smooth)

    def __call__(self, gradient: Background) -> Background:
        """Approximate inverse Hessian times gradient."""
        return self._smooth(self._inverse * self._smooth(gradient)) + self._pixel_inverse * gradient

    def project(self, point: Unknowns) -> Unknowns:
        """Return a point with the nearest background within its bounds."""
        if point.background is None:
            return point
        return replace(point, background=torch.minimum(point.background.clamp(min=0), self.limit))

    def _smooth(self, image: Float[Tensor, "*batch y x"]) -> Float[Tensor, "*batch y x"]:
        return self._blur @ image @ self._blur
