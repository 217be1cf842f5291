"""One sweep of a network over a scan: patches stream onto running sums on one canvas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ptypinn.data.grouping import Groups, group_neighbours
from ptypinn.data.scan import ScanData
from ptypinn.models.patch_predictor import PatchPredictor
from ptypinn.physics.patches import add_patches, split_positions
from ptypinn.physics.propagation import to_fft_order
from ptypinn.physics.shift import shift_probe
from ptypinn.physics.stitch import probe_intensity, shift_patches, weighted_mean
from ptypinn.scale import StatsRecorder
from ptypinn.utils.progress import Progress


@dataclass(frozen=True)
class PatchAggregator:
    """Running sums of one sweep over a scan."""

    weighted: Tensor
    """Sum of probe intensity times patch, (1, height, width)."""
    constant: Tensor
    """The same sum for patches that are 1 everywhere, which shows what the merge itself does, (1, height, width)."""
    weights: Tensor
    """Sum of probe intensity over every patch, (1, height, width)."""
    illumination: Tensor
    """Sum of probe intensity over every position, (1, height, width), photons per object pixel."""

    @classmethod
    def empty(cls, shape: tuple[int, int], device: torch.device) -> PatchAggregator:
        """Sums of nothing, on a canvas of this shape."""
        canvas = torch.zeros((1, *shape), dtype=torch.complex64, device=device)
        images = torch.zeros((3, 1, *shape), device=device)
        return cls(canvas, *images)

    def add(self, patches: Tensor, intensity: Tensor, corners: Tensor) -> None:
        """Add patches (batch, N, N), aligned to the canvas, with their probe intensities and corners."""
        add_patches(self.weighted, weight_patches(patches, intensity)[None], corners[None])
        add_patches(self.weights, intensity[None], corners[None])
        self.respond(intensity, corners)

    def respond(self, intensity: Tensor, corners: Tensor) -> None:
        """Add patches that are 1 everywhere, as `add` does with those of the network."""
        add_patches(self.constant, weight_patches(intensity.new_ones(()), intensity)[None], corners[None])

    def illuminate(self, intensity: Tensor, corners: Tensor) -> None:
        """Add probe intensities of positions that are visited for the first time."""
        add_patches(self.illumination, intensity[None], corners[None])

    def stitched(self, factor: float = 1.0) -> tuple[Tensor, Tensor]:
        """The object times a factor, and what the same merge makes of the constant 1, each (height, width)."""
        response = weighted_mean(self.constant.to(self.weighted.dtype), self.weights)
        return weighted_mean(self.weighted * factor, self.weights)[0], response[0].real


def weight_patches(patches: Tensor, intensity: Tensor) -> Tensor:
    """What a patch adds to the numerator of the merge: every pixel by the light that measured it."""
    return patches * intensity


def run_network(
    scan: ScanData,
    predictor: PatchPredictor,
    positions: np.ndarray,
    sums: PatchAggregator,
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
        sums: Running sums to add to.
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
            patches = predictor.patches(counts.to(device), recorder).flatten(0, 1)
            corners, fractions = split_positions(torch.from_numpy(positions[part.reshape(-1)]).to(device))
            intensity = probe_intensity(shift_probe(predictor.probe, fractions))
            sums.add(shift_patches(patches[None], fractions)[0], intensity, corners[0])
            if number == 0:
                leaders = slice(None, None, shape[1])
                sums.illuminate(intensity[leaders], corners[0, leaders])
            done += len(part)
            progress("reconstruct", done, total)


def _read(scan: ScanData, batch: Groups) -> Tensor:
    """Counts of groups in FFT order, (group, channel, N, N); every pattern is read once."""
    patterns, place = np.unique(batch, return_inverse=True)
    counts = to_fft_order(torch.from_numpy(np.asarray(scan.counts[patterns], np.float32)))
    return counts[torch.from_numpy(place.reshape(batch.shape))]


def draw_groups(positions: np.ndarray, gridsize: int, neighbour_count: int, rounds: int, seed: int) -> list[Groups]:
    """Groups of every round, in the order of their leaders, so that a lazy scan is read front to back."""
    count = rounds if gridsize > 1 else 1
    drawn = (group_neighbours(positions, gridsize, neighbour_count, None, seed + number) for number in range(count))
    return [groups[groups[:, 0].argsort()] for groups in drawn]
