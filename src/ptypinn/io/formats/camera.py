"""Files of electron cameras, most through LiberTEM: EMPAD, Merlin MIB, DM, TVIPS, NanoMegas BLO, Norpix SEQ, MRC."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ptypinn.config.load import LoadConfig
from ptypinn.data.scan import Counts, ScanData
from ptypinn.errors import InputError
from ptypinn.io.camera_arrays import note_mrc_volume
from ptypinn.io.camera_frames import CHECKED_FRAMES, CameraCounts, open_source
from ptypinn.io.camera_headers import (
    EMPAD_VOLTAGE,
    VOLTAGE,
    blo_bytes,
    check_blo_pixels,
    dm_bytes,
    list_files,
    list_places,
    mrc_bytes,
    read_blo,
    read_dm_calibration,
    read_empad,
    read_tvips,
)
from ptypinn.io.camera_sources import FrameSource, StoredFrames, read_raster
from ptypinn.io.counts import require_counts
from ptypinn.io.crop import Crop, window_of
from ptypinn.io.format import Entry, FirstBytes, Format, MissingField, recognise_any
from ptypinn.io.provenance import describe_source, hash_parts
from ptypinn.io.raster import Calibration, build_raster_scan
from ptypinn.io.safe.external_files import require_inside

EMPAD_FRAME_BYTES = 130 * 128 * 4
"""Bytes of a frame of EMPAD raw files: 128 rows of 128 float32, and two of other numbers."""
MRC_MAP_BYTE, MRC_MAP = 208, b"MAP "
"""Place in MRC files of the letters that identify them."""
XML_BYTES = 2**16
"""Bytes of an XML file that are searched for its raw file."""


def _state_nothing(path: Path) -> Calibration:
    return Calibration()


@dataclass(frozen=True)
class Camera:
    """A camera's file format."""

    kind: str
    """Its name, that of LiberTEM."""
    recognises: Callable[[Path], bool]
    """Return True if a file is of this format, by its first bytes or its size."""
    states_raster: Callable[[Path], bool] = lambda path: False
    """Return True if a file of it states rows and columns of the raster to LiberTEM."""
    read_header: Callable[[Path], Calibration] = _state_nothing
    """Read what the header states."""
    state_bytes: Callable[[Path], int] = lambda path: 0
    """Return the least size of a file by its header."""
    note_header: Callable[[Path, LoadConfig], dict[str, Any]] = lambda path, config: {}
    """Return records of what is read otherwise than the header says; raise `InputError` where options must decide."""
    check_pixels: Callable[[Path, np.dtype[Any]], None] = lambda path, dtype: None
    """Raise `InputError` where the type of pixels that is read contradicts the size of the file."""


def _is_empad_xml(path: Path) -> bool:
    if path.suffix.lower() != ".xml":
        return False
    with path.open("rb") as file:
        return b"<raw_file" in file.read(XML_BYTES)


def _is_empad_raw(path: Path) -> bool:
    size = path.stat().st_size
    return path.suffix.lower() == ".raw" and size > 0 and size % EMPAD_FRAME_BYTES == 0


