"""Simulated samples: textures in [0, 1], and the complex transmission with one as amplitude and one as phase.

A texture is a property that varies over a sample, such as its thickness. Every texture function takes the height and
width in pixels and a NumPy generator, and returns a float32 tensor (height, width) within [0, 1].
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float32
from numpy.random import Generator
from scipy.ndimage import gaussian_filter
from torch import Tensor

from ptypinn.types import Object

Texture = Float32[Tensor, "height width"]

NATURAL_IMAGES = ("camera", "coins", "astronaut", "brick", "chelsea", "coffee", "grass", "gravel", "moon", "page")
"""Images that come inside the scikit-image package and need no download."""


def lines(height: int, width: int, generator: Generator, line_width: float = 1.5, density: float = 1.0) -> Texture:
    """Straight, overlapping lines of random place, direction, length and brightness, with even density up to the edges.

    Args:
        height: Rows, pixels.
        width: Columns, pixels.
        generator: Source of randomness.
        line_width: Standard deviation of a line's Gaussian profile, pixels.
        density: Number of lines on a square canvas over its edge in pixels.
    """
    from skimage.draw import line_aa

    max_length = (height + width) / 2
    pad = int(max_length / 2) + 1
    wide = np.zeros((height + 2 * pad, width + 2 * pad))
    for _ in range(max(1, round(density * wide.size / max_length))):
        middle, angle = generator.uniform(0, wide.shape), generator.uniform(0, np.pi)
        half = max_length / 2 * generator.uniform(0.3, 1) * np.array([np.sin(angle), np.cos(angle)])
        ends = np.clip(np.rint([middle - half, middle + half]), 0, np.subtract(wide.shape, 1)).astype(int)
        rows, columns, coverage = line_aa(*ends.ravel().tolist())
        wide[rows, columns] += coverage * generator.uniform(0.5, 1.5)
    canvas = gaussian_filter(wide, line_width)[pad : pad + height, pad : pad + width]
    return _texture(canvas / np.percentile(canvas, 99.5))


def dead_leaves(height: int, width: int, generator: Generator, smallest: float = 3.0) -> Texture:
    """Opaque disks and rectangles of random grey on top of each other, radii distributed as r**-3 (dead leaves model).

    Lee, Mumford, Huang, Int. J. Comput. Vision 41 (2001) 35.

    Args:
        height: Rows, pixels.
        width: Columns, pixels.
        generator: Source of randomness.
        smallest: Minimum radius, pixels; the maximum is a quarter of the shorter edge.
    """
    canvas, largest = np.zeros((height, width)), max(min(height, width) / 4, smallest)
    # Enough leaves to cover the canvas several times: mean leaf area is about 2 pi r_min^2 ln(r_max / r_min).
    mean_area = 2 * np.pi * smallest**2 * np.log(largest / smallest + 1)
    for _ in range(int(6 * height * width / mean_area) + 20):
        radius = (smallest**-2 - generator.random() * (smallest**-2 - largest**-2)) ** -0.5
        _paint_leaf(canvas, generator.uniform(0, [height, width]), radius, generator)
    return _texture(gaussian_filter(canvas, 0.7))


def gaussian_random_field(height: int, width: int, generator: Generator, correlation: float = 16.0) -> Texture:
    """Smooth random field with a von Karman spectrum, `(1 + (k L)^2)^(-5/2)` in power.

    Args:
        height: Rows, pixels.
        width: Columns, pixels.
        generator: Source of randomness.
        correlation: Correlation length L, pixels.
    """
    k_y, k_x = 2 * np.pi * np.fft.fftfreq(height)[:, None], 2 * np.pi * np.fft.rfftfreq(width)
    amplitude = (1 + (k_y**2 + k_x**2) * correlation**2) ** (-5 / 4)
    noise = np.fft.rfft2(generator.standard_normal((height, width)))
    field = np.fft.irfft2(noise * amplitude, (height, width))
    return _texture((field - field.min()) / np.ptp(field))


def siemens_star(height: int, width: int, generator: Generator, finest: float = 2.0, spokes: int = 36) -> Texture:
    """Siemens star in the middle of the canvas, at a random angle, with two concentric gaps.

    Args:
        height: Rows, pixels.
        width: Columns, pixels.
        generator: Turns the star.
        finest: Width of a spoke where the spokes end, near the centre, pixels.
        spokes: Number of spokes.
    """
    y, x = np.ogrid[:height, :width]
    y, x = y - (height - 1) / 2, x - (width - 1) / 2
    radius, angle = np.hypot(y, x), np.arctan2(y, x) + generator.uniform(0, 2 * np.pi)
    inner, outer = finest * spokes / np.pi, 0.46 * min(height, width)
    star = _soft_step(np.sin(spokes * angle) * radius / spokes)
    for low, high in ((0.0, inner), (0.33 * outer, 0.38 * outer), (0.66 * outer, 0.71 * outer), (outer, np.inf)):
        star = (
            star * (1 - _soft_step(radius - low) * _soft_step(high - radius))
            if low
            else star * _soft_step(radius - high)
        )
    return _texture(star)


def natural_image(height: int, width: int, generator: Generator, name: str = "random") -> Texture:
    """A photograph of scikit-image, resized to cover the canvas, cropped and flipped at random.

    Args:
        height: Rows, pixels.
        width: Columns, pixels.
        generator: Source of randomness.
        name: One of `NATURAL_IMAGES`, or "random".
    """
    from skimage import color, data
    from skimage.transform import resize

    name = str(generator.choice(NATURAL_IMAGES)) if name == "random" else name
    image = getattr(data, name)()
    grey = color.rgb2gray(image) if image.ndim == 3 else image / 255
    zoom = max(height / grey.shape[0], width / grey.shape[1])
    shape = max(height, round(grey.shape[0] * zoom)), max(width, round(grey.shape[1] * zoom))
    grey = resize(grey, shape, anti_aliasing=zoom < 1)
    top, left = generator.integers(0, np.subtract(shape, (height, width)) + 1)
    grey = grey[top : top + height, left : left + width]
    grey = grey[:, ::-1] if generator.random() < 0.5 else grey
    return _texture((grey - grey.min()) / np.ptp(grey))


TEXTURES: dict[str, Callable[..., Texture]] = {
    "lines": lines,
    "dead_leaves": dead_leaves,
    "grf": gaussian_random_field,
    "siemens": siemens_star,
    "natural": natural_image,
}
"""Textures by the name that a configuration uses."""


def compose_object(
    amplitude_texture: Texture,
    phase_texture: Texture,
    amplitude_range: tuple[float, float] = (1.0, 0.7),
    phase_range: tuple[float, float] = (0.0, 1.0),
    amplitude_mean: float | None = None,
) -> Object:
    """Return the complex transmission of a sample.

    Args:
        amplitude_texture: Texture of the amplitude, (height, width).
        phase_texture: Texture of the phase, (height, width).
        amplitude_range: Amplitude where its texture is 0 and where it is 1; the first may be the larger.
        phase_range: Phase where its texture is 0 and where it is 1, radians.
        amplitude_mean: Rescale the amplitude to this mean, which may exceed 1; None leaves it as it is.

    Returns:
        Transmission, (height, width), complex64.
    """
    amplitude = amplitude_range[0] + (amplitude_range[1] - amplitude_range[0]) * amplitude_texture.double()
    phase = phase_range[0] + (phase_range[1] - phase_range[0]) * phase_texture.double()
    if amplitude_mean is not None:
        amplitude = amplitude * (amplitude_mean / amplitude.mean())
    return torch.polar(amplitude, phase).to(torch.complex64)


def _texture(values: np.ndarray) -> Texture:
    return torch.from_numpy(np.clip(values, 0, 1).astype(np.float32))


def _soft_step(distance: np.ndarray) -> np.ndarray:
    """0 to 1 over an edge about two pixels wide; `distance` in pixels."""
    return 0.5 + 0.5 * np.tanh(1.5 * distance)


def _paint_leaf(canvas: np.ndarray, centre: np.ndarray, radius: float, generator: Generator) -> None:
    low = np.maximum(np.floor(centre - radius).astype(int), 0)
    high = np.ceil(centre + radius).astype(int) + 1
    window = canvas[low[0] : high[0], low[1] : high[1]]
    y, x = np.ogrid[low[0] : low[0] + window.shape[0], low[1] : low[1] + window.shape[1]]
    if generator.random() < 0.6:
        inside = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2
    else:
        half = radius * generator.uniform(0.3, 1, 2)
        inside = (abs(y - centre[0]) < half[0]) & (abs(x - centre[1]) < half[1])
    window[inside] = generator.random()
