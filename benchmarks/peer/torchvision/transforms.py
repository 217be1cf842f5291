"""`GaussianBlur`, the only transform that ptychi imports (for random start images; LSQ-ML never calls it)."""

import torch
from torch import Tensor


class GaussianBlur:
    """Blur images with a separable Gaussian, reflecting at the edges.

    Args:
        kernel_size: Odd kernel edge (x, y), pixels.
        sigma: Range of standard deviations, pixels; one is drawn uniformly per call.
    """

    def __init__(self, kernel_size: tuple[int, int], sigma: tuple[float, float] = (0.1, 2.0)) -> None:
        self.kernel_size, self.sigma = kernel_size, sigma

    def __call__(self, images: Tensor) -> Tensor:
        """Blur `images`, (batch, channel, y, x)."""
        sigma = float(torch.empty(1).uniform_(*self.sigma)) if self.sigma[0] < self.sigma[1] else self.sigma[0]
        width, height = self.kernel_size
        channels = images.shape[1]
        pad = (width // 2, width // 2, height // 2, height // 2)
        images = torch.nn.functional.pad(images, pad, mode="reflect")
        for kernel in (_gaussian(width, sigma)[None, :], _gaussian(height, sigma)[:, None]):
            weight = kernel.to(images).expand(channels, 1, *kernel.shape)
            images = torch.nn.functional.conv2d(images, weight, groups=channels)
        return images


def _gaussian(size: int, sigma: float) -> Tensor:
    axis = torch.arange(size) - (size - 1) / 2
    weights = torch.exp(-0.5 * (axis / sigma) ** 2)
    return weights / weights.sum()