def _is_mrc(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(MRC_MAP_BYTE + len(MRC_MAP))[MRC_MAP_BYTE:] == MRC_MAP


def _has_suffix(suffix: str) -> Callable[[Path], bool]:
    return lambda path: path.suffix.lower() == suffix


def _is_always(path: Path) -> bool:
    return True


TVIPS_STARTS = tuple(FirstBytes(bytes([0, 1, 0, 0, version, 0, 0, 0])) for version in (1, 2))
"""Length of the header, 256, and version."""
DM_STARTS = (FirstBytes(b"\0\0\0\x03"), FirstBytes(b"\0\0\0\x04"))
"""Version."""

CAMERAS = (
    Camera("empad", recognise_any(_is_empad_xml, _is_empad_raw), _has_suffix(".xml"), read_empad),
    Camera("mib", recognise_any(FirstBytes(b"MQ1,"), FirstBytes(b"HDR,")), _has_suffix(".hdr")),
    Camera("dm", recognise_any(*DM_STARTS), read_header=read_dm_calibration, state_bytes=dm_bytes),
    Camera("tvips", recognise_any(*TVIPS_STARTS), read_header=read_tvips),
    Camera("blo", FirstBytes(b"IMGBLO"), _is_always, read_blo, blo_bytes, check_pixels=check_blo_pixels),
    Camera("seq", FirstBytes(b"\xed\xfe\0\0N\0o\0r\0p\0i\0x\0")),
    Camera("mrc", _is_mrc, state_bytes=mrc_bytes, note_header=note_mrc_volume),
)
"""Formats by what identifies them."""


def read_camera(path: Path, config: LoadConfig) -> ScanData:
    """Read the frames of a camera's file as a raster of patterns, or as a stack with `positions_file`.

    Raises:
        InputError: Where the file is damaged or incomplete, or step, object pixel or electrons per detector unit stay
            open, naming the option for each.
    """
    source = str(path)
    require_counts(source, config, "files of cameras")
    camera = next((one for one in CAMERAS if one.recognises(path)), None)
    if camera is None:
        raise InputError(source, "file", "content of no camera", f"one of {', '.join(one.kind for one in CAMERAS)}")
    files = list_files(path.resolve(), camera.kind)
    require_inside(path, files)
    _require_complete(path, camera)
    opened = open_source(path.resolve(), camera.kind)
    frames = opened.shape[0]
    whole = CameraCounts(path, camera.kind, frames)
    camera.check_pixels(path, whole.dtype)
    window, crop = window_of(source, whole.frame_shape, config), Crop.of(source, whole.frame_shape, config)
    is_float, gain = whole.dtype.kind == "f", config.detector_gain
    threshold = gain / 2 if is_float and gain is not None else None
    header = camera.note_header(path, config)
    counts = CameraCounts(path, camera.kind, frames, window, threshold)
    for frame in CHECKED_FRAMES if not is_float or threshold is not None else ():
        _ = counts[[frame]]
    raster = _find_raster(path, camera, opened)
    return build_raster_scan(
        config,
        counts=counts if is_float and threshold is None else _take(counts, config),
        crop=crop,
        raster=(frames,) if 1 in raster else raster,
        calibration=camera.read_header(path),
        provenance=describe_source(
            path, "camera", config, **hash_parts(files[1:]), camera=camera.kind, read_as_zero_below=threshold, **header
        ),
    )


def _list_places(path: Path) -> list[Path]:
    """Return the places of further files of a scan."""
    return list_places(path.resolve(), next(one.kind for one in CAMERAS if one.recognises(path)))


def _find_raster(path: Path, camera: Camera, opened: FrameSource) -> tuple[int, ...]:
    """Return rows and columns of the raster; the number of frames where the file states none."""
    if isinstance(opened, StoredFrames):
        return opened.raster
    return read_raster(path.resolve(), camera.kind) if camera.states_raster(path) else opened.shape[:1]


def _require_complete(path: Path, camera: Camera) -> None:
    """Raise `InputError` for a file that is shorter than its header says."""
    size, stated = path.stat().st_size, camera.state_bytes(path)
    if size < stated:
        raise InputError(str(path), "file", f"{size} bytes", f"at least {stated}, which its header states")


def _take(counts: CameraCounts, config: LoadConfig) -> Counts:
    """Return frames in memory where they fit into the memory budget."""
    size = math.prod(counts.shape) * counts.dtype.itemsize
    return counts[:] if size <= config.memory_budget_gib * 2**30 else counts


CAMERA = Format(
    "Frames of an electron camera (EMPAD, MIB, DM, TVIPS, BLO, SEQ, MRC)",
    (".mib", ".hdr", ".xml", ".raw", ".dm4", ".dm3", ".tvips", ".blo", ".seq", ".mrc"),
    recognises=recognise_any(*(camera.recognises for camera in CAMERAS)),
    entries=(
        Entry("frames", "counts", "(frames, rows, columns)", "detector units", "raw values; of all files of a series"),
        Entry("raster", "positions_px", "", "", "rows and columns: MIB by its .hdr, EMPAD by its .xml, DM, BLO", True),
        Entry("BLO: SX, SY", "positions_px", "", "nm", "steps of the raster", True),
        Entry("DM: Calibrations.Dimension.3, 4", "positions_px", "", "Units", "steps of the raster; or 1, 2", True),
        Entry("DM: Calibrations.Dimension.1", "pixel_size_m", "", "Units", "detector pixel, 1/length or angle", True),
        Entry("BLO: Beam_energy", "energy_eV", "", "V", "", True),
        Entry(f"DM: {VOLTAGE}", "energy_eV", "", "V", "", True),
        Entry(f"EMPAD: {EMPAD_VOLTAGE}", "energy_eV", "", "V", "of the .xml", True),
        Entry("TVIPS: high tension", "energy_eV", "", "kV", "of the first file", True),
    ),
    missing=(
        MissingField("rows and columns of the raster", "raster_shape"),
        MissingField("step of the raster", "scan_step_m"),
        MissingField("accelerating voltage", "energy_eV"),
        MissingField("object pixel (or camera length and detector pixel)", "pixel_size_m"),
        MissingField("detector units per electron, where frames are floating-point", "detector_gain"),
        MissingField("positions of patterns that are no raster", "positions_file"),
        MissingField("direct beam, where it is beside the middle", "centre_px"),
    ),
    notes="Read through LiberTEM; needs the extra `cameras`. Of an EMPAD, the 128 rows of every frame that are image "
    "are taken. Integers are electrons unless `detector_gain` says how many units one makes; of floating-point frames, "
    "what is less than half an electron is read as 0, as reading adds noise to pixels that none met. Frames before the "
    "first of the raster are left out by `--select`, as in `--raster-shape [64,64] --select 12-`. Of a DM file, the "
    "first array of three axes or more is read, in either order of the axes. Sections of an MRC file that its header "
    "calls a volume (mz above 1), as many cameras do, are frames where `raster_shape` has as many positions. Files "
    "that are read with another, as the raw file of an EMPAD, must lie in its folder, links followed, unless "
    "`allow_external`.",
    read=read_camera,
    list_places=_list_places,
)
