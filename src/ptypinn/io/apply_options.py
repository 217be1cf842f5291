"""Reading options of all formats: options replace numbers of the file; scans get a probe, and the probe photons."""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Complex64

from ptypinn.config.load import LoadConfig
from ptypinn.data.calibration import calibrate_probe
from ptypinn.data.orientation import Orientation, derive, rotation_matrix, undo_matrix
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ProbeGauge, ScanData
from ptypinn.data.survey import apply_survey, survey_scan
from ptypinn.data.validation import check_canvas, deferred_checks
from ptypinn.errors import InputError
from ptypinn.io.arrays import as_probe, select_patterns
from ptypinn.io.counts import apply_mask_file, require_mask_read
from ptypinn.io.crop import CUT_FROM, LEFT_OUT, coarser, note_corner_beam
from ptypinn.io.formats.npz_archive import PROBE_NAMES, number_in, open_npz, pick, text_in
from ptypinn.io.monitor import Monitor, apply_monitor, read_monitor
from ptypinn.io.optics import NAMES, Optics
from ptypinn.io.padding import finer, measured_edge, pad_scan
from ptypinn.io.registry import detect_format, find_format
from ptypinn.io.safe.hdf5 import find_dataset, read_array, read_scalar
from ptypinn.io.safe.hdf5_open import open_hdf5, require_file
from ptypinn.io.safe.npz import map_npy
from ptypinn.utils.plain_values import number

SAME_PIXEL = 0.02
"""Maximum relative difference of the pixel of an external probe from the scan's."""
PROBE_DATASETS = ("entry/reconstruction/probe", "entry_1/ptypinn_1/probe", "entry_1/instrument_1/source_1/illumination")


def finish(scan: ScanData, path: Path, config: LoadConfig, *, calibrate: bool = True) -> ScanData:
    """Apply the options of `config` that hold for every format, and calibrate the probe.

    Args:
        scan: Scan as read from the file.
        path: The file.
        config: Reading options.
        calibrate: Give a probe of arbitrary scale its photons.
    """
    scan = _set_numbers(select_patterns(scan, config), config)
    scan = _survey(*read_monitor(_apply_files(scan, config), path, config), config)
    scan = note_corner_beam(scan, config)
    patterns = Orientation(config.transpose_patterns, config.flip_patterns)
    positions = Orientation(config.transpose_positions, config.flip_positions)
    if config.detector_gain is not None or not patterns == positions == Orientation():
        scan = derive(scan, patterns, positions, config.detector_gain)
    scan = pad_scan(_undo_turn(scan, config), config)
    if config.probe:
        probe, gauge = _fitting(read_probe(Path(config.probe)), scan, config)
        scan = scan.replace(probe=probe, probe_gauge=gauge)
    if scan.probe is None or not calibrate:
        return scan
    if config.calibration == "none":
        record = {"rule": "none", "factor": 1.0}
        noted = {**scan.provenance, "probe_calibration": record}
        return scan.replace(probe_gauge="calibrated", provenance=noted)
    return calibrate_probe(scan, config.calibration, config.photons)


def _undo_turn(scan: ScanData, config: LoadConfig) -> ScanData:
    """Return a scan whose positions lie along the axes of the detector, by a turn or a matrix that is known."""
    if config.scan_matrix is None and not config.scan_rotation_deg:
        return scan
    matrix = rotation_matrix(np.deg2rad(config.scan_rotation_deg))
    if config.scan_matrix is not None:
        matrix = np.array(config.scan_matrix, np.float64).reshape(2, 2)
    turned = undo_matrix(scan, matrix)
    with deferred_checks(False):  # the survey, which checks are put off for, is over
        check_canvas(scan.source, turned.positions_px, scan.size, config.max_canvas_pixels)
    if scan.truth is None or turned.truth is not None:
        return turned
    lost = [*scan.provenance.get(LEFT_OUT, []), "the true object, which turned positions leave"]
    return turned.replace(provenance={**scan.provenance, LEFT_OUT: lost})


def _apply_files(scan: ScanData, config: LoadConfig) -> ScanData:
    """Return a scan with what further files say about its detector: mask, background, and point spread."""
    require_mask_read(scan, config)
    if config.mask:
        scan = apply_mask_file(scan, config)
    if config.dark:
        from ptypinn.io.dark import apply_dark_file

        scan = apply_dark_file(scan, config)
    if config.mtf:
        from ptypinn.io.mtf import apply_mtf

        scan = apply_mtf(scan, config)
    return scan


def _survey(scan: ScanData, monitor: Monitor | None, config: LoadConfig) -> ScanData:
    """Return a scan without what is no measurement, and with the flux by a monitor of the frames that are left."""
    if config.survey:
        survey = survey_scan(scan)
        frames = np.setdiff1d(np.arange(scan.n_patterns), survey.left_out)
        scan, monitor = apply_survey(scan, survey), None if monitor is None else monitor.take(frames)
    return apply_monitor(scan, monitor)


@dataclass(frozen=True)
class GivenProbe:
    """Probe from a separate file."""

    modes: Complex64[np.ndarray, "mode y x"]
    """Incoherent modes."""
    gauge: ProbeGauge = "relative"
    """`calibrated` where the modes are in sqrt(photons), else `relative`."""
    pixel_size_m: float | None = None
    """Their pixel, metres; None where unknown."""


