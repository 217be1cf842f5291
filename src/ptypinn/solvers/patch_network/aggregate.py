"""Run a patch network over a scan: its patches stream onto running sums on one canvas."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from ptypinn.data.grouping import Groups, group_neighbours
from ptypinn.data.scan import ScanData
from ptypinn.models.patch_predictor import PatchPredictor
from ptypinn.physics.patches import add_patches, probe_intensity, shift_probe, split_positions
from ptypinn.physics.propagation import to_fft_order
from ptypinn.physics.stitch import shift_patches, weighted_mean
from ptypinn.scale import StatsRecorder
from ptypinn.utils.progress import Progress


@dataclass(frozen=True)
class PatchAggregator:
    """Running sums of the patches of a scan, weighted by the intensity of the probe."""

    weighted: Tensor
    """Sum of probe intensity times patch, (1, height, width)."""
    constant: Tensor
    """The same sum for patches that are 1 everywhere, which measures the merge itself, (1, height, width)."""
    weights: Tensor
    """Sum of probe intensity over every patch, (1, height, width)."""
    illumination: Tensor
    """Sum of probe intensity over every position, (1, height, width), photons per object pixel."""

    @classmethod
    def empty(cls, shape: tuple[int, int], device: torch.device) -> PatchAggregator:
        """Return sums of 0 on a canvas of this shape."""
        canvas = torch.zeros((1, *shape), dtype=torch.complex64, device=device)
        images = torch.zeros((3, 1, *shape), device=device)
        return cls(canvas, *images)

    def enlarged(self, shape: tuple[int, int], corner: tuple[int, int]) -> PatchAggregator:
        """Return these sums on a larger canvas.

        Args:
            shape: Its height and width, pixels.
            corner: Place (y, x) on it of pixel (0, 0) of this canvas.
        """
        larger = PatchAggregator.empty(shape, self.weights.device)
        height, width = self.weights.shape[-2:]
        place = slice(corner[0], corner[0] + height), slice(corner[1], corner[1] + width)
        for each in fields(self):
            getattr(larger, each.name)[:, *place] = getattr(self, each.name)
        return larger

    def add(self, patches: Tensor, intensity: Tensor, corners: Tensor) -> None:
        """Add patches (batch, N, N), aligned to the canvas, with their probe intensities and corners."""
        add_patches(self.weighted, weight_patches(patches, intensity)[None], corners[None])
        add_patches(self.weights, intensity[None], corners[None])
        self.add_constant(intensity, corners)

    def add_constant(self, intensity: Tensor, corners: Tensor) -> None:
        """Add patches that are 1 everywhere, as `add` adds those of the network."""
        add_patches(self.constant, weight_patches(intensity.new_ones(()), intensity)[None], corners[None])

    def add_illumination(self, intensity: Tensor, corners: Tensor) -> None:
        """Add probe intensities of positions that are visited for the first time."""
        add_patches(self.illumination, intensity[None], corners[None])

    def merge(self, factor: float = 1.0) -> tuple[Tensor, Tensor]:
        """Return the object times a factor, and the same merge of the constant 1, each (height, width)."""
        response = weighted_mean(self.constant.to(self.weighted.dtype), self.weights)
        return weighted_mean(self.weighted * factor, self.weights)[0], response[0].real


def weight_patches(patches: Tensor, intensity: Tensor) -> Tensor:
    """Weight every pixel of a patch by the intensity that measured it: its part of the numerator of the merge."""
    return patches * intensity


def run_network(
    scan: ScanData,
    predictor: PatchPredictor,
    positions: np.ndarray,
    aggregator: PatchAggregator,
    rounds: list[Groups],
    *,
    batch: int,
    progress: Progress,
    recorder: StatsRecorder | None = None,
) -> None:
    """Stream groups of patterns through the network onto one canvas.

    Args:
        scan: Counts.
        predictor: The network with probe, mask and scale.
        positions: Canvas positions of the patterns, pixels, (patterns, 2).
        aggregator: Running sums to add to.
        rounds: Groups; in every round each pattern leads one of them.
        batch: Patterns in memory at once.
        progress: Called as `progress("reconstruct", groups_done, groups)`.
        recorder: Recorder of what flows through the network.
    """
    device = predictor.mask.device
    total, done = sum(len(groups) for groups in rounds), 0
    for number, groups in enumerate(rounds):
        for part in np.split(groups, range(step := max(1, batch // groups.shape[1]), len(groups), step)):
            counts, shape = _read(scan, part), part.shape
            places = torch.from_numpy(positions[part]).to(device)
            offsets = (places - places[:, :1]).float()
            patches = predictor.patches(counts.to(device), offsets, recorder).flatten(0, 1)
            corners, fractions = split_positions(places.flatten(0, 1))
            intensity = probe_intensity(shift_probe(predictor.probe, fractions))
            aggregator.add(shift_patches(patches[None], fractions)[0], intensity, corners[0])
            if number == 0:
                leaders = slice(None, None, shape[1])
                aggregator.add_illumination(intensity[leaders], corners[0, leaders])
            done += len(part)
            progress("reconstruct", done, total)


def _read(scan: ScanData, batch: Groups) -> Tensor:
    """Read the counts of groups in FFT order, (group, channel, N, N); every pattern once."""
    patterns, place = np.unique(batch, return_inverse=True)
    counts = to_fft_order(torch.from_numpy(np.asarray(scan.counts[patterns], np.float32)))
    return counts[torch.from_numpy(place.reshape(batch.shape))]


def draw_groups(
    positions: np.ndarray, size: int, gridsize: int, neighbour_count: int, rounds: int, seed: int
) -> list[Groups]:
    """Draw the groups of every round, in the order of their leaders, so that a lazy scan is read front to back."""
    count = rounds if gridsize > 1 else 1
    rounds_of_groups = (
        group_neighbours(positions, gridsize, neighbour_count, None, seed + number, reach_px=size / 2)
        for number in range(count)
    )
    return [groups[groups[:, 0].argsort()] for groups in rounds_of_groups]
