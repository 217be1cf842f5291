"""Publisher of plain ZeroMQ messages: `plain_stream.py --what both --frames 100 --rate 2000`.

Prints its port. Functions that make the messages are used by tests.
"""

import argparse
import json
import sys
import time

import numpy as np
from dectris_stream import compress, make_frames


def message(htype, *blobs, **fields):
    return [json.dumps({"htype": htype, **fields}).encode(), *blobs]


def frame(number, counts, compression="none", **fields):
    blob = counts.tobytes() if compression == "none" else compress(counts, compression)
    form = {"dtype": str(counts.dtype), "shape": list(counts.shape), "compression": compression}
    return message("frame", blob, number=number, **form, **fields)


def make_path(count, step_m=1e-6):
    places = np.arange(count)
    return np.stack([places // 10, places % 10], axis=1) * step_m


def scan_messages(what, frames, positions, compression="none"):
    """Messages of a whole scan."""
    optics = {"energy_eV": 8000.0, "detector_distance_m": 2.0, "detector_pixel_m": 75e-6}
    if what != "positions":
        yield message("start", name="test", n_frames=len(frames), **optics)
    for number, (counts, place) in enumerate(zip(frames, positions, strict=True)):
        if what != "positions":
            extra = {"positions_m": place.tolist()} if what == "both" else {}
            yield frame(number, counts, compression, time_s=number / 1000, **extra)
        else:
            yield message("positions", numbers=[number], positions_m=[place.tolist()])
    yield message("end", n_frames=len(frames))


def main():
    import zmq

    parser = argparse.ArgumentParser()
    parser.add_argument("--what", choices=["frames", "positions", "both"], default="both")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--compression", default="none")
    parser.add_argument("--socket", choices=["push", "pub"], default="push")
    parser.add_argument("--topic", default="")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay-s", type=float, default=0.0)
    arguments = parser.parse_args()
    frames = make_frames(arguments.frames, arguments.size)
    messages = list(scan_messages(arguments.what, frames, make_path(len(frames)), arguments.compression))
    with zmq.Context() as context, context.socket(zmq.PUSH if arguments.socket == "push" else zmq.XPUB) as socket:
        socket.setsockopt(zmq.SNDHWM, 0)
        socket.bind(f"tcp://127.0.0.1:{arguments.port or '*'}")
        print(socket.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2], flush=True)
        if arguments.socket == "pub":
            socket.recv()  # the subscription: nothing is lost before it
        time.sleep(arguments.delay_s)
        start = time.monotonic()
        for place, parts in enumerate(messages):
            if arguments.rate:
                time.sleep(max(0.0, start + place / arguments.rate - time.monotonic()))
            socket.send_multipart([arguments.topic.encode(), *parts] if arguments.topic else parts)
        sys.stdin.readline()


if __name__ == "__main__":
    main()
