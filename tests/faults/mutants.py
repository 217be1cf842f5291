"""Read damaged files of every format: `python tests/faults/mutants.py --mutants 100 --seed 0`.

A mutant is a file of a format with bytes changed, or, where the format has datasets, with datasets and attributes of
another type, shape or value. Reading one gives a scan or reconstruction, or an error in one line that names the file.
Anything else is printed with the seed that makes it again, and counted; `--keep` stores it. What ever went wrong is in
the folder `corpus`, by kind.
"""

import argparse
import io
import json
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from pathlib import Path

import h5py
import numpy as np

from ptypinn.errors import InputError
from sound_files import SoundFile, make_files

MAX_SECONDS, MAX_BYTES = 20, 2 * 2**30
EXTREMES = (0, 1, 2**15 - 1, 2**16 - 1, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1)
VALUES = (
    *(np.float64(np.nan), np.float32(np.inf), np.int64(-1), np.uint64(2**64 - 1), np.float64(1e308), np.int8(0)),
    *(np.zeros(0), np.zeros((0, 3)), np.zeros((3, 0, 2)), np.full((2, 2), np.nan), np.ones((3, 3), np.complex64)),
    *(np.array(b"text"), np.array("text", h5py.string_dtype()), np.ones((1,) * 8), np.arange(5, dtype=">i2")),
)
JSON_VALUES = (None, True, -1, 0, 4096, 10**30, 1e308, "text", "", [], [1, [2, {}]], {}, {"a": None}, "é" * 300)


def mutate_bytes(content, rng):
    """Return a content with bytes changed, cut, moved or inserted."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 6)):
        start = int(rng.integers(len(data))) if data else 0
        length = int(min(2 ** rng.integers(0, 10), len(data) - start))
        kind = rng.integers(6)
        if kind == 0:
            data[start : start + length] = rng.bytes(length)
        elif kind == 1:
            data[start : start + length] = bytes(length)
        elif kind == 2:
            del data[start:]
        elif kind == 3:
            data[start:start] = data[max(0, start - length) : start]
        elif kind == 4:
            number = int(EXTREMES[rng.integers(len(EXTREMES))])
            size = (2, 4, 8)[rng.integers(3)]
            data[start : start + size] = (number % 2 ** (8 * size)).to_bytes(size, "little")
        else:
            data[start : start + 1] = bytes([int(rng.choice(list(b"0129-+.eE,: \n[]{}\"'*&")))])
    return bytes(data)


def mutate_hdf5(content, rng):
    """Return an HDF5 file with datasets replaced, removed or renamed, and attributes changed."""
    buffer = io.BytesIO(content)
    with h5py.File(buffer, "r+") as file:
        names = []
        file.visit(names.append)
        for name in rng.choice(names, size=min(len(names), int(rng.integers(1, 4))), replace=False):
            if name not in file:
                continue
            kind, value = rng.integers(5), VALUES[rng.integers(len(VALUES))]
            if kind == 0:
                del file[name]
            elif kind == 1:
                file.move(name, f"{name}_")
            elif kind == 2 and isinstance(file[name], h5py.Dataset) and file[name].size:
                stored = np.asarray(file[name][()])
                del file[name]
                file[name] = stored.ravel() if rng.integers(2) else stored[None]
            elif kind == 3:
                file[name].attrs[rng.choice([*file[name].attrs, "units"])] = value
            else:
                del file[name]
                file[name] = value
    return buffer.getvalue()


def mutate_npz(content, rng):
    """Return an archive with one member damaged or left out; a bare array with its header damaged."""
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return mutate_bytes(content[:200], rng) + content[200:]
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(target, "w") as archive:
        chosen = rng.choice(source.namelist())
        for name in source.namelist():
            member = source.read(name)
            if name == chosen:
                if rng.integers(4) == 0:
                    continue
                member = mutate_bytes(member[:128], rng) + member[128:]
            archive.writestr(name, member)
    return target.getvalue()


def mutate_words(content, rng):
    """Return a file of MATLAB 5 with sizes, types or flags of its elements changed: words of four bytes."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        place = 128 + 4 * int(rng.integers((len(data) - 128) // 4))
        if rng.integers(4):  # most of a file are values; names, types and shapes stand before them
            place = 128 + 4 * int(rng.integers(60))
        value = int(rng.choice([0, 1, 2, 3, 5, 6, 7, 9, 14, 15, 16, 17, 255, 2**16, 2**31 - 1, 2**32 - 1, len(data)]))
        data[place : place + 4] = value.to_bytes(4, "little")
    return bytes(data)


