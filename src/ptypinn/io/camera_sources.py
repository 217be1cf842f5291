"""Sources of the frames of electron cameras: LiberTEM, or the array in which DM and MRC files store them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ptypinn.errors import InputError

PACKAGE = "libertem"
"""Package that reads the files; it comes with the extra `cameras`."""
Value = TypeVar("Value")


@dataclass(frozen=True)
class StoredFrames:
    """Frames that lie in a file as one array."""

    path: Path
    """The file."""
    offset: int
    """First byte of the array."""
    dtype: np.dtype[Any]
    """Number type in the file."""
    frame_shape: tuple[int, int]
    """Rows and columns of a frame."""
    raster: tuple[int, ...]
    """Rows and columns of the raster; the number of frames where the file states none."""
    frames_are_innermost: bool = False
    """True if the values of a pixel in all frames lie side by side, false if those of a frame do."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of frames, rows, columns."""
        return (int(np.prod(self.raster, dtype=object)), *self.frame_shape)

    @property
    def end(self) -> int:
        """Number of bytes of the file up to the end of the array."""
        return self.offset + int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize

    def read(self, ordered: np.ndarray) -> np.ndarray:
        """Read frames by ascending numbers, (frames, rows, columns)."""
        shape = (*self.shape[1:], self.shape[0]) if self.frames_are_innermost else self.shape
        stored = np.memmap(self.path, self.dtype, "r", self.offset, shape)
        frames = np.moveaxis(stored, -1, 0) if self.frames_are_innermost else stored
        return np.array(frames[ordered])


class LiberTEMFrames:
    """Frames of a file that LiberTEM reads.

    Args:
        path: The file, or that of several which states the others.
        kind: Name of its format in LiberTEM.
        frames: Number of frames in it; None where they are to be counted.
    """

    def __init__(self, path: Path, kind: str, frames: int | None) -> None:
        self._set = _load(path, kind, int(_load(path, kind, 1).meta.image_count) if frames is None else frames)
        self.dtype: np.dtype[Any] = np.dtype(self._set.dtype).newbyteorder("=")
        self.shape: tuple[int, ...] = (int(self._set.shape.nav.size), *map(int, self._set.shape.sig))

    def read(self, ordered: np.ndarray) -> np.ndarray:
        """Read frames by ascending numbers, (frames, rows, columns)."""
        chosen = np.zeros(self.shape[0], bool)
        chosen[ordered] = True
        parts = [part for part in self._set.get_partitions() if _overlaps(part, chosen)]
        stacks = [np.asarray(part.get_macrotile(dest_dtype=self.dtype, roi=chosen).data) for part in parts]
        return np.concatenate(stacks).reshape(-1, *self.shape[1:])


FrameSource = StoredFrames | LiberTEMFrames
"""Frames of an open file."""


def read_raster(path: Path, kind: str) -> tuple[int, ...]:
    """Return rows and columns of the raster that a file states to LiberTEM.

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
