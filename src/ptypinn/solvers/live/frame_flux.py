"""Flux of the frames of a scan in progress: solved for with the object once the frames show that it varies."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int64

from ptypinn.metrics.flux import MIN_FLUX
from ptypinn.utils.growing_array import GrowingArray

MIN_FRAMES = 100
"""Fewest frames in the picture that show whether the flux varies."""
MIN_SCATTER, MIN_EXCESS = 0.02, 4.0
"""Scatter of measured over predicted photons, and that over the scatter of counting noise, from which the flux is
solved for: errors of a young object scatter by half a percent."""

PerFrame = Float64[np.ndarray, " frames"]


class FrameFlux:
    """Flux of every frame, 1 until it is solved for."""

    def __init__(self) -> None:
        self.values: PerFrame = np.ones(0)
        self._values = GrowingArray((), np.float64)
        self.is_open = False
        """True from the first evidence on: the flux takes part in the rounds."""

    def extend(self, count: int) -> None:
        """Take in so many further frames."""
        self.values = self._values.append(np.ones(count))

    def weigh(self, ratio: PerFrame, photons: PerFrame) -> None:
        """Look at the frames in the picture for evidence that the flux varies.

        Args:
            ratio: Measured over predicted photons of each.
            photons: Measured photons of each.
        """
        if self.is_open or len(ratio) < MIN_FRAMES:
            return
        logarithm = np.log(np.maximum(ratio, MIN_FLUX))
        scatter = 1.48 * float(np.median(np.abs(logarithm - np.median(logarithm))))
        noise = float(np.median(1 / np.sqrt(np.maximum(photons, 1))))
        self.is_open = scatter > max(MIN_SCATTER, MIN_EXCESS * noise)

    def put(self, index: Int64[np.ndarray, " some"], solved: PerFrame, is_new: np.ndarray) -> float:
        """Take the flux of some frames from rounds; return the factor on it that keeps that of the others.

        Args:
            index: The frames.
            solved: Their flux, up to a common factor.
            is_new: True for frames that had not been solved for.
        """
        solved, before = np.maximum(solved, MIN_FLUX), self.values[index]
        factor = 1.0 if is_new.all() else float(np.median((before / solved)[~is_new]))
        self.values[index] = factor * solved
        return factor
