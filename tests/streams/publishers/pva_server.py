"""Server of EPICS PV Access on the loopback device: images, and positions as a second PV or as their attributes.

`pva_server.py --frames 100 --positions table`: prints a line when it is ready, waits for a line, then sends.
"""

import argparse
import os
import struct
import sys
import time

import numpy as np
from dectris_stream import compress, make_frames
from plain_stream import make_path

IMAGES, STAGE = "ptypinn:test:image", "ptypinn:test:stage"
TYPES = {"uint8": 5, "uint16": 6, "uint32": 7}


def image(number, counts, codec="", attributes=None, time_s=0.0):
    """Fields of an NTNDArray, as areaDetector fills them in."""
    fields = {
        "value": counts.ravel(),
        "dimension": [{"size": edge, "fullSize": edge, "binning": 1} for edge in counts.shape[::-1]],
        "uniqueId": number,
        "dataTimeStamp": {"secondsPastEpoch": int(time_s), "nanoseconds": round(time_s % 1 * 1e9)},
        "attribute": [{"name": name, "value": value} for name, value in (attributes or {}).items()],
        "compressedSize": counts.nbytes,
        "uncompressedSize": counts.nbytes,
    }
    if codec:
        packed = compress(counts, codec)
        packed = packed[struct.calcsize(">QI" if codec == "bslz4" else ">QII") :]  # without the header of HDF5
        fields |= {"value": np.frombuffer(packed, np.uint8), "compressedSize": len(packed)}
        fields["codec"] = {"name": codec, "parameters": TYPES[str(counts.dtype)]}
    return fields


def main():
    from p4p import Value
    from p4p.nt import NTNDArray, NTScalar, NTTable
    from p4p.server import Server, StaticProvider
    from p4p.server.thread import SharedPV

    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--rate", type=float, default=500.0)
    parser.add_argument("--codec", default="")
    parser.add_argument("--stale", type=int, default=-1, help="uniqueId of a frame that is there from the beginning")
    parser.add_argument("--positions", choices=["none", "attributes", "table", "array"], default="none")
    arguments = parser.parse_args()
    frames, path = make_frames(arguments.frames, arguments.size), make_path(arguments.frames)
    kind = NTNDArray.buildType()
    union = NTNDArray._code2u

    def as_value(fields):
        data = fields["value"]
        return Value(kind, {**fields, "value": (union[data.dtype.char], data)})

    empty = (
        Value(kind, {})
        if arguments.stale < 0
        else as_value(image(arguments.stale, frames[0], "", {"MotorY": 0.0, "MotorX": 0.0}))
    )
    images = SharedPV(initial=empty)
    table, array = NTTable([("y", "d"), ("x", "d")]), NTScalar("ad")
    stage = SharedPV(nt=array if arguments.positions == "array" else table)
    if arguments.positions == "array":
        stage.open(path.ravel())
    elif arguments.positions == "table":
        stage.open([{"y": y, "x": x} for y, x in path])
    provider = StaticProvider("test")
    provider.add(IMAGES, images)
    provider.add(STAGE, stage)
    with Server(providers=[provider], conf={"EPICS_PVAS_INTF_ADDR_LIST": "127.0.0.1"}, useenv=True):
        print("ready", flush=True)
        sys.stdin.readline()
        start = time.monotonic()
        for number, counts in enumerate(frames):
            time.sleep(max(0.0, start + number / arguments.rate - time.monotonic()))
            axes = dict(zip(("MotorY", "MotorX"), path[number].tolist(), strict=True))
            attributes = axes if arguments.positions == "attributes" else None
            images.post(as_value(image(number, counts, arguments.codec, attributes, 1000 + number)))
        sys.stdin.readline()


if __name__ == "__main__":
    assert os.environ.get("EPICS_PVA_AUTO_ADDR_LIST", "NO") == "NO", "on the loopback device alone"
    main()
