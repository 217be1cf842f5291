"""Free-space propagation to the far field.

Hot code keeps detector arrays in *FFT order* (zero frequency at `[0, 0]`); files and `ScanData` keep them *centred*
(zero frequency at `N//2`). `to_fft_order` and `to_centred` are the only two places where that changes.
"""

import torch
from jaxtyping import Complex, Shaped
from torch import Tensor

Fields = Complex[Tensor, "*batch y x"]


def far_field(waves: Fields) -> Fields:
    """Propagate exit waves to the detector (Fraunhofer), FFT order.

    Orthonormal, so `sum(abs(field)**2) == sum(abs(wave)**2)` (Parseval): photons are neither made nor lost.
    Goodman, Introduction to Fourier Optics, eq. 4-25, in pixel units.

    Args:
        waves: Exit waves, (..., y, x), sqrt(photons).
    """
    return torch.fft.fft2(waves, norm="ortho")


def back_propagate(fields: Fields) -> Fields:
    """Inverse and adjoint of `far_field`.

    Args:
        fields: Detector fields in FFT order, (..., y, x), sqrt(photons).
    """
    return torch.fft.ifft2(fields, norm="ortho")


def to_fft_order(patterns: Shaped[Tensor, "*batch y x"]) -> Shaped[Tensor, "*batch y x"]:
    """Move the zero frequency from the centre `N//2` to `[0, 0]`."""
    return torch.fft.ifftshift(patterns, dim=(-2, -1))


def to_centred(patterns: Shaped[Tensor, "*batch y x"]) -> Shaped[Tensor, "*batch y x"]:
    """Move the zero frequency from `[0, 0]` to the centre `N//2`."""
    return torch.fft.fftshift(patterns, dim=(-2, -1))
