"""Publish a scan file as plain ZeroMQ messages, as a detector would, with damaged messages in between on request.

Prints the port first. A second publisher on the same port goes on where `--first` says.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zmq

import ptypinn as pp
from ptypinn.data.scan import ScanData

DAMAGED: tuple[list[bytes], ...] = (
    [b""],
    [b"\xff\xfe no text"],
    [b"[" * 100_000],
    [b'{"htype": "frame", "number": 3, "dtype": "uint16", "shape": [64, 64], "compression": "none"}'],
    [b'{"htype": "frame", "number": 3, "dtype": "object", "shape": [64, 64], "compression": "none"}', b"x" * 8192],
    [b'{"htype": "frame", "number": 3, "dtype": "uint16", "shape": [9999999, 99999], "compression": "none"}', b"x"],
    [b'{"htype": "frame", "number": 3, "dtype": "uint16", "shape": [64, 64], "compression": "zip"}', b"x" * 8192],
    [b'{"htype": "frame", "number": -1, "dtype": "uint16", "shape": [64, 64], "compression": "lz4"}', b"x" * 100],
    [b'{"htype": "frame", "number": 5, "dtype": "uint16", "shape": [32, 32], "compression": "none"}', b"x" * 2048],
    [b'{"htype": "positions", "numbers": [1], "positions_m": [[NaN, 1e999]]}'],
)
"""Messages that no receiver can use."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scan", type=Path)
    parser.add_argument("--rate", type=float, default=200.0, help="frames per second")
    parser.add_argument("--first", type=int, default=0, help="frame to begin with")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--wait", action="store_true", help="begin when a line comes on the standard input")
    parser.add_argument("--damaged", type=int, default=0, help="damaged messages, evenly over the scan")
    arguments = parser.parse_args()
    scan = pp.load(arguments.scan, pp.LoadConfig(survey=False))
    with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
        socket.setsockopt(zmq.SNDHWM, 0)
        socket.bind(f"tcp://127.0.0.1:{arguments.port or '*'}")
        sys.stdout.write(socket.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2] + "\n")
        sys.stdout.flush()
        if arguments.wait:
            sys.stdin.readline()
        start_s = time.monotonic()
        for place, parts in list_messages(scan, arguments.first, arguments.damaged):
            time.sleep(max(0.0, start_s + place / arguments.rate - time.monotonic()))
            socket.send_multipart(parts)
        sys.stdin.readline()


def list_messages(scan: ScanData, first: int, damaged: int) -> Iterator[tuple[int, list[bytes]]]:
    """Yield the messages of a scan, each with the frame that it goes with."""
    names = "energy_eV", "detector_distance_m", "detector_pixel_m"
    optics = {name: getattr(scan, name) for name in names}
    yield 0, [encode("start", name="scan", n_frames=scan.n_patterns, **optics)]
    rng, pixel_m = random.Random(0), scan.pixel_size_m
    assert pixel_m is not None
    for number in range(first, scan.n_patterns):
        counts = np.ascontiguousarray(scan.counts[number : number + 1][0])
        form = {"dtype": str(counts.dtype), "shape": list(counts.shape), "compression": "none"}
        place = (scan.positions_px[number] * pixel_m).tolist()
        yield number - first, [encode("frame", number=number, positions_m=place, **form), counts.tobytes()]
        for _ in range((number + 1) * damaged // scan.n_patterns - number * damaged // scan.n_patterns):
            yield number - first, rng.choice(DAMAGED)
    yield scan.n_patterns - first, [encode("end", n_frames=scan.n_patterns)]


def encode(kind: str, **fields: Any) -> bytes:
    """Return the header of a message."""
    return json.dumps({"htype": kind, **fields}).encode()


if __name__ == "__main__":
    main()
