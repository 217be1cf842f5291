"""States are costly to make and cheap to learn from: every fresh batch comes with some that were seen before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.random import Generator
from torch.utils.data import Sampler

from ptypinn.pretraining.states import StateBatch, join, turned

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