def mutate_header(content, rng):
    """Return a safetensors file with a value of the JSON in its header replaced."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    records = header["__metadata__"]
    name = str(rng.choice(list(records)))
    try:
        record = json.loads(records[name])
    except ValueError:
        record = records[name]
    records[name] = json.dumps(_replace_value(record, rng))
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def _replace_value(record, rng):
    """Return nested plain values with one of them replaced."""
    if isinstance(record, dict | list) and record and rng.integers(4):
        keys = list(record) if isinstance(record, dict) else list(range(len(record)))
        key = keys[rng.integers(len(keys))]
        copy = dict(record) if isinstance(record, dict) else list(record)
        copy[key] = _replace_value(record[key], rng)
        return copy
    return JSON_VALUES[rng.integers(len(JSON_VALUES))]


def mutate(content, rng):
    """Return a mutant."""
    if rng.integers(2):
        return mutate_bytes(content, rng)
    if b"\x89HDF" in content[:1024]:
        return mutate_hdf5(content, rng)
    if content.startswith(b"MATLAB 5"):
        return mutate_words(content, rng)
    return mutate_header(content, rng) if content[8:9] == b"{" else mutate_npz(content, rng)


def read_mutant(file: SoundFile):
    """Return what is wrong with the reading of a mutant; empty where nothing is."""
    started = time.monotonic()
    names = {path.name for path in file.path.parent.iterdir()}
    try:
        file.read()
    except InputError as error:
        if "\n" in str(error) or not any(name in str(error) for name in names):
            return f"the message does not name the file in one line: {error}"
    except (OSError, MemoryError) as error:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return traceback.format_exc()
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if used > MAX_BYTES:
        return f"{used / 2**30:.1f} GiB"
    return "" if time.monotonic() - started < MAX_SECONDS else "more than 20 s"


def main():
    """Read mutants and print those that go wrong; exit with 1 if any does."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=100, help="per kind of file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--keep", type=Path, help="folder for the mutants that go wrong")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    failures, total = 0, 0
    with tempfile.TemporaryDirectory() as name:
        for kind, file in make_files(Path(name)).items():
            if arguments.only and kind not in arguments.only:
                continue
            content = file.path.read_bytes()
            file.read()  # what cannot be read whole would be refused whatever a mutant changes
            for number in range(arguments.mutants):
                rng = np.random.default_rng([arguments.seed, number, *kind.encode()])
                file.path.write_bytes(mutant := mutate(content, rng))
                print(f"{kind} {number}", end="\r", file=sys.stderr, flush=True)
                signal.alarm(3 * MAX_SECONDS)  # ends the process where a reading hangs
                problem = read_mutant(file)
                signal.alarm(0)
                total += 1
                if problem:
                    failures += 1
                    print(f"{kind} {number}: {problem}", flush=True)
                    if arguments.keep:
                        folder = arguments.keep / kind.replace(" ", "_")
                        folder.mkdir(parents=True, exist_ok=True)
                        (folder / f"seed_{arguments.seed}_number_{number}").write_bytes(mutant)
            file.path.write_bytes(content)  # others may be read through it
    print(f"{total} mutants, {failures} went wrong", flush=True)
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
