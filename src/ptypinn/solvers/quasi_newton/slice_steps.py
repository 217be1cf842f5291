"""Steps of the slices of a thick sample: what one slice does to the counts, its neighbours do nearly as well.

A ripple of wave number k in a slice and the same ripple in another one, a distance z behind, change the wave behind the
sample alike up to the phase `pi lambda z (k^2 + 2 k q)` at angles q of the illumination. Their coherence over the probe
is the inner product of both changes; with it, the curvature of the likelihood over the slices is one small matrix per
ripple. Its inverse makes long steps along differences of slices that counts hardly show, slow ones above all.
"""

from __future__ import annotations

import torch
from jaxtyping import Complex, Float, Shaped
from torch import Tensor

from ptypinn.physics.propagation import measure_coherence
from ptypinn.types import Probe

FLOOR = 0.1
"""Least curvature over that of a single slice: bounds the steps along what no count shows."""
CHUNK = 2**20
"""Entries of the small matrices that are inverted at a time, in double precision."""

Frequencies = tuple[Float[Tensor, "ky 1"], Float[Tensor, " kx"]]


class SliceSteps:
    """Inverse curvature over the slices, for changes of the transmission and for those of its phase alone.

    Args:
        gaps: Distances between slices over the square of an object pixel, in wavelengths: inverse Fresnel numbers.
        around: Edges of the transform for changes of the transmission.
        padded: Edges of the transform for phases, which are real.
        tilt: Direction (y, x) of the axis of the sample against the beam, cycles per object pixel.
    """

    def __init__(
        self,
        gaps: Float[Tensor, " gap"],
        around: tuple[int, ...],
        padded: tuple[int, ...],
        tilt: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self._tilt = tilt
        self._depths = torch.cat([gaps.new_zeros(1), gaps.cumsum(0)]).double()
        self._waves: Frequencies = (_frequencies(around[0], gaps)[:, None], _frequencies(around[1], gaps))
        half = _frequencies(padded[1], gaps)[: padded[1] // 2 + 1].abs()
        self._phases: Frequencies = (_frequencies(padded[0], gaps)[:, None], half)

    def refresh(self, probe: Probe) -> None:
        """Take the angles of the illumination from a probe, (mode, y, x)."""
        self._inverse = self._compute_inverse(probe, self._waves, torch.complex64)
        self._phase_inverse = self._compute_inverse(probe, self._phases, torch.float32)

    def mix_waves(self, spectra: Complex[Tensor, "slice ky kx"]) -> Complex[Tensor, "slice ky kx"]:
        """Return the spectra of changes of the transmission times the inverse curvature."""
        return torch.einsum("styx,tyx->syx", self._inverse, spectra)

    def mix_phases(self, spectra: Complex[Tensor, "slice ky half"]) -> Complex[Tensor, "slice ky half"]:
        """Return the spectra of changes of the phase times the inverse curvature."""
        parts = torch.einsum("styx,tyxc->syxc", self._phase_inverse, torch.view_as_real(spectra))
        return torch.view_as_complex(parts.contiguous())

    def _compute_inverse(
        self, probe: Probe, waves: Frequencies, dtype: torch.dtype
    ) -> Shaped[Tensor, "slice slice ky kx"]:
        """Return the inverse curvature in single precision, a few rows of frequencies at a time."""
        (ky, kx), count = waves, len(self._depths)
        inverse = torch.empty((count, count, len(ky), len(kx)), dtype=dtype, device=kx.device)
        rows = max(1, CHUNK // (count**2 * len(kx)))
        for start in range(0, len(ky), rows):
            part = slice(start, start + rows)
            coherence = measure_coherence(probe, self._depths, ky[part], kx, self._tilt)
            inverse[:, :, part] = _invert(coherence if dtype.is_complex else coherence.real).to(dtype)
        return inverse


def _invert(coherence: Shaped[Tensor, "slice slice ky kx"]) -> Shaped[Tensor, "slice slice ky kx"]:
    """Return the inverse of every matrix with the floor on its diagonal; that of a single slice is 1."""
    matrices = coherence.permute(2, 3, 0, 1)
    floor = FLOOR * torch.eye(len(coherence), dtype=coherence.dtype, device=coherence.device)
    inverse = torch.linalg.inv_ex(matrices + floor).inverse  # which does not wait for the device: none is singular
    return ((1 + FLOOR) * inverse).permute(2, 3, 0, 1).contiguous()


def _frequencies(edge: int, like: Tensor) -> Float[Tensor, " edge"]:
    return torch.fft.fftfreq(edge, dtype=torch.float64, device=like.device)
