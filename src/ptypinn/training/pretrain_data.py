"""Batches of solver states, simulated in worker processes with the weights of the start of the epoch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import lightning
import numpy as np
import torch
from numpy.random import Generator
from torch import nn
from torch.utils.data import DataLoader, Dataset, Sampler

from ptypinn.config.pretrain import PretrainConfig
from ptypinn.models.unrolled import CHANNELS, UnrolledCorrection
from ptypinn.training.solver_states import StateBatch, draw_states, join_states, transform_maps

TRAIN, CHECK, CARD = 0, 1, 3
"""Second number of every seed: training and validation scans never coincide."""


class StateDataset(Dataset[StateBatch]):
    """States of scan number `index`, which is its seed.

    Args:
        network: Corrects the states; in shared memory, so that workers get its changes between epochs.
        config: Distribution of the scans.
    """

    def __init__(self, network: nn.Module, config: PretrainConfig) -> None:
        self.network, self.config = network, config

    def __getitem__(self, index: int) -> StateBatch:
        """Return the states of one scan, a function of index and weights."""
        return draw_states((self.config.seed, TRAIN, index), self.network, self.config)


class EpochSampler(Sampler[int]):
    """The scans of an epoch: numbers that no other epoch has."""

    def __init__(self, count: int) -> None:
        self.count, self.epoch = count, 0

    def __iter__(self) -> Iterator[int]:
        """Iterate over their numbers."""
        first = self.epoch * self.count
        return iter(range(first, first + self.count))

    def __len__(self) -> int:
        """Return the number of scans."""
        return self.count

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; the trainer calls it before every epoch and before its first batch."""
        self.epoch = epoch


class StateDataModule(lightning.LightningDataModule):
    """Batches of states, never the same twice.

    Args:
        config: Distribution of the scans, size of batches, number of workers.
    """

    def __init__(self, config: PretrainConfig) -> None:
        super().__init__()
        self.config = config
        self.network = UnrolledCorrection(CHANNELS, widths=config.widths).eval().requires_grad_(False)
        self.network.share_memory()

    def update_weights(self, network: nn.Module) -> None:
        """Copy the weights of a network; call it between epochs, when no worker is busy."""
        self.network.load_state_dict(network.state_dict())

    def train_dataloader(self) -> ReplayLoader:
        """Return batches of `scans_per_batch` scans, with replays of earlier states."""
        config, sampler = self.config, EpochSampler(self.config.scans_per_epoch)
        fresh = DataLoader(
            StateDataset(self.network, config),
            batch_size=config.scans_per_batch,
            sampler=sampler,
            collate_fn=join_states,
            num_workers=config.workers,
            multiprocessing_context="spawn" if config.workers else None,
            persistent_workers=config.workers > 0,
        )
        return ReplayLoader(fresh, sampler, config.replay_steps, config.seed)


REPLAY = 2
"""Number of the random stream of the replays, beside those of the scans."""


class ReplayLoader:
    """Fresh batches, each followed by replayed batches of earlier states of the epoch, in random orientations.

    Args:
        fresh: Batches of an epoch.
        sampler: Numbers the scans and holds the epoch. Nothing is drawn before the first batch is requested, when
            the trainer has set the epoch.
        replays: Replayed batches per fresh batch.
        seed: Seed of the choice.
    """

    def __init__(self, fresh: Iterable[StateBatch], sampler: Sampler[int], replays: int, seed: int) -> None:
        self.fresh, self.sampler, self.replays, self.seed = fresh, sampler, replays, seed

    def __len__(self) -> int:
        """Return the number of batches of both kinds."""
        return len(self.fresh) * (1 + self.replays)  # type: ignore[arg-type]  # a loader has a length

    def __iter__(self) -> Iterator[StateBatch]:
        """Iterate over the batches of an epoch, a function of the epoch."""
        rng, earlier = np.random.default_rng((self.seed, REPLAY, self.sampler.epoch)), list[StateBatch]()  # type: ignore[attr-defined]
        for batch in self.fresh:
            yield batch
            count = len(batch["maps"])
            earlier.extend(_row(batch, number) for number in range(count))
            for _ in range(self.replays):
                chosen = rng.choice(len(earlier), count, replace=False)
                yield join_states([_transform(earlier[number], rng) for number in chosen])


def _row(batch: StateBatch, number: int) -> StateBatch:
    part = slice(number, number + 1)
    return StateBatch(**{name: batch[name][part] for name in batch})  # type: ignore[literal-required,typeddict-item]


def _transform(row: StateBatch, rng: Generator) -> StateBatch:
    stacked = torch.cat([row["maps"], row["unit"], row["missing"], row["weight"]], 1)[0]
    stacked = transform_maps(stacked, int(rng.integers(4)), flipped=rng.random() < 0.5, conjugated=rng.random() < 0.5)
    maps, unit, missing, weight = torch.split(stacked[None], [row["maps"].shape[1], 1, 2, 1], 1)
    return StateBatch(maps=maps, unit=unit, missing=missing, weight=weight, power=row["power"])
