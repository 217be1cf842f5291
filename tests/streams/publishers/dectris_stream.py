"""Publisher of a DECTRIS stream, version 1 or 2, as a detector sends it: `dectris_stream.py --version 2 --frames 100`.

Prints its port, waits for a receiver, and sends a series of frames. Functions that make the messages are used by tests.
"""

import argparse
import json
import struct
import sys
import time

import cbor2
import h5py
import hdf5plugin
import numpy as np

BLOCK = struct.Struct(">QII")
TYPED = {"uint8": 64, "uint16": 69, "uint32": 70, "float32": 85}


def compress(array, algorithm):
    """Bytes of an array as the HDF5 filters make them, which DECTRIS uses as well."""
    kinds = {"bslz4": hdf5plugin.Bitshuffle(cname="lz4"), "lz4": hdf5plugin.LZ4()}
    with h5py.File("memory.h5", "w", driver="core", backing_store=False) as file:
        dataset = file.create_dataset("data", data=array, chunks=array.shape, **kinds[algorithm])
        return dataset.id.read_direct_chunk((0,) * array.ndim)[1]


def header_v1(series=1, detail="basic", mask=None, **config):
    parts = [{"htype": "dheader-1.0", "series": series, "header_detail": detail}]
    if detail != "none":
        parts.append({"nimages": 1, "ntrigger": 1, **config})
    parts = [json.dumps(part).encode() for part in parts]
    if mask is not None:
        flat = np.ones(mask.shape, np.float32)
        for name, table in (("dflatfield-1.0", flat), ("dpixelmask-1.0", (~mask).astype(np.uint32))):
            form = {"htype": name, "shape": list(mask.shape[::-1]), "type": str(table.dtype)}
            parts += [json.dumps(form).encode(), table.tobytes()]
    return parts


def image_v1(number, counts, series=1, encoding="bslz4", start_ns=0, stop_ns=0):
    size = counts.dtype.itemsize
    data, text = counts.tobytes(), "<"
    if encoding == "bslz4":
        data, text = compress(counts, "bslz4"), f"bs{8 * size}-lz4<"
    elif encoding == "lz4":
        packed = compress(counts, "lz4")
        assert BLOCK.unpack_from(packed)[1] >= counts.nbytes, "one block"
        data, text = packed[BLOCK.size :], "lz4<"
    form = {"shape": list(counts.shape[::-1]), "type": str(counts.dtype), "encoding": text, "size": len(data)}
    times = {"start_time": start_ns, "stop_time": stop_ns, "real_time": stop_ns - start_ns}
    return [
        json.dumps({"htype": "dimage-1.0", "series": series, "frame": number, "hash": "0" * 32}).encode(),
        json.dumps({"htype": "dimage_d-1.0", **form}).encode(),
        data,
        json.dumps({"htype": "dconfig-1.0", **times}).encode(),
    ]


def end_v1(series=1):
    return [json.dumps({"htype": "dseries_end-1.0", "series": series}).encode()]


def tagged(array, encoding="none"):
    data = array.tobytes()
    if encoding != "none":
        data = cbor2.CBORTag(56500, [encoding, array.dtype.itemsize, compress(array, encoding)])
    return cbor2.CBORTag(40, [list(array.shape), cbor2.CBORTag(TYPED[str(array.dtype)], data)])


def start_v2(series=1, mask=None, **fields):
    content = {"type": "start", "series_id": series, "series_unique_id": f"id-{series}", "channels": ["threshold_1"]}
    if mask is not None:
        content["pixel_mask"] = {"threshold_1": tagged((~mask).astype(np.uint32), "bslz4")}
    return [cbor2.dumps({**content, **fields})]


def image_v2(number, counts, series=1, encoding="bslz4", start=(0, 1), stop=(0, 1), channels=("threshold_1",)):
    content = {"type": "image", "series_id": series, "series_unique_id": f"id-{series}", "image_id": number}
    content |= {"start_time": list(start), "stop_time": list(stop), "real_time": [1, 1000], "user_data": None}
    content["data"] = {name: tagged(counts + place, encoding) for place, name in enumerate(channels)}
    return [cbor2.dumps(content)]


def end_v2(series=1):
    return [cbor2.dumps({"type": "end", "series_id": series, "series_unique_id": f"id-{series}"})]


def make_frames(count, size=64, seed=0, dtype=np.uint16):
    return np.random.default_rng(seed).poisson(3.0, (count, size, size)).astype(dtype)


def series_messages(arguments, frames):
    """Messages of a whole series."""
    fields = {"photon_energy": 8000.0, "detector_distance": 2.0, "x_pixel_size": 75e-6, "y_pixel_size": 75e-6}
    period = 1 / arguments.rate if arguments.rate else 0.0
    if arguments.version == 1:
        yield header_v1(arguments.series, nimages=len(frames), **fields)
        for number, counts in enumerate(frames):
            times = (round(number * period * 1e9), round((number + 1) * period * 1e9))
            yield image_v1(number, counts, arguments.series, arguments.encoding, *times)
        yield end_v1(arguments.series)
        return
    named = {"incident_energy": 8000.0, "detector_translation": [0.0, 0.0, 2.0], "pixel_size_x": 75e-6}
    yield start_v2(arguments.series, number_of_images=len(frames), **named)
    for number, counts in enumerate(frames):
        times = ((round(number * period * 1e6), 10**6), (round((number + 1) * period * 1e6), 10**6))
        yield image_v2(number, counts, arguments.series, arguments.encoding, *times)
    yield end_v2(arguments.series)


def main():
    import zmq

    parser = argparse.ArgumentParser()
    parser.add_argument("--version", type=int, default=2)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--encoding", default="bslz4")
    parser.add_argument("--series", type=int, default=1)
    parser.add_argument("--junk", type=int, default=0, help="malformed messages between the frames")
    arguments = parser.parse_args()
    messages = list(series_messages(arguments, make_frames(arguments.frames, arguments.size)))
    with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        print(port, flush=True)
        junk = np.random.default_rng(1)
        start = time.monotonic()
        for place, message in enumerate(messages):
            if arguments.rate and place:
                time.sleep(max(0.0, start + place / arguments.rate - time.monotonic()))
            socket.send_multipart(message)
            for _ in range(arguments.junk * (place + 1) // len(messages) - arguments.junk * place // len(messages)):
                broken = bytearray(b"".join(message))
                broken[: junk.integers(1, len(broken))] = junk.bytes(3)
                socket.send_multipart([bytes(broken)] * junk.integers(1, 4))
            if not place:
                start = time.monotonic()
        sys.stdin.readline()


if __name__ == "__main__":
    main()
