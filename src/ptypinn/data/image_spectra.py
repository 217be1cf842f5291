"""Fourier components of images on a grid of scan positions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Complex128, Float64

MAX_FREQUENCY = 0.5
"""Largest frequency that is used, over that of the grid's points."""
MIN_PERIODS = 1.5
"""Fewest periods over the longer edge of an image: its own size shows below."""


def split_quarters(images: Float64[np.ndarray, "image height width"]) -> list[Float64[np.ndarray, "image y x"]]:
    """Return the quarters of images, whose differences show the error of what is fitted to the whole."""
    height, width = (length // 2 for length in images.shape[1:])
    return [images[:, y : y + height, x : x + width] for y in (0, height) for x in (0, width)]


@dataclass(frozen=True)
class ImageSpectra:
    """Fourier components of several images, one of every conjugate pair."""

    values: Complex128[np.ndarray, "image component"]
    """The components of every image, under a window that falls to nothing at its edges."""
    frequency_y: Float64[np.ndarray, " component"]
    """Their frequencies along y, cycles per object pixel."""
    frequency_x: Float64[np.ndarray, " component"]
    """Their frequencies along x, cycles per object pixel."""

    @classmethod
    def of(cls, images: Float64[np.ndarray, "image height width"], step_px: float) -> ImageSpectra:
        """Transform images.

        Args:
            images: Images on a grid of scan positions.
            step_px: Distance of the grid's points, object pixels.
        """
        height, width = images.shape[1:]
        window = np.outer(*(np.hanning(length + 2)[1:-1] for length in (height, width)))
        values = np.fft.rfft2((images - images.mean((1, 2), keepdims=True)) * window)
        y, x = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
        y, x = np.broadcast_arrays(y / step_px, x / step_px)
        radius = np.hypot(y, x) * step_px
        used = (radius > MIN_PERIODS / max(height, width)) & (radius < MAX_FREQUENCY)
        return cls(values[:, used], y[used], x[used])

    def below(self, frequency: float) -> ImageSpectra:
        """Return the components below a frequency, cycles per object pixel."""
        return self._take(np.hypot(self.frequency_y, self.frequency_x) < frequency)

    def half(self, number: int) -> ImageSpectra:
        """Return one half of the components, 0 or 1, drawn at random: every other one makes two images of each."""
        order = np.random.default_rng(0).permutation(len(self.frequency_y))
        return self._take(order % 2 == number)

    def _take(self, chosen: Bool[np.ndarray, " component"]) -> ImageSpectra:
        return ImageSpectra(self.values[:, chosen], self.frequency_y[chosen], self.frequency_x[chosen])
