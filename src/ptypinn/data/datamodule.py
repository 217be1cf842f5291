"""Windows of neighbouring patterns as training batches, read from memory or from a lazy scan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypedDict

import lightning
import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler

from ptypinn.data.calibration import pattern_sums
from ptypinn.data.grouping import Index, cluster_groups, group_neighbours, hold_out_clusters
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.physics.propagation import to_fft_order
from ptypinn.types import Corners, Fractions


class WindowBatch(TypedDict):
    """Several windows of `cluster * channel` patterns each."""

    counts: Float[Tensor, "window cluster channel y x"]
    """Measured counts, FFT order."""
    corners: Corners
    """Integer patch corners on the window's canvas, (window, cluster * channel, 2)."""
    fractions: Fractions
    """Sub-pixel rest of the positions, (window * cluster * channel, 2)."""
    origins: Int64[Tensor, "window 2"]
    """Origin of each window's canvas in the scan's coordinates, pixels."""


class WindowDataset(Dataset[WindowBatch]):
    """Windows of a scan, fetched a batch at a time.

    Args:
        scan: Counts and positions.
        windows: Pattern indices, (windows, cluster, channels).
    """

    def __init__(self, scan: ScanData, windows: Int64[np.ndarray, "windows cluster channel"]) -> None:
        self.scan, self.windows = scan, windows
        self._whole = np.round(scan.positions_px).astype(np.int64)
        corners = self._whole[windows.reshape(len(windows), -1)]
        self._origins = corners.min(1)
        self.shape: tuple[int, int] = tuple((corners.max(1) - self._origins).max(0).tolist())
        self.shape = (self.shape[0] + scan.size, self.shape[1] + scan.size)

    def __len__(self) -> int:
        return len(self.windows)

    def __getitems__(self, index: Sequence[int]) -> WindowBatch:
        """Read one batch of windows; every pattern is read once."""
        windows, origins = self.windows[list(index)], self._origins[list(index)]
        patterns, place = np.unique(windows, return_inverse=True)
        counts = torch.from_numpy(np.asarray(self.scan.counts[patterns], np.float32))
        flat = windows.reshape(len(windows), -1)
        fractions = (self.scan.positions_px - self._whole)[flat].reshape(-1, 2)
        return WindowBatch(
            counts=to_fft_order(counts)[torch.from_numpy(place.reshape(windows.shape))],
            corners=torch.from_numpy(self._whole[flat] - origins[:, None]),
            fractions=torch.from_numpy(fractions.astype(np.float32)),
            origins=torch.from_numpy(origins),
        )


class WindowSampler(Sampler[int]):
    """Random windows, drawn from the seed and the number of the epoch: resuming needs no hidden state.

    Args:
        total: Windows to draw from.
        per_epoch: Windows to draw per epoch, without replacement.
        seed: Seed of all epochs.
    """

    def __init__(self, total: int, per_epoch: int, seed: int) -> None:
        self._total, self._per_epoch, self._seed, self._epoch = total, per_epoch, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch whose windows come next."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng((self._seed, self._epoch)).permutation(self._total)
        return iter(order[: self._per_epoch].tolist())

    def __len__(self) -> int:
        return self._per_epoch


class ScanDataModule(lightning.LightningDataModule):
    """Training and validation windows of a scan.

    An epoch draws as many windows as visit every group about once.

    Args:
        scan: The scan.
        patterns: Patterns to train and validate on; no others enter a batch.
        gridsize: Groups hold `gridsize**2` patterns.
        neighbour_count: Nearest neighbours to draw a group's members from.
        cluster_size: Groups in a window.
        n_groups: Training groups; None for one per training pattern.
        batch_size: Windows per batch.
        val_fraction: Fraction of `patterns` set aside, in whole windows.
        seed: Seed of the split, the groups and the order.

    Raises:
        InputError: Where no pattern is left to train on.
    """

    def __init__(
        self,
        scan: ScanData,
        patterns: Index,
        *,
        gridsize: int = 1,
        neighbour_count: int = 7,
        cluster_size: int = 12,
        n_groups: int | None = None,
        batch_size: int = 2,
        val_fraction: float = 0.05,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if len(patterns) == 0:
            raise InputError(scan.source, "patterns", "none to train on", "at least one; check the --split options")
        self._scan, self._batch_size, self._seed = scan, batch_size, seed
        positions = scan.positions_px
        held, reach = cluster_size * gridsize**2, scan.size / 2
        train, validation = hold_out_clusters(positions, patterns, val_fraction, held, seed)
        self.train_patterns, self.val_patterns = train, validation

        def windows(index: Index, count: int | None) -> WindowDataset:
            groups = index[group_neighbours(positions[index], gridsize, neighbour_count, count, seed, reach_px=reach)]
            return WindowDataset(scan, cluster_groups(positions, groups, cluster_size))

        self.train_windows = windows(train, n_groups)
        self.val_windows = windows(validation, None) if len(validation) else None

    @property
    def window_shape(self) -> tuple[int, int]:
        """Height and width of a canvas that holds any window, pixels."""
        shapes = [windows.shape for windows in (self.train_windows, self.val_windows) if windows is not None]
        return max(shape[0] for shape in shapes), max(shape[1] for shape in shapes)

    def mean_pattern_energy(self) -> float:
        """Return the mean photons per training pattern on good pixels, E, float64."""
        energy = float(pattern_sums(self._scan)[self.train_patterns].mean())
        if not energy > 0:
            raise InputError(self._scan.source, "counts", "no photon in the training patterns", "patterns with photons")
        return energy

    def train_dataloader(self) -> DataLoader[WindowBatch]:
        """Return random windows of the training patterns."""
        windows = self.train_windows
        return self._loader(windows, WindowSampler(len(windows), self._per_epoch(windows), self._seed))

    def val_dataloader(self) -> list[DataLoader[WindowBatch]]:
        """Return the windows of the validation patterns, the same every time; empty without validation patterns."""
        windows = self.val_windows
        if windows is None:
            return []
        return [self._loader(windows, range(0, len(windows), -(-len(windows) // self._per_epoch(windows))))]

    def _per_epoch(self, windows: WindowDataset) -> int:
        return -(-len(windows) // windows.windows.shape[1])

    def _loader(self, windows: WindowDataset, order: Sampler[int] | range) -> DataLoader[WindowBatch]:
        batches = BatchSampler(order, self._batch_size, drop_last=False)
        return DataLoader(windows, batch_sampler=batches, collate_fn=_whole_batch)


def _whole_batch(batch: Any) -> Any:
    return batch
