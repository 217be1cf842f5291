"""Cache of the steps of a run: each finished step is recorded with a digest of its inputs and not repeated."""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ptypinn._version import __version__
from ptypinn.runs.folder import STEPS
from ptypinn.utils.atomic_files import write_json
from ptypinn.utils.plain_values import to_plain


@dataclass(frozen=True)
class Step:
    """One step on record."""

    digest: str
    """Digest of everything that the step depends on."""
    finished: bool
    """True if it ran to its end."""
    wall_s: float = 0.0
    """Wall time of the run that finished it, seconds."""
    cpu_s: float = 0.0
    """CPU time of all its threads, seconds."""
    reused: bool = False
    """True if an earlier run finished it."""
    size: int | None = None
    """Bytes of its product."""
    sha256: str | None = None
    """SHA-256 of its product."""

    def matches(self, product: Path) -> bool:
        """Return True if a file is the one that the step wrote."""
        if not product.is_file() or product.stat().st_size != self.size:
            return False
        return _sha256(product) == self.sha256


class StepCache:
    """Recorded steps of a run folder.

    Args:
        folder: The run folder.
        ignore_records: Ignore the records of an earlier run.
    """

    def __init__(self, folder: Path, ignore_records: bool = False) -> None:
        self._path = folder / STEPS
        self._earlier = {} if ignore_records else _read(self._path)
        self.steps: dict[str, Step] = {}

    def run_once(self, name: str, digest: str, product: Path, make: Callable[[bool], Any]) -> Step:
        """Make a product, or reuse it where a finished step made it from the same inputs and it is unchanged.

        Args:
            name: Name of the step.
            digest: Digest of what it depends on.
            product: The file that the step makes.
            make: Function that makes it; its argument is True if the same step was started before.
        """
        before = self._earlier.get(name)
        same = before is not None and before.digest == digest
        if before is not None and same and before.finished:
            if before.matches(product):
                self.steps[name] = replace(before, reused=True)
                return self.steps[name]
            warnings.warn(f"{product} differs from what the step '{name}' wrote and is made again", stacklevel=2)
        wall_s, cpu_s = time.monotonic(), time.process_time()
        make(same)
        wall_s, cpu_s = time.monotonic() - wall_s, time.process_time() - cpu_s
        step = Step(digest, True, wall_s, cpu_s, size=product.stat().st_size, sha256=_sha256(product))
        self._record(name, step)
        return step

    def begin(self, name: str, digest: str) -> None:
        """Record that a step has started: its files belong to this digest from now on."""
        self._record(name, Step(digest, False))

    def _record(self, name: str, step: Step) -> None:
        self.steps[name] = step
        write_json(self._path, {key: asdict(value) for key, value in {**self._earlier, **self.steps}.items()})


def hash_values(*parts: Any) -> str:
    """Return the SHA-256 of plain values and the version of the program."""
    return hashlib.sha256(json.dumps([__version__, to_plain(parts)], sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path) -> dict[str, Step]:
    try:
        return {name: Step(**record) for name, record in json.loads(path.read_text(encoding="utf-8")).items()}
    except (
        OSError,
        ValueError,
        TypeError,
        AttributeError,
    ):  # missing, damaged or of another version: no step is reused
        return {}
