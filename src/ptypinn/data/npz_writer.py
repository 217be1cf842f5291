"""Write NPZ archives whose patterns need not fit into memory."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ptypinn.data.scan import ScanData

BATCH_BYTES = 2**24


def write_npz(path: Path, arrays: Mapping[str, Any], patterns: tuple[str, ScanData] | None = None) -> None:
    """Write arrays, and the counts of a scan under a name, compressed; lazy counts are streamed.

    Args:
        path: Where; an existing file is replaced.
        arrays: Arrays, numbers and texts by name.
        patterns: Name of the counts, and the scan that they come from.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, value in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(value), allow_pickle=False)
        if patterns is not None:
            _write_counts(archive, *patterns)


def _write_counts(archive: zipfile.ZipFile, name: str, scan: ScanData) -> None:
    counts = scan.counts
    header = {"descr": np.lib.format.dtype_to_descr(counts.dtype), "fortran_order": False, "shape": tuple(counts.shape)}
    batch = max(1, BATCH_BYTES // (scan.size**2 * counts.dtype.itemsize))
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array_header_2_0(file, header)
        for _, part in scan.batches(batch):
            file.write(np.ascontiguousarray(part, counts.dtype).tobytes())