def _fitting(external: GivenProbe, scan: ScanData, config: LoadConfig) -> tuple[np.ndarray, ProbeGauge]:
    """Return modes on the object pixels of a scan, and their gauge; modes of whole patterns are cropped like these.

    So are those of patterns that are not padded extended like these.
    """
    modes, edge = external.modes, external.modes.shape[-1]
    is_whole = list(modes.shape[1:]) == scan.provenance.get(CUT_FROM)
    if is_whole and scan.size < edge:
        modes = coarser(modes, scan.size)
    elif modes.shape[-2] == edge and measured_edge(scan) <= edge < scan.size:
        modes = finer(modes, scan.size)
    if modes.shape[1:] != (scan.size, scan.size):
        expected = f"(modes, {scan.size}, {scan.size}), the size of the patterns"
        raise InputError(config.probe, "probe", f"shape {external.modes.shape}", expected)
    if external.pixel_size_m is not None and scan.pixel_size_m is not None:
        pixel = external.pixel_size_m * edge / scan.size
        if abs(pixel / scan.pixel_size_m - 1) > SAME_PIXEL:
            expected = f"those of the scan, {scan.pixel_size_m:.4g} m"
            raise InputError(config.probe, "probe", f"object pixels of {pixel:.4g} m", expected)
    return modes, external.gauge


def read_probe(path: Path) -> GivenProbe:
    """Read a probe from a .npy or .npz file, a scan, or a reconstruction of any format.

    Raises:
        InputError: Where the file holds no probe.
    """
    require_file(path)
    if path.suffix == ".npy":
        return GivenProbe(as_probe(str(path), "probe", map_npy(path, "probe")))
    external = _from_hdf5(path) if h5py.is_hdf5(path) else _from_npz(path) if zipfile.is_zipfile(path) else None
    if external is not None:
        return external
    read_reconstruction = find_format(detect_format(path)).read_reconstruction
    if read_reconstruction is None:
        raise InputError(str(path), "probe", "none", "a .npy or .npz file, a scan or a reconstruction with a probe")
    recon = read_reconstruction(path, LoadConfig())
    return GivenProbe(recon.probe, pixel_size_m=recon.pixel_size_m)


def _from_npz(path: Path) -> GivenProbe:
    arrays = open_npz(path)
    name = pick(arrays, PROBE_NAMES)
    if name is None:
        raise InputError(str(path), "probe", f"only {sorted(arrays)}", f"one of {', '.join(PROBE_NAMES)}")
    values = arrays[name][0] if arrays[name].ndim == 4 else arrays[name]
    gauge: ProbeGauge = "calibrated" if text_in(arrays, "probe_gauge") == "calibrated" else "relative"
    return GivenProbe(as_probe(str(path), name, values), gauge, number_in(str(path), arrays, "pixel_size_m"))


def _from_hdf5(path: Path) -> GivenProbe | None:
    with open_hdf5(path) as file:
        dataset = find_dataset(file, *PROBE_DATASETS)
        if dataset is None:
            return None
        probe = as_probe(str(path), dataset.name, read_array(dataset, str(path)))
        pixel = read_scalar(file, str(path), f"{dataset.parent.name}/pixel_size_m")
        return GivenProbe(probe, "calibrated" if dataset.attrs.get("units") == "sqrt(photons)" else "relative", pixel)


def finish_reconstruction(recon: Reconstruction, config: LoadConfig) -> Reconstruction:
    """Record the optics of the options, and set the object pixel of the options or of the optics."""
    overrides = {name: value for name in NAMES if (value := getattr(config, name)) is not None}
    recorded = recon.provenance.get("optics")
    optics: dict[str, Any] = {**(recorded if isinstance(recorded, Mapping) else {}), **overrides}
    numbers = {name: float(value) for name in NAMES if (value := number(optics.get(name)) or 0) > 0}
    particle = optics.get("particle", "photon") if config.particle == "auto" else config.particle
    far_field = Optics(**numbers, particle=particle).pixel_size_m(recon.probe.shape[-1])
    provenance = {**recon.provenance, "optics": optics} if overrides else recon.provenance
    pixel = config.pixel_size_m or recon.pixel_size_m or far_field
    return dataclasses.replace(recon, pixel_size_m=pixel, provenance=provenance)


def _set_numbers(scan: ScanData, config: LoadConfig) -> ScanData:
    overrides: dict[str, Any] = {
        name: getattr(config, name) for name in (*NAMES, "pixel_size_m") if getattr(config, name) is not None
    }
    if config.particle != "auto":
        overrides["particle"] = config.particle
    if not overrides:
        return scan
    before = scan.pixel_size_m
    scan = scan.replace(**overrides)
    optics = Optics(scan.energy_eV, scan.detector_distance_m, scan.detector_pixel_m, scan.particle)
    after = config.pixel_size_m or optics.pixel_size_m(scan.size)
    if after is None:
        return scan
    # Positions are metres of the stage, independent of the pixel; the pixels of a truth are fixed.
    factor = 1.0 if before is None or scan.truth is not None else before / after
    return scan.replace(pixel_size_m=after, positions_px=scan.positions_px * factor)
