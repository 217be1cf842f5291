"""Patch networks with their physics: from measured counts to object patches in transmission, and to expected counts."""

from typing import NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn

from ptypinn.models.blocks import transmitted_amplitude
from ptypinn.physics.forward import FAR_FIELD, ForwardModel
from ptypinn.physics.optics import probe_photons
from ptypinn.physics.patches import extract_patches, probe_intensity, shift_probe
from ptypinn.physics.propagation import to_centred
from ptypinn.physics.stitch import shift_patches, stitch, weighted_mean
from ptypinn.scale import IntensityScaler, StatsRecorder
from ptypinn.types import Canvases, Corners, Mask, Patterns, Probe

PHOTONS, TRANSMITTED, COUNTS, INPUT, TEXTURE = "photons", "transmitted amplitude", "counts", "network input", "texture"
"""Stages that `PatchPredictor.patches` records: the first two for every pattern, the others for a sample."""
GroupCounts = Float[Tensor, "group channel y x"]
GroupPatches = Complex[Tensor, "group channel y x"]
Offsets = Float[Tensor, "group channel 2"]


class Prediction(NamedTuple):
    """Merged objects of several windows and the counts that they predict."""

    canvases: Canvases
    """Objects in the network's gauge, (window, height, width)."""
    weights: Float[Tensor, "window height width"]
    """Illumination of the windows, photons per object pixel."""
    counts: Patterns
    """Expected counts in window-major order, (window * batch, y, x), FFT order."""


class PatchPredictor(nn.Module):
    """A network with its input scaling and the physical probe.

    A patch is the network's texture times the transmitted amplitude that the counts of its group give.

    Args:
        network: `(centred amplitudes, probe, offsets, centred mask) -> textures`, one channel per pattern of a group.
        scaler: Between sqrt(counts) and network amplitude.
        probe: Probe modes, sqrt(photons), (mode, N, N).
        mask: Good pixels, FFT order, (N, N).
        train_probe: Make the probe a parameter; its power never changes.
        forward_model: From object patches and probes to expected counts.
    """

    def __init__(
        self,
        network: nn.Module,
        scaler: IntensityScaler,
        probe: Probe,
        mask: Mask,
        train_probe: bool = False,
        forward_model: ForwardModel = FAR_FIELD,
    ) -> None:
        super().__init__()
        self.network, self.scaler, self.forward_model = network, scaler, forward_model
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in the stubs
        self.photons = float(probe_photons(probe))
        # Real numbers, so that optimisers and checkpoints treat the probe like every other parameter.
        shape = torch.view_as_real(probe / self.photons**0.5 * probe.shape[-1]).contiguous()
        self.probe_shape = nn.Parameter(shape, requires_grad=train_probe)
        self.mask: Tensor
        self.register_buffer("mask", mask)

    @property
    def probe(self) -> Probe:
        """Probe modes at their calibrated power, sqrt(photons)."""
        shape = torch.view_as_complex(self.probe_shape)
        norm = torch.linalg.vector_norm(self.probe_shape)
        return shape * (self.photons**0.5 / norm)

    @property
    def vacuum_photons(self) -> float:
        """Photons that the probe alone puts on the good pixels."""
        return float((self.forward_model.predict_vacuum(self.probe.detach()).double() * self.mask).sum())

    def patches(
        self, counts: GroupCounts, offsets: Offsets | None = None, recorder: StatsRecorder | None = None
    ) -> GroupPatches:
        """Return the object patches of groups of patterns, in the frame of their probe, dimensionless transmission.

        Args:
            counts: Measured counts in FFT order, (group, channel, y, x); masked pixels may hold anything.
            offsets: Positions (y, x) within each group, from any origin, pixels, (group, channel, 2); None where
                groups are single patterns.
            recorder: Recorder of photons, transmitted amplitude, counts, network input and texture.
        """
        probe = self.probe.detach()
        vacuum = self.forward_model.predict_vacuum(probe)
        counts = torch.where(self.mask, counts, 0.0)
        photons = counts.sum((-2, -1))
        transmitted = transmitted_amplitude(photons, (vacuum * self.mask).sum())[..., None, None]
        filled = torch.where(self.mask, counts, transmitted.square() * vacuum)
        network_input = self.scaler.to_input(filled)
        offsets = network_input.new_zeros((*counts.shape[:2], 2)) if offsets is None else offsets
        texture = self.network(to_centred(network_input), probe, offsets, to_centred(self.mask))
        transmitted = transmitted.square().mean(1, keepdim=True).sqrt().expand_as(transmitted)
        if recorder is not None:
            recorder.record(PHOTONS, photons, each=True)
            recorder.record(TRANSMITTED, transmitted, each=True)
            for stage, values in ((COUNTS, filled), (INPUT, network_input), (TEXTURE, texture)):
                recorder.record(stage, values)
        return texture * transmitted

    def predict(
        self,
        patches: Complex[Tensor, "window batch y x"],
        corners: Corners,
        fractions: Float[Tensor, "position 2"],
        shape: tuple[int, int],
    ) -> Prediction:
        """Merge patches on the canvases of their windows and predict the counts of the merged objects.

        Args:
            patches: Object patches in the frame of their probe, (window, batch, y, x).
            corners: Integer patch corners on the canvases, (window, batch, 2).
            fractions: Sub-pixel rest of every position in window-major order, (window * batch, 2).
            shape: Height and width of the canvases, pixels.
        """
        probes = shift_probe(self.probe, fractions)
        canvases, total = _merge(patches, probes, corners, fractions, shape)
        merged = extract_patches(canvases, corners, patches.shape[-1]).flatten(0, 1)
        intensity = self.forward_model.predict_counts(merged, probes / self.scaler.initial_scale)
        return Prediction(canvases, total, self.scaler.to_counts(intensity))

    @torch.no_grad()
    def constant_response(
        self, corners: Corners, fractions: Float[Tensor, "position 2"], shape: tuple[int, int]
    ) -> Tensor:
        """Merge an object that is 1 everywhere as `predict` does, which gives 1.

        Args:
            corners: Integer patch corners on the canvases, (window, batch, 2).
            fractions: Sub-pixel rest of every position in window-major order, (window * batch, 2).
            shape: Height and width of the canvases, pixels.

        Returns:
            Root mean square, weighted by the illumination, (1,).
        """
        probes = shift_probe(self.probe, fractions)
        ones = torch.ones((*corners.shape[:2], *probes.shape[-2:]), dtype=probes.dtype, device=probes.device)
        canvases, total = _merge(ones, probes, corners, fractions, shape)
        return ((canvases.abs().square() * total).sum() / total.sum()).sqrt()[None]


def _merge(
    patches: Tensor, probes: Tensor, corners: Tensor, fractions: Tensor, shape: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Return the objects of the windows, and their illumination."""
    weights = probe_intensity(probes).view(patches.shape)
    weighted, total = stitch(shift_patches(patches, fractions), weights, corners, *shape)
    return weighted_mean(weighted, total), total
