"""Writer of HDF5 files that grow: `hdf5_writer.py PATH --kind swmr|eiger --frames 100 --rate 200`.

`swmr` is a CXI file in SWMR mode with positions, `preallocated` one of its full size from the start; `eiger` is a
master file whose data files appear one by one, as they are copied from a detector.
"""

import argparse
import os
import time
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
from dectris_stream import make_frames
from plain_stream import make_path

DETECTOR = "entry_1/instrument_1/detector_1"
PER_FILE = 20


def create_cxi(path, frames, full):
    """A CXI file of no frames, or of all without their values."""
    count, size = (len(frames) if full else 0), frames.shape[1:]
    file = h5py.File(path, "w", libver="latest")
    detector = file.create_group(DETECTOR)
    detector.create_dataset(
        "data", (count, *size), frames.dtype, maxshape=(None, *size), chunks=(1, *size), **hdf5plugin.LZ4()
    )
    for name, value, unit in (("distance", 2.0, "m"), ("x_pixel_size", 75e-6, "m"), ("y_pixel_size", 75e-6, "m")):
        detector.create_dataset(name, data=value).attrs["units"] = unit
    mask = np.zeros(size, np.uint32)
    mask[1, 2] = 1
    detector["mask"] = mask
    file.create_dataset("entry_1/instrument_1/source_1/energy", data=8000 * 1.602176634e-19)
    file.create_dataset(
        "entry_1/sample_1/geometry_1/translation",
        (count, 3),
        float,
        maxshape=(None, 3),
        chunks=(16, 3),
        fillvalue=np.nan,
    )
    file.create_dataset("end", data=0)
    return file


def write_cxi(path, frames, positions, rate, full=False, order=None):
    """Write a CXI file frame by frame in SWMR mode; rows of the detector run along -y, columns along -x."""
    with create_cxi(path, frames, full) as file:
        file.swmr_mode = True
        data, moved = file[f"{DETECTOR}/data"], file["entry_1/sample_1/geometry_1/translation"]
        for place in range(len(frames)) if order is None else order:
            if not full:
                data.resize(place + 1, axis=0)
                moved.resize(place + 1, axis=0)
            data[place] = frames[place]
            moved[place] = [*positions[place, ::-1], 0]
            data.flush()
            moved.flush()
            time.sleep(1 / rate if rate else 0)
        file["end"][()] = 1
        file["end"].flush()


def write_master(path, frames, per_file=PER_FILE):
    """Write an Eiger master file, with links to data files that do not exist yet."""
    with h5py.File(path, "w") as file:
        specific = file.create_group("entry/instrument/detector/detectorSpecific")
        specific["nimages"], specific["ntrigger"], specific["photon_energy"] = len(frames), 1, 8000.0
        specific["pixel_mask"] = np.zeros(frames.shape[1:], np.uint32)
        detector = file["entry/instrument/detector"]
        detector["detector_distance"], detector["x_pixel_size"], detector["y_pixel_size"] = 2.0, 75e-6, 75e-6
        for place in range(0, len(frames), per_file):
            index = place // per_file + 1
            name = path.name.replace("_master", f"_data_{index:06d}")
            file[f"entry/data/data_{index:06d}"] = h5py.ExternalLink(name, "/entry/data/data")


def write_part(path, frames, first, numbered=True):
    with h5py.File(path, "w") as file:
        data = file.create_dataset(
            "entry/data/data", data=frames, chunks=(1, *frames.shape[1:]), **hdf5plugin.Bitshuffle()
        )
        if numbered:
            data.attrs["image_nr_low"], data.attrs["image_nr_high"] = first + 1, first + len(frames)


def write_eiger(path, frames, rate, per_file=PER_FILE, numbered=True):
    """Write a master file, then its data files, each in two pieces, as a copy over a network does."""
    write_master(path, frames, per_file)
    for place in range(0, len(frames), per_file):
        target = path.with_name(path.name.replace("_master", f"_data_{place // per_file + 1:06d}"))
        whole = path.with_name("part.tmp")
        write_part(whole, frames[place : place + per_file], place, numbered)
        content = whole.read_bytes()
        whole.unlink()
        with target.open("wb") as file:
            file.write(content[: len(content) // 2])
            file.flush()
            time.sleep(per_file / rate / 2 if rate else 0)
            file.write(content[len(content) // 2 :])
            os.fsync(file.fileno())
        time.sleep(per_file / rate / 2 if rate else 0)


def write_table(path, positions, rate):
    """Write positions as a text table, in pieces that end anywhere."""
    text = "y_um, x_um\n" + "".join(f"{y * 1e6:.6f}, {x * 1e6:.6f}\n" for y, x in positions)
    with path.open("w") as file:
        for place in range(0, len(text), 37):
            file.write(text[place : place + 37])
            file.flush()
            time.sleep(1 / rate if rate else 0)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("path", type=Path)
    parser.add_argument("--kind", choices=["swmr", "preallocated", "eiger", "table"], default="swmr")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--rate", type=float, default=0.0)
    arguments = parser.parse_args()
    frames, positions = make_frames(arguments.frames, arguments.size), make_path(arguments.frames)
    if arguments.kind == "eiger":
        write_eiger(arguments.path, frames, arguments.rate)
    elif arguments.kind == "table":
        write_table(arguments.path, positions, arguments.rate)
    else:
        full = arguments.kind == "preallocated"
        order = np.random.default_rng(0).permutation(len(frames)) if full else None
        write_cxi(arguments.path, frames, positions, arguments.rate, full, order)


if __name__ == "__main__":
    main()
