"""Build a `ScanData` from arrays of any origin, save it as a scan file, and check it.

Replace `read_arrays` by code that reads your data. These three arrays are the minimum that ptypinn needs.
"""

import argparse
from pathlib import Path

import numpy as np

import ptypinn as pp


def read_arrays() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return counts (M, N, N), direct beam at N//2; positions (M, 2) in object pixels, (y, x); probe (N, N)."""
    scan = pp.simulate(pp.SimulateConfig(size=32, object_size=(80, 80), n_patterns=40, photons=1e5))
    return np.asarray(scan.counts), scan.positions_px, scan.require_probe()[0]


def main(path: Path) -> pp.ScanData:
    counts, positions_px, probe = read_arrays()
    scan = pp.ScanData(
        counts=counts,
        positions_px=positions_px.astype(np.float64),
        probe=probe[None].astype(np.complex64),  # one incoherent mode, of arbitrary scale
        probe_gauge="relative",
    )
    pp.save(scan, path)
    loaded = pp.load(path)  # calibrates the probe by the rule of LoadConfig.calibration
    for warning in pp.info(loaded).warnings:
        print("note:", warning)
    print(f"{loaded.n_patterns} patterns; probe: {loaded.provenance['probe_calibration']}")
    return loaded


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("my_scan.h5"))
    main(parser.parse_args().output)
