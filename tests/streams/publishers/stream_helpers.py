"""Publishers as processes of their own, and what a source makes of them."""

import contextlib
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from ptypinn.streams.messages import Frames, Positions

PUBLISHERS = Path(__file__).parents[1] / "publishers"
TIMEOUT_S = 30


@contextlib.contextmanager
def publisher(name, *options, env=None, silent=False, interactive=False):
    """Start a publisher; yields the first line that it prints, unless it is a silent one, and the process if asked."""
    command = [sys.executable, str(PUBLISHERS / name), *map(str, options)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
    try:
        line = None if silent else process.stdout.readline().strip()
        yield (process, line) if interactive else line
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired, BrokenPipeError):
            process.communicate("\n", timeout=5)
        process.kill()
        process.wait()


def collect(source, limit_s=TIMEOUT_S):
    """All messages of a source but the silent ones, up to its end."""
    stop, messages = time.monotonic() + limit_s, []
    for message in source.messages():
        if message is not None:
            messages.append(message)
        assert time.monotonic() < stop, f"no end; {len(messages)} messages"
    return messages


def parts(messages, kind):
    return [message for message in messages if isinstance(message, kind)]


def all_frames(messages):
    """Numbers and counts of all frames, in the order of their numbers, first ones of repeated frames."""
    frames = parts(messages, Frames)
    numbers, first = np.unique(np.concatenate([each.numbers for each in frames]), return_index=True)
    return numbers, np.concatenate([each.counts for each in frames])[first]


def all_positions(messages):
    positions = parts(messages, Positions)
    numbers = np.concatenate([each.numbers for each in positions])
    order = np.argsort(numbers, kind="stable")
    return numbers[order], np.concatenate([each.positions_m for each in positions])[order]
