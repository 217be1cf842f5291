"""Simulated states in worker processes, made with the weights that the epoch began with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import lightning
import numpy as np
import torch
from numpy.random import Generator
from torch import nn
from torch.utils.data import DataLoader, Dataset, Sampler

from ptypinn.config.pretrain import PretrainConfig
from ptypinn.models.canvas_features import CHANNELS
from ptypinn.models.unrolled import UnrolledCorrection
from ptypinn.training.solver_states import StateBatch, draw_states, join, turned

TRAIN, CHECK, CARD = 0, 1, 3
"""Second number of every seed: what is checked on is never trained on."""


class StateDataset(Dataset[StateBatch]):
    """States of scan number `index`, which is its seed.

    Args:
        network: Corrects the states; in shared memory, so that workers see it change between epochs.
        config: What to draw.
    """

    def __init__(self, network: nn.Module, config: PretrainConfig) -> None:
        self.network, self.config = network, config

    def __getitem__(self, index: int) -> StateBatch:
        """States of one scan, the same for the same index and weights."""
        return draw_states((self.config.seed, TRAIN, index), self.network, self.config)


class EpochSampler(Sampler[int]):
    """The scans of an epoch: numbers that no other epoch has."""

    def __init__(self, count: int) -> None:
        self.count, self.epoch = count, 0

    def __iter__(self) -> Iterator[int]:
        """Their numbers."""
        first = self.epoch * self.count
        return iter(range(first, first + self.count))

    def __len__(self) -> int:
        """How many they are."""
        return self.count

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before every epoch, and before its first batch is asked for."""
        self.epoch = epoch


class StateDataModule(lightning.LightningDataModule):
    """Batches of states, never the same twice.

    Args:
        config: What to draw, how much at once, with how many workers.
    """

    def __init__(self, config: PretrainConfig) -> None:
        super().__init__()
        self.config = config
        self.network = UnrolledCorrection(CHANNELS, widths=config.widths).eval().requires_grad_(False)
        self.network.share_memory()

    def take(self, network: nn.Module) -> None:
        """Use these weights from now on: called between epochs, when no worker is at work."""
        self.network.load_state_dict(network.state_dict())

    def train_dataloader(self) -> Replay:
        """Batches of `scans_per_batch` scans, and of states seen before."""
        config, sampler = self.config, EpochSampler(self.config.scans_per_epoch)
        fresh = DataLoader(
            StateDataset(self.network, config),
            batch_size=config.scans_per_batch,
            sampler=sampler,
            collate_fn=join,
            num_workers=config.workers,
            multiprocessing_context="spawn" if config.workers else None,
            persistent_workers=config.workers > 0,
        )
        return Replay(fresh, sampler, config.replays, config.seed)


REPLAY = 2
"""Number of the random stream, beside those of the scans."""


class Replay:
    """Fresh batches, each followed by batches of states seen earlier in the epoch, turned at random.

    Args:
        fresh: Batches of an epoch.
        sampler: Numbers the scans; tells which epoch it is. Nothing is drawn before the first batch is asked for, so
            that the trainer has set it by then.
        replays: Batches of seen states per fresh batch.
        seed: Of the choice.
    """

    def __init__(self, fresh: Iterable[StateBatch], sampler: Sampler[int], replays: int, seed: int) -> None:
        self.fresh, self.sampler, self.replays, self.seed = fresh, sampler, replays, seed

    def __len__(self) -> int:
        """Batches of both kinds."""
        return len(self.fresh) * (1 + self.replays)  # type: ignore[arg-type]  # a loader has a length

    def __iter__(self) -> Iterator[StateBatch]:
        """The batches of an epoch, the same for the same epoch."""
        rng, seen = np.random.default_rng((self.seed, REPLAY, self.sampler.epoch)), list[StateBatch]()  # type: ignore[attr-defined]
        for batch in self.fresh:
            yield batch
            count = len(batch["maps"])
            seen.extend(_row(batch, number) for number in range(count))
            for _ in range(self.replays):
                chosen = rng.choice(len(seen), count, replace=False)
                yield join([_turned(seen[number], rng) for number in chosen])


def _row(batch: StateBatch, number: int) -> StateBatch:
    part = slice(number, number + 1)
    return StateBatch(**{name: batch[name][part] for name in batch})  # type: ignore[literal-required,typeddict-item]


def _turned(row: StateBatch, rng: Generator) -> StateBatch:
    stacked = torch.cat([row["maps"], row["unit"], row["missing"], row["weight"]], 1)[0]
    stacked = turned(stacked, int(rng.integers(4)), flipped=rng.random() < 0.5, conjugated=rng.random() < 0.5)
    maps, unit, missing, weight = torch.split(stacked[None], [row["maps"].shape[1], 1, 2, 1], 1)
    return StateBatch(maps=maps, unit=unit, missing=missing, weight=weight, power=row["power"])
