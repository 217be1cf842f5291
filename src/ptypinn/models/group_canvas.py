"""Neighbouring patterns on a canvas of their own: where their physics meets, before any network."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from ptypinn.models.blocks import STRIDE
from ptypinn.physics.patches import extract_patches, place_patches, probe_intensity, shift_images, shift_probe
from ptypinn.physics.propagation import back_propagate, far_field
from ptypinn.types import Probe

GroupAmplitudes = Float[Tensor, "group channel y x"]
GroupPatches = Complex[Tensor, "group channel y x"]
GroupCanvases = Complex[Tensor, "group height width"]
Offsets = Float[Tensor, "group channel 2"]

FADE_OUT = 0.05
"""Fraction of the probe's peak intensity below which the data steps fade out."""
MIN_DETECTED = 1e-10
"""Fraction of the brightest pixel of an expected pattern below which its phase is not trusted."""


class GroupCanvas:
    """Canvases of groups of patterns, one for each group, on which their patches overlap as they do in the scan.

    Corners of the patches are whole pixels; the probes carry the sub-pixel rest, exactly.

    Args:
        amplitudes: Measured amplitudes in any scale, FFT order, (group, channel, y, x).
        probe: Probe modes in any scale, (mode, y, x).
        offsets: Positions (y, x) within each group, from any origin, pixels, (group, channel, 2).
        mask: Good pixels, FFT order, (y, x).
        edge: Edge of the canvases, pixels, which `canvas_edge` gives.
    """

    def __init__(
        self, amplitudes: GroupAmplitudes, probe: Probe, offsets: Offsets, mask: Bool[Tensor, "y x"], edge: int
    ) -> None:
        self.shape, self.edge = amplitudes.shape, edge
        whole = torch.round(offsets)
        self.fractions = (offsets - whole).flatten(0, 1)
        self.corners = _place_corners(whole.long(), probe.shape[-1], edge)
        detected = _intensity(far_field(probe))
        probe = probe * torch.rsqrt((detected * mask).sum())
        energy = (amplitudes.square() * mask).sum((-2, -1)).mean(1)[:, None, None, None]
        self.amplitudes = (amplitudes * torch.rsqrt(energy.clamp(min=1e-30))).flatten(0, 1)
        self.mask = mask
        self.probes = shift_probe(probe, self.fractions) if self.shape[1] > 1 else probe[None]
        self.peak = _intensity(probe).amax()
        intensity = probe_intensity(self.probes).expand(self.shape[0] * self.shape[1], -1, -1)
        self.illumination = self.place(intensity.view(self.shape))

    def start(self) -> GroupCanvases:
        """Return the canvases of vacuum."""
        return torch.ones_like(self.illumination, dtype=self.probes.dtype)

    def place(self, patches: Tensor) -> Tensor:
        """Add up patches (group, channel, y, x) on the canvases, (group, edge, edge)."""
        if self.shape[1] == 1:
            return patches[:, 0]
        return place_patches(patches, self.corners, self.edge, self.edge)

    def cut(self, canvases: GroupCanvases) -> GroupPatches:
        """Cut the patches out of the canvases, at whole pixels."""
        if self.shape[1] == 1:
            return canvases[:, None]
        return extract_patches(canvases, self.corners, self.shape[-1])

    def descend(self, canvases: GroupCanvases) -> GroupCanvases:
        """Return the change of the objects by one projection of every pattern onto its measured modulus.

        The changes of a group are averaged with the intensities of their probes: `sum_j conj(P_j) (psi_j' - psi_j) /
        (sum_j |P_j|^2 + eps)`, the parallel form of the extended ptychographic engine (Maiden and Rodenburg 2009).

        Args:
            canvases: Objects relative to the transmitted amplitude of their group, (group, edge, edge).
        """
        fields = far_field(self.probes * self.cut(canvases).flatten(0, 1)[:, None])
        detected = _intensity(fields, 1)
        floor = MIN_DETECTED * detected.amax((-2, -1), keepdim=True)
        ratio = (self.amplitudes * torch.rsqrt(detected + floor + 1e-30) - 1) * self.mask
        changes = (self.probes.conj() * back_propagate(ratio[:, None] * fields)).sum(1)
        return self.place(changes.view(self.shape)) / (self.illumination + FADE_OUT * self.peak)

    def to_probe_frames(self, canvases: GroupCanvases) -> GroupPatches:
        """Return the patches in the frames of their probes, sub-pixel rest included."""
        patches = self.cut(canvases)
        if self.shape[1] == 1:
            return patches
        return shift_images(patches.flatten(0, 1), -self.fractions).view(self.shape)


def canvas_edge(size: int, spread_px: int) -> int:
    """Return the edge of the canvas of a group, which is 1.5 or 2 patterns wide.

    Args:
        size: Edge of a pattern, pixels.
        spread_px: Largest distance along an axis between patterns of the group, pixels; 0 for single patterns.

    Raises:
        ValueError: Where patterns of a group do not touch.

    >>> canvas_edge(64, 0), canvas_edge(64, 20), canvas_edge(64, 40)
    (64, 96, 128)
    """
    if spread_px > size:
        raise ValueError(f"patterns of a group {spread_px} pixels apart; at most their edge of {size} pixels")
    if spread_px == 0:
        return size
    room = size // 2 if spread_px <= size // 2 else size
    return size + -(-room // STRIDE) * STRIDE


def measure_spread(offsets: Offsets) -> Int[Tensor, " group"]:
    """Return the largest distance along an axis between patterns of each group, whole pixels."""
    whole = torch.round(offsets).long()
    return (whole.amax(1) - whole.amin(1)).amax(1)


def _place_corners(whole: Tensor, size: int, edge: int) -> Tensor:
    """Return corners on square canvases, every group in the middle of its own."""
    spread = whole.amax(1) - whole.amin(1)
    return whole - whole.amin(1, keepdim=True) + (edge - size - spread[:, None]) // 2


def _intensity(waves: Tensor, axis: int = 0) -> Tensor:
    return (waves.real.square() + waves.imag.square()).sum(axis)
