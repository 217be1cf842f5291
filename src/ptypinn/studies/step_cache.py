"""Steps of a run that are not done twice: each finished one is on record with a digest of what it depends on."""

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
from ptypinn.utils.files import write_json
from ptypinn.utils.serialise import to_plain


@dataclass(frozen=True)
class Step:
    """One step on record."""

    digest: str
    """Digest of everything that the step depends on."""
    finished: bool
    """Whether it ran to its end."""
    wall_s: float = 0.0
    """Wall time of the run that finished it, seconds."""
    cpu_s: float = 0.0
    """CPU time of all its threads, seconds."""
    kept: bool = False
    """Whether an earlier run had finished it."""
    size: int | None = None
    """Bytes of its product."""
    sha256: str | None = None
    """SHA-256 of its product."""

    def made(self, product: Path) -> bool:
        """Whether a file is the one that the step made."""
        if not product.is_file() or product.stat().st_size != self.size:
            return False
        return _sha256(product) == self.sha256


class Steps:
    """The steps of a run folder.

    Args:
        folder: The run folder.
        afresh: Forget what is on record.
    """

    def __init__(self, folder: Path, afresh: bool = False) -> None:
        self._path = folder / STEPS
        self._earlier = {} if afresh else _read(self._path)
        self.steps: dict[str, Step] = {}

    def run(self, name: str, digest: str, product: Path, make: Callable[[bool], Any]) -> Step:
        """Make a product, or keep it where a finished step made it from the same and it is as the step left it.

        Args:
            name: Name of the step.
            digest: Digest of what it depends on.
            product: The file that the step makes.
            make: Makes it; told whether the same step was begun before.
        """
        before = self._earlier.get(name)
        same = before is not None and before.digest == digest
        if before is not None and same and before.finished:
            if before.made(product):
                self.steps[name] = replace(before, kept=True)
                return self.steps[name]
            warnings.warn(f"{product} is not as the step '{name}' left it and is made again", stacklevel=2)
        wall_s, cpu_s = time.monotonic(), time.process_time()
        make(same)
        wall_s, cpu_s = time.monotonic() - wall_s, time.process_time() - cpu_s
        step = Step(digest, True, wall_s, cpu_s, size=product.stat().st_size, sha256=_sha256(product))
        self._record(name, step)
        return step

    def begin(self, name: str, digest: str) -> None:
        """Note that a step has begun: what it leaves from now on is of this digest."""
        self._record(name, Step(digest, False))

    def _record(self, name: str, step: Step) -> None:
        self.steps[name] = step
        write_json(self._path, {key: asdict(value) for key, value in {**self._earlier, **self.steps}.items()})


def digest_of(*parts: Any) -> str:
    """SHA-256 of plain values and the version of the program."""
    return hashlib.sha256(json.dumps([__version__, to_plain(parts)], sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path) -> dict[str, Step]:
    try:
        return {name: Step(**record) for name, record in json.loads(path.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, TypeError, AttributeError):  # missing, damaged or of another make: nothing is kept
        return {}
