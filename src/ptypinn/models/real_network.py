"""The patch network in real arithmetic, without transforms or indices: for runtimes that have neither.

Complex images are (image, y, part, x), real and imaginary part. Fourier transforms are products with matrices, whose
result is transposed: (image, kx, part, ky); the inverse transposes it back. Places within a group choose pixels by
products with matrices of zeros and ones.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ptypinn.models.cnn import COVERED, PtychoCNN
from ptypinn.models.group_canvas import FADE_OUT, MIN_DETECTED
from ptypinn.models.patch_predictor import PatchPredictor
from ptypinn.physics.propagation import to_centred

Images = Float[Tensor, "#image y part x"]
Canvases = Float[Tensor, "group height part width"]
Counts = Float[Tensor, "group channel y x"]
Offsets = Float[Tensor, "group channel 2"]


class RealPatchNetwork(nn.Module):
    """A patch network with its scale and probe, from counts as the detector has them to patches.

    Equals `PatchPredictor.patches`, times the factor of a trained intensity scale, to rounding.

    Args:
        predictor: The network, a `PtychoCNN`, with probe and scale; its mask is an input here.
        edge: Edge of the canvas of a group, pixels.
    """

    def __init__(self, predictor: PatchPredictor, edge: int) -> None:
        super().__init__()
        network = predictor.network
        assert isinstance(network, PtychoCNN)
        probe = predictor.probe.detach()
        self.size, self.edge, self.modes = probe.shape[-1], edge, len(probe)
        self.correction, self.lengths, self.momenta = network.correction, network.lengths, network.momenta
        self.drift = predictor.scaler.drift
        transform = _fourier_matrix(self.size)
        self.forward_block: Tensor
        self.inverse_block: Tensor
        self.probe: Tensor
        self.vacuum: Tensor
        self.register_buffer("forward_block", _block(transform))
        self.register_buffer("inverse_block", _block(transform.conj()))
        vacuum = predictor.forward_model.predict_vacuum(probe)
        self.photons = float(vacuum.double().sum())
        self.register_buffer("vacuum", to_centred(vacuum / self.photons))
        self.register_buffer("probe", _parts(probe / self.photons**0.5))
        self.peak = float(self.probe.square().sum((0, 2)).amax())

    def forward(
        self, counts: Counts, mask: Float[Tensor, "y x"], offsets: Offsets | None = None
    ) -> Float[Tensor, "group channel y x part"]:
        """Return the object patches in the frames of their probes, transmission, real and imaginary part.

        Args:
            counts: Measured counts, zero frequency at `N//2`, (group, channel, y, x).
            mask: 1 for good pixels, 0 for others, where counts may hold anything, (y, x).
            offsets: Positions (y, x) within each group, from any origin, pixels; None for groups of one pattern.
        """
        counts = torch.where(mask > 0.5, counts, 0.0)
        photons, vacuum = counts.sum((2, 3)).mean(1), (self.vacuum * mask).sum()
        scale = torch.sqrt(vacuum / photons.clamp(min=1e-30))[:, None, None, None]
        amplitudes = (torch.sqrt(counts) * scale).flatten(0, 1).transpose(1, 2)
        frame = _Frame(self, counts, mask, offsets)
        canvases = frame.solve(amplitudes)
        transmitted = self.drift * torch.sqrt(photons / (vacuum * self.photons))
        patches = frame.to_probe_frames(canvases).view(*counts.shape[:2], self.size, 2, self.size)
        return (patches * transmitted[:, None, None, None, None]).movedim(3, 4)

    def transform(self, images: Images, block: Tensor) -> Images:
        """Return the transposed two-dimensional transform of images by a matrix."""
        size, shape = self.size, (-1, self.size, 2, self.size)
        rows = (images.reshape(-1, 2 * size) @ block).reshape(shape).transpose(1, 3)
        return (rows.reshape(-1, 2 * size) @ block).reshape(shape)

    def shift(self, images: Images, fractions: Float[Tensor, "image 2"]) -> Images:
        """Move images, or one image for all, by parts of a pixel."""
        frequency = (torch.arange(self.size, dtype=torch.float32) - self.size // 2) / self.size
        angle = (
            -2 * torch.pi * (fractions[:, 1, None, None] * frequency[:, None] + fractions[:, 0, None, None] * frequency)
        )
        ramp = torch.stack([torch.cos(angle), torch.sin(angle)], 2)
        return self.transform(_multiply(self.transform(images, self.forward_block), ramp), self.inverse_block)


class _Frame:
    """Groups of one call: their probes, places, and illumination."""

    def __init__(
        self, network: RealPatchNetwork, counts: Counts, mask: Float[Tensor, "y x"], offsets: Offsets | None
    ) -> None:
        self.network, self.groups, self.channels, self.mask = network, counts.shape[0], counts.shape[1], mask
        self.fractions: Tensor | None = None
        if offsets is None:
            self.probes = [network.probe[mode][None] for mode in range(network.modes)]
        else:
            whole = torch.round(offsets)
            self.fractions = (offsets - whole).flatten(0, 1)
            self._choose_pixels(whole)
            self.probes = [network.shift(network.probe[mode][None], self.fractions) for mode in range(network.modes)]
        intensity = torch.stack([_intensity(probe) for probe in self.probes]).sum(0)
        self.peak = network.peak
        self.illumination = self.place(_real_image(intensity))[:, :, 0]
        if offsets is None:
            self.illumination = self.illumination.expand(self.groups, -1, -1)

    def _choose_pixels(self, whole: Offsets) -> None:
        """Make the matrices (group, channel, pattern pixel, canvas pixel) that cut patches out of canvases."""
        size, edge = self.network.size, self.network.edge
        first = whole - whole.amin(1, keepdim=True)
        first = first + torch.floor((edge - size - first.amax(1, keepdim=True)) / 2)
        distance = torch.arange(edge, dtype=torch.float32) - torch.arange(size, dtype=torch.float32)[:, None]
        self.rows, self.columns = (
            ((first[..., axis, None, None] - distance).abs() < 0.5).to(whole.dtype) for axis in (0, 1)
        )

    def cut(self, canvases: Canvases) -> Images:
        """Cut the patches of all groups out of their canvases."""
        if self.fractions is None:
            return canvases
        size, edge = self.network.size, self.network.edge
        strips = self.rows.flatten(1, 2) @ canvases.flatten(2)
        strips = strips.view(self.groups, self.channels, 2 * size, edge)
        return (strips @ self.columns.transpose(2, 3)).view(-1, size, 2, size)

    def place(self, patches: Images) -> Float[Tensor, "#group height part width"]:
        """Add up the patches of every group on its canvas."""
        if self.fractions is None:
            return patches
        size, edge = self.network.size, self.network.edge
        strips = patches.view(self.groups, self.channels, 2 * size, size) @ self.columns
        strips = strips.view(self.groups, self.channels * size, 2 * edge)
        return (self.rows.flatten(1, 2).transpose(1, 2) @ strips).view(self.groups, edge, 2, edge)

    def solve(self, amplitudes: Float[Tensor, "image x y"]) -> Canvases:
        """Return the canvases after data steps and correction."""
        network = self.network
        canvases = _real_image(torch.ones_like(self.illumination))
        velocity = torch.zeros_like(canvases)
        for step in range(len(network.lengths)):
            velocity = network.momenta[step] * velocity + self.descend(canvases, amplitudes)
            canvases = canvases + network.lengths[step] * velocity
        covered = self.illumination / (self.illumination + COVERED * self.peak)
        real, imaginary = canvases.unbind(2)
        maps = torch.stack([real - 1, imaginary, *velocity.unbind(2), covered], 1)
        change = network.correction(maps) * covered[:, None]
        return canvases + change.transpose(1, 2)

    def descend(self, canvases: Canvases, amplitudes: Float[Tensor, "image x y"]) -> Canvases:
        """Return the change of the canvases by one projection onto the measured modulus; see `GroupCanvas.descend`."""
        network, patches = self.network, self.cut(canvases)
        fields = [network.transform(_multiply(patches, probe), network.forward_block) for probe in self.probes]
        detected = torch.stack([_intensity(field) for field in fields]).sum(0)
        floor = MIN_DETECTED * detected.amax((1, 2), keepdim=True) + 1e-30
        ratio = ((amplitudes * torch.rsqrt(detected + floor) - 1) * self.mask.T)[:, :, None]
        waves = [network.transform(ratio * field, network.inverse_block) for field in fields]
        changes = [_multiply(wave, probe, -1.0) for wave, probe in zip(waves, self.probes, strict=True)]
        return self.place(torch.stack(changes).sum(0)) / (self.illumination + FADE_OUT * self.peak)[:, :, None]

    def to_probe_frames(self, canvases: Canvases) -> Images:
        """Return the patches in the frames of their probes."""
        patches = self.cut(canvases)
        return patches if self.fractions is None else self.network.shift(patches, -self.fractions)


def _fourier_matrix(size: int) -> Tensor:
    """Return the orthonormal transform with both origins at `N//2`, which makes it symmetric."""
    place = torch.arange(size, dtype=torch.float64) - size // 2
    angle = -2 * torch.pi * torch.remainder(place[:, None] * place, size) / size
    return torch.polar(torch.full_like(angle, size**-0.5), angle)


def _block(matrix: Tensor) -> Float[Tensor, "rows columns"]:
    """Return the real matrix that multiplies rows of real and imaginary parts as a complex one does."""
    real, imaginary = matrix.real, matrix.imag
    return torch.cat([torch.cat([real, imaginary], 1), torch.cat([-imaginary, real], 1)]).float()


def _parts(images: Tensor) -> Images:
    return torch.stack([images.real, images.imag], -2).contiguous()


def _real_image(images: Tensor) -> Images:
    return torch.stack([images, torch.zeros_like(images)], 2)


def _intensity(images: Images) -> Float[Tensor, "image y x"]:
    return images.square().sum(2)


def _multiply(first: Images, second: Images, sign: float = 1.0) -> Images:
    """Return the product of complex images; with the conjugate of the second one for a sign of -1."""
    (a, b), (c, d) = first.unbind(2), second.unbind(2)
    return torch.stack([a * c - sign * b * d, b * c + sign * a * d], 2)
