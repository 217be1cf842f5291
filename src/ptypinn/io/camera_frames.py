"""Frames of electron cameras, read on demand through LiberTEM."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Num

from ptypinn.data.validation import check_patterns
from ptypinn.errors import InputError
from ptypinn.io.crop import Window, cut

PACKAGE = "libertem"
"""Package that reads the files; it comes with the extra `cameras`."""
Value = TypeVar("Value")
BATCH_BYTES = 2**26
"""Bytes of whole frames that are read at once."""
CHECKED_FRAMES = (0, -1)
"""Frames that are read at once, so that a file that ends early is refused before anything is computed."""


class CameraCounts:
    """Frames of a camera's file, read on demand and checked when read.

    The file is opened at the first read of each process, so the object can be pickled and sent to workers.

    Args:
        path: The file, or that of several which states the others.
        kind: Name of its format in LiberTEM.
        frames: Number of frames in it.
        window: Rows and columns of the patterns that are kept; None keeps all.
        threshold: Values below it are read as 0; None leaves all as they are.
    """

    def __init__(
        self, path: Path, kind: str, frames: int, window: Window | None = None, threshold: float | None = None
    ) -> None:
        self._path, self._kind, self._frames, self._window = Path(path).resolve(), kind, frames, window
        self._threshold = threshold
        self._set: Any = None
        self._process = -1
        whole = self._open()
        self._dtype = np.dtype(whole.dtype).newbyteorder("=")
        self._frame_shape = tuple(int(edge) for edge in whole.shape.sig)
        if len(self._frame_shape) != 2:
            shape = " x ".join(map(str, self._frame_shape))
            actual = f"a volume of {shape} pixels"
            raise InputError(str(path), "file", actual, "a stack of images: an MRC file with mz = 1 in its header")
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
        return {**self.__dict__, "_set": None, "_process": -1}

    def _without_noise(self, patterns: np.ndarray) -> np.ndarray:
        """Set what is less than the threshold to 0: the noise of reading pixels that no electron met."""
        return patterns if self._threshold is None else np.where(patterns < self._threshold, 0, patterns)

    def _open(self) -> Any:
        if self._set is None or self._process != os.getpid():
            self._set = call_reader(self._path, lambda: _load(self._path, self._kind, self._frames))
            self._process = os.getpid()
        return self._set

    def _read(self, ordered: np.ndarray) -> np.ndarray:
        """Read frames by ascending numbers."""
        chosen = np.zeros(self._frames, bool)
        chosen[ordered] = True
        parts = [part for part in self._open().get_partitions() if _overlaps(part, chosen)]
        stacks = call_reader(self._path, lambda: [_read_part(part, self._dtype, chosen) for part in parts])
        patterns = np.concatenate(stacks).reshape(-1, *self._frame_shape)
        if len(patterns) != len(ordered):
            raise InputError(str(self._path), "file", f"{len(patterns)} of {len(ordered)} frames", "a complete file")
        return patterns


def count_frames(path: Path, kind: str) -> int:
    """Return the number of frames in a file.

    Args:
        path: The file.
        kind: Name of its format in LiberTEM.

    Raises:
        InputError: Where the package is missing, or the file has no frame that it can read.
    """
    number = int(call_reader(path, lambda: _load(path, kind, 1).meta.image_count))
    if number < 1:
        raise InputError(str(path), "file", "no frame", "a complete file of the camera")
    return number


def read_raster(path: Path, kind: str) -> tuple[int, ...]:
    """Return rows and columns of the raster that a file states.

    Args:
        path: The file.
        kind: Name of its format in LiberTEM.
    """

    def detect() -> tuple[int, ...]:
        from libertem.executor.inline import InlineJobExecutor
        from libertem.io.dataset import get_dataset_cls

        detected = get_dataset_cls(kind).detect_params(str(path), InlineJobExecutor())
        return tuple(int(edge) for edge in detected["parameters"]["nav_shape"])

    return call_reader(path, detect)


def call_reader(path: Path, call: Callable[[], Value]) -> Value:
    """Call into the package that reads cameras; whatever it raises is an `InputError` that names the file."""
    try:
        return call()
    except InputError:
        raise
    except ImportError as error:
        expected = "it; pip install 'ptypinn[cameras]'"
        raise InputError(str(path), "format", f"no package {error.name or PACKAGE}", expected) from error
    except Exception as error:  # a package from outside may raise anything of a damaged file
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        actual = f"content that {PACKAGE} cannot read ({reason})"
        raise InputError(str(path), "file", actual, "a complete file of the camera") from error


def _load(path: Path, kind: str, frames: int) -> Any:
    from libertem.executor.inline import InlineJobExecutor
    from libertem.io.dataset import load

    return load(kind, executor=InlineJobExecutor(), path=str(path), nav_shape=(frames,), sync_offset=0)


def _overlaps(part: Any, chosen: np.ndarray) -> bool:
    """Return True if a partition has some of the chosen frames."""
    first, number = int(part.slice.origin[0]), int(part.slice.shape[0])
    return bool(chosen[first : first + number].any())


def _read_part(part: Any, dtype: np.dtype[Any], chosen: np.ndarray) -> np.ndarray:
    """Return the chosen frames of a partition."""
    return np.asarray(part.get_macrotile(dest_dtype=dtype, roi=chosen).data)
