"""Take detector counts out of an HDF5 dataset: into memory, or lazily where they are too many."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from ptypinn.config.load import LoadConfig
from ptypinn.data.lazy import LazyCounts
from ptypinn.data.scan import Counts


def take_counts(dataset: h5py.Dataset, path: Path, good: np.ndarray | None, config: LoadConfig) -> Counts:
    """Read a dataset of counts, or leave it on disk where it exceeds `memory_budget_MB`.

    Args:
        dataset: Patterns, (M, N, N).
        path: File that holds it.
        good: Good pixels, (N, N), or None.
        config: Reading options.
    """
    if dataset.nbytes > config.memory_budget_MB * 1e6:
        return LazyCounts(path, dataset.name, good)
    return np.asarray(dataset[()])
