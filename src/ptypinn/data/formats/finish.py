"""What happens to every scan after it is read: options that replace its numbers, a probe, its photons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ptypinn.config.load import LoadConfig
from ptypinn.data.archive import map_npy
from ptypinn.data.calibrate import calibrate_probe
from ptypinn.data.formats.crop import CUT_FROM, coarser
from ptypinn.data.formats.npz_archive import PROBE_NAMES, as_probe, open_npz, pick
from ptypinn.data.formats.optics import NAMES, Optics
from ptypinn.data.hdf5 import find_dataset, open_hdf5, require_file
from ptypinn.data.oriented import Orientation, derive
from ptypinn.data.scan import ProbeGauge, ScanData
from ptypinn.data.storage import read_array
from ptypinn.errors import InputError

PROBE_DATASETS = ("entry/reconstruction/probe", "entry_1/ptypinn_1/probe", "entry_1/instrument_1/source_1/illumination")


def finish(scan: ScanData, config: LoadConfig, *, calibrate: bool = True) -> ScanData:
    """Apply the options of `config` that hold for every format, and calibrate the probe.

    Args:
        scan: What a reader has made of the file.
        config: Reading options.
        calibrate: Give a probe of arbitrary scale its photons.
    """
    scan = _set_numbers(scan, config)
    patterns = Orientation(config.transpose_patterns, config.flip_patterns)
    positions = Orientation(config.transpose_positions, config.flip_positions)
    scan = derive(scan, patterns, positions, config.detector_gain)
    if config.probe:
        probe, gauge = read_probe(Path(config.probe))
        if scan.size < probe.shape[1] and list(probe.shape[1:]) == scan.provenance.get(CUT_FROM):
            probe = coarser(probe, scan.size)  # a probe of the whole patterns
        if probe.shape[1:] != (scan.size, scan.size):
            expected = f"(modes, {scan.size}, {scan.size}), the size of the patterns"
            raise InputError(config.probe, "probe", f"shape {probe.shape}", expected)
        scan = scan.replace(probe=probe, probe_gauge=gauge)
    if scan.probe is None or not calibrate:
        return scan
    if config.calibration == "none":
        record = {"rule": "none", "factor": 1.0}
        noted = {**scan.provenance, "probe_calibration": record}
        return scan.replace(probe_gauge="calibrated", provenance=noted)
    return calibrate_probe(scan, config.calibration, config.photons)


def read_probe(path: Path) -> tuple[np.ndarray, ProbeGauge]:
    """A probe from a .npy or .npz file, a scan or a reconstruction.

    Returns:
        Modes, (modes, N, N) complex64, and whether they are in sqrt(photons).
    """
    require_file(path)
    if h5py.is_hdf5(path):
        return _read_hdf5_probe(path)
    if path.suffix == ".npy":
        return as_probe(str(path), "probe", map_npy(path, "probe")), "relative"
    arrays = open_npz(path)
    name = pick(arrays, PROBE_NAMES)
    if name is None:
        raise InputError(str(path), "probe", f"only {sorted(arrays)}", f"one of {', '.join(PROBE_NAMES)}")
    return as_probe(str(path), name, arrays[name]), "relative"


def _read_hdf5_probe(path: Path) -> tuple[np.ndarray, ProbeGauge]:
    with open_hdf5(path) as file:
        dataset = find_dataset(file, *PROBE_DATASETS)
        if dataset is None:
            raise InputError(str(path), "probe", "none", f"a dataset at one of {', '.join(PROBE_DATASETS)}")
        probe = as_probe(str(path), dataset.name, read_array(dataset, str(path)))
        calibrated = dataset.attrs.get("units") == "sqrt(photons)"
    return probe, "calibrated" if calibrated else "relative"


def _set_numbers(scan: ScanData, config: LoadConfig) -> ScanData:
    given: dict[str, Any] = {
        name: getattr(config, name) for name in (*NAMES, "pixel_size_m") if getattr(config, name) is not None
    }
    if config.particle != "auto":
        given["particle"] = config.particle
    if not given:
        return scan
    before = scan.pixel_size_m
    scan = scan.replace(**given)
    optics = Optics(scan.energy_eV, scan.detector_distance_m, scan.detector_pixel_m, scan.particle)
    after = config.pixel_size_m or optics.pixel_size_m(scan.size)
    if after is None:
        return scan
    # The stage moved by metres, whatever the pixel is said to be; the pixels of a truth are what they are.
    factor = 1.0 if before is None or scan.truth is not None else before / after
    return scan.replace(pixel_size_m=after, positions_px=scan.positions_px * factor)
