"""Pictures that are open: the ones used last, within a bound on their reduced copies."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

from ptypinn.viewer.comparison import Comparison, compare_pictures
from ptypinn.viewer.picture import Picture, open_layers
from ptypinn.viewer.picture_file import FileChangedError, open_picture, file_version

MAX_OPEN = 64
"""Pictures that are kept, however small."""

MAX_BUILDING = 2
"""Pictures that are reduced at the same time."""

MAX_COMPARISONS = 2
"""Comparisons that are kept."""


class PictureCache:
    """Opens pictures, and keeps them until they change or others need the room.

    Args:
        most_bytes: Bound on the reduced copies together; one picture is kept however large it is.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._open: OrderedDict[Path, Picture] = OrderedDict()
        self._guard = threading.Lock()
        self._building: dict[Path, threading.Lock] = {}
        self._builders = threading.Semaphore(MAX_BUILDING)

    def get(self, path: Path) -> Picture:
        """The picture of a file as it is now.

        Raises:
            InputError: Where the file cannot be read.
            OutdatedError: Where it keeps changing while it is read.
        """
        with self._guard:
            lock = self._building.setdefault(path, threading.Lock())
        with lock:  # two requests do not reduce the same object twice
            found = self._kept(path) or self._opened(path)
        self._make_room()
        return found

    def _kept(self, path: Path) -> Picture | None:
        with self._guard:
            found = self._open.get(path)
            if found is None or not path.exists() or found.file.version != file_version(path):
                return None
            self._open.move_to_end(path)
            return found

    def _opened(self, path: Path, tries: int = 3) -> Picture:
        for _ in range(tries):
            try:
                with self._builders:
                    found = open_layers(open_picture(path))
            except FileChangedError:
                continue
            with self._guard:
                self._open[path] = found
                self._open.move_to_end(path)
            return found
        raise FileChangedError(str(path))

    def _make_room(self) -> None:
        with self._guard:
            while len(self._open) > 1 and (len(self._open) > MAX_OPEN or self._nbytes() > self._most_bytes):
                self._open.popitem(last=False)

    def _nbytes(self) -> int:
        return sum(picture.pyramid.nbytes for picture in self._open.values())


class ComparisonCache:
    """Compares pictures, and keeps the comparisons that were asked for last."""

    def __init__(self) -> None:
        self._pairs: OrderedDict[str, Comparison] = OrderedDict()
        self._guard = threading.Lock()

    def get(self, first: Picture, second: Picture) -> Comparison:
        """The comparison of a picture with another.

        Raises:
            InputError: Where they cannot be compared.
            OutdatedError: Where one has changed meanwhile.
        """
        key = " ".join(f"{picture.file.path} {picture.file.version}" for picture in (first, second))
        with self._guard:
            if key not in self._pairs:
                self._pairs[key] = compare_pictures(first, second)
            self._pairs.move_to_end(key)
            while len(self._pairs) > MAX_COMPARISONS:
                self._pairs.popitem(last=False)
            return self._pairs[key]
