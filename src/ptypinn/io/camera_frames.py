"""Frames of electron cameras, read on demand."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Num

from ptypinn.data.validation import check_patterns
from ptypinn.errors import InputError
from ptypinn.io.camera_arrays import read_dm, read_mrc
from ptypinn.io.camera_sources import FrameSource, LiberTEMFrames, StoredFrames, call_reader
from ptypinn.io.crop import Window, cut

STORED: dict[str, Callable[[Path], StoredFrames]] = {"dm": read_dm, "mrc": read_mrc}
"""Formats whose frames lie in the file as one array."""
BATCH_BYTES = 2**26
"""Bytes of whole frames that are read at once."""
CHECKED_FRAMES = (0, -1)
"""Frames that are read at once, so that a file that ends early is refused before anything is computed."""


class CameraCounts:
    """Frames of a camera's file, read on demand and checked when read.

    The file is opened at the first read of each process, so the object can be pickled and sent to workers.

    Args:
        path: The file, or that of several which states the others.
        kind: Name of its format.
        frames: Number of frames in it.
        window: Rows and columns of the patterns that are kept; None keeps all.
        threshold: Values below it are read as 0; None leaves all as they are.
    """

    def __init__(
        self, path: Path, kind: str, frames: int, window: Window | None = None, threshold: float | None = None
    ) -> None:
        self._path, self._kind, self._frames, self._window = Path(path).resolve(), kind, frames, window
        self._threshold = threshold
        self._source: FrameSource | None = None
        self._process = -1
        whole = self._open()
        self._dtype = np.dtype(whole.dtype).newbyteorder("=")
        self._frame_shape = whole.shape[1:]
        edges = self._frame_shape if window is None else [part.stop - part.start for part in window]
        self._shape = (frames, *edges)

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Rows and columns of a whole frame."""
        return self._frame_shape

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of patterns, rows, columns."""
        return self._shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Number type of the counts."""
        return self._dtype

    def __len__(self) -> int:
        return self._frames

    def __getitem__(self, key: Any) -> Num[np.ndarray, "patterns y x"]:
        """Read patterns by slice, by integer array in any order, or by boolean array.

        Raises:
            InputError: Where the file cannot be read, or good pixels hold negative or non-finite counts.
        """
        wanted = np.atleast_1d(np.arange(self._frames)[key])
        ordered, inverse = np.unique(wanted, return_inverse=True)
        patterns = np.empty((len(ordered), *self._shape[1:]), self._dtype)
        batch = max(1, BATCH_BYTES // (math.prod(self._frame_shape) * self._dtype.itemsize))
        for start in range(0, len(ordered), batch):
            part = slice(start, start + batch)
            patterns[part] = cut(self._read(ordered[part]), self._window)
        patterns = self._without_noise(patterns)
        check_patterns(str(self._path), patterns, numbers=ordered)
        return patterns if np.array_equal(wanted, ordered) else patterns[inverse]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_source": None, "_process": -1}

    def _without_noise(self, patterns: np.ndarray) -> np.ndarray:
        """Set what is less than the threshold to 0: the noise of reading pixels that no electron met."""
        return patterns if self._threshold is None else np.where(patterns < self._threshold, 0, patterns)

    def _open(self) -> FrameSource:
        if self._source is None or self._process != os.getpid():
            self._source = open_source(self._path, self._kind, self._frames)
            self._process = os.getpid()
        return self._source

    def _read(self, ordered: np.ndarray) -> np.ndarray:
        """Read frames by ascending numbers."""
        source = self._open()
        patterns = call_reader(self._path, lambda: source.read(ordered))
        if len(patterns) != len(ordered):
            raise InputError(str(self._path), "file", f"{len(patterns)} of {len(ordered)} frames", "a complete file")
        return patterns


def open_source(path: Path, kind: str, frames: int | None = None) -> FrameSource:
    """Open the frames of a file.

    Args:
        path: The file, or that of several which states the others.
        kind: Name of its format.
        frames: Number of frames in it; None where they are to be counted.

    Raises:
        InputError: Where the package is missing, or the file has no frame that can be read.
    """

    def read() -> FrameSource:
        return STORED[kind](path) if kind in STORED else LiberTEMFrames(path, kind, frames)

    source = call_reader(path, read)
    if source.shape[0] < 1:
        raise InputError(str(path), "file", "no frame", "a complete file of the camera")
    return source
