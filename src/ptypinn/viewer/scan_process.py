"""The process that looks at a scan: its request, its result, and the line on its failure."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptypinn.viewer.folders import stamp_places
from ptypinn.viewer.job_process import describe_exit, find_reason, safe_environment
from ptypinn.viewer.scan_worker import ERROR, FACTS, PICTURES, PLACES

MAX_TIME_S = 1800.0
"""Time after which a look is given up."""
CHECK_S = 1.0
"""Time between two questions whether a look is still wanted."""


@dataclass(frozen=True)
class Look:
    """Result of a look at a scan."""

    places: tuple[Path, ...] = ()
    """Places of all files that it depends on."""
    stamp: str = ""
    """Text on the files at these places when the look began, as of `folders.stamp_places`."""
    content: bytes = b"{}"
    """Facts as a JSON object."""
    pictures: Mapping[str, bytes] | None = None
    """PNG images by name."""
    error: str = ""
    """Line on the failure; empty where there is none."""

    @property
    def nbytes(self) -> int:
        """Memory that it takes, about."""
        return len(self.content) + sum(map(len, (self.pictures or {}).values()))


class LookProcess:
    """The process of one look.

    Args:
        path: The scan.
        options: Options of reading that differ from their defaults.
    """

    def __init__(self, path: Path, options: Mapping[str, Any]) -> None:
        self._path, self._options = path, options
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, is_unwanted: Callable[[], bool]) -> Look | None:
        """Run the process to its end; None where nobody wants its result any more.

        Args:
            is_unwanted: Returns True where the process is to be ended.
        """
        with tempfile.TemporaryDirectory(prefix="ptypinn-scan-") as name:
            folder, places, stamp = Path(name), tuple([self._path]), stamp_places([self._path])
            try:
                code, output = self._communicate(folder, is_unwanted)
                if code is None:
                    return None
                places, stamp = _read_places(folder) or (places, stamp)
                if code:
                    return Look(places, stamp, error=_read_error(folder, self._path, code, output))
                files = {name: folder / f"{name}.png" for name in PICTURES}
                pictures = {name: path.read_bytes() for name, path in files.items() if path.exists()}
                return Look(places, stamp, (folder / FACTS).read_bytes(), pictures)
            except (OSError, ValueError, subprocess.TimeoutExpired) as error:
                return Look(places, stamp, error=str(error))

    def kill(self) -> None:
        """End the process."""
        if self._process is not None:
            with contextlib.suppress(OSError):
                self._process.kill()

    def _communicate(self, folder: Path, is_unwanted: Callable[[], bool]) -> tuple[int | None, bytes]:
        """Return exit code and output of the process; no code where it was unwanted, and is ended.

        Raises:
            subprocess.TimeoutExpired: Where it takes too long; it is ended.
        """
        words = [sys.executable, "-P", "-m", "ptypinn.viewer.scan_worker", str(self._path), str(folder)]
        pipe, end_s = subprocess.PIPE, time.monotonic() + MAX_TIME_S
        request: bytes | None = json.dumps(self._options).encode()
        with subprocess.Popen(
            words, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, env=safe_environment()
        ) as self._process:
            while True:
                try:
                    output, _ = self._process.communicate(request, timeout=CHECK_S)
                    return self._process.returncode, output
                except subprocess.TimeoutExpired:
                    request = None  # it has been passed on
                    if time.monotonic() > end_s:
                        self._process.kill()
                        raise
                    if is_unwanted():
                        self._process.kill()
                        return None, b""


def _read_places(folder: Path) -> tuple[tuple[Path, ...], str] | None:
    """Return the files that a look depends on, and their stamp; None where the process ended before it knew."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        record = json.loads((folder / PLACES).read_bytes())
        return tuple(map(Path, record["places"])), record["stamp"]
    return None


def _read_error(folder: Path, path: Path, code: int, output: bytes) -> str:
    """Return the line of a process on what is wrong with a scan."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        return str(json.loads((folder / ERROR).read_bytes())["error"])
    reason = find_reason(output.decode("utf-8", "replace").splitlines()) if code > 0 else ""
    return f"{path}: {reason or describe_exit(code)}"
