"""Caches of open pictures and comparisons: the most recently used ones, within a bound on their reduced copies."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

from ptypinn.viewer.comparison import Comparison, compare_pictures
from ptypinn.viewer.picture import Picture, open_layers
from ptypinn.viewer.picture_file import FileChangedError, HeldPictureFile, file_version, hold_images, open_picture

MAX_OPEN = 64
"""Maximum number of open pictures, however small."""

MAX_BUILDING = 2
"""Maximum number of pictures that are reduced at the same time."""

MAX_HELD = 12
"""Maximum number of snapshots of runs in progress in memory, earlier ones that pages still ask for included."""

MAX_COMPARISONS = 2
"""Maximum number of comparisons in the cache."""


class PictureCache:
    """Pictures by file, opened on demand and dropped when the file changes or the cache is full.

    Args:
        max_bytes: Bound on the reduced copies together; one picture stays however large it is.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._open: OrderedDict[tuple[Path, int], Picture] = OrderedDict()
        self._guard = threading.Lock()
        self._held: OrderedDict[tuple[Path, str], Picture] = OrderedDict()
        self._building: dict[tuple[Path, int], threading.Lock] = {}
        self._builders = threading.Semaphore(MAX_BUILDING)

    def get(self, path: Path, shown_slice: int = 0) -> Picture:
        """Return the picture of the current version of a file.

        Args:
            path: The file.
            shown_slice: Slice in place of the object, from 1; 0 for all of them together.

        Raises:
            InputError: Where the file cannot be read.
            FileChangedError: Where the file changes repeatedly during the read.
        """
        with self._guard:
            lock = self._building.setdefault((path, shown_slice), threading.Lock())
        with lock:  # two requests do not reduce the same object twice
            picture = self._find(path, shown_slice) or self._open_file(path, shown_slice)
        self._make_room()
        return picture

    def get_version(self, path: Path, key: str, shown_slice: int = 0) -> Picture:
        """Return the picture of a version of a file: the current one, or a snapshot of the same run in memory.

        Args:
            path: The file.
            key: Version, and slice, as in `PictureFile.key`.
            shown_slice: Slice in place of the object, from 1; 0 for all of them together.

        Raises:
            InputError: Where the file cannot be read.
            FileChangedError: Where there is only a newer version.
        """
        with self._guard:
            held = self._held.get((path.parent, key))
        picture = held or self.get(path, shown_slice)
        if picture.file.key != key:
            raise FileChangedError(str(path))
        return picture

    def _find(self, path: Path, shown_slice: int) -> Picture | None:
        with self._guard:
            picture = self._open.get((path, shown_slice))
            if picture is None or not path.exists() or picture.file.version != file_version(path):
                return None
            self._open.move_to_end((path, shown_slice))
            return picture

    def _open_file(self, path: Path, shown_slice: int, tries: int = 3) -> Picture:
        for _ in range(tries):
            try:
                with self._builders:
                    picture = open_layers(hold_images(open_picture(path, shown_slice)))
            except FileChangedError:
                continue
            with self._guard:
                self._hold(picture)
                self._open[path, shown_slice] = picture
                self._open.move_to_end((path, shown_slice))
            return picture
        raise FileChangedError(str(path))

    def _hold(self, picture: Picture) -> None:
        """Leave a snapshot open beyond its replacement, for the pages that show it."""
        if isinstance(picture.file, HeldPictureFile):
            self._held[picture.file.path.parent, picture.file.key] = picture
        while len(self._held) > MAX_HELD:
            self._held.popitem(last=False)

    def _make_room(self) -> None:
        with self._guard:
            while len(self._open) > 1 and (len(self._open) > MAX_OPEN or self._nbytes() > self._max_bytes):
                self._open.popitem(last=False)

    def _nbytes(self) -> int:
        return sum(picture.pyramid.nbytes for picture in self._open.values())


class ComparisonCache:
    """Comparisons of two pictures, computed on demand; the most recently used ones stay."""

    def __init__(self) -> None:
        self._comparisons: OrderedDict[str, Comparison] = OrderedDict()
        self._guard = threading.Lock()

    def get(self, first: Picture, second: Picture) -> Comparison:
        """Return the comparison of a picture with another.

        Raises:
            InputError: Where they cannot be compared.
            FileChangedError: Where a file changes during the read.
        """
        key = " ".join(f"{picture.file.path} {picture.file.key}" for picture in (first, second))
        with self._guard:
            if key not in self._comparisons:
                self._comparisons[key] = compare_pictures(first, second)
            self._comparisons.move_to_end(key)
            while len(self._comparisons) > MAX_COMPARISONS:
                self._comparisons.popitem(last=False)
            return self._comparisons[key]
