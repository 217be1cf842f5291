"""Reconstructions of PtyPy, `.ptyr` (those saved with `minimal`, the default).

Object and probe are storages with a pixel size and the coordinates (y, x) of their pixel [0, 0], metres; positions are
the coordinates of the *centre* of the view, pixel N//2, in those of the object.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from ptypinn.config.load import LoadConfig
from ptypinn.data.opr_modes import FrameProbes, from_frames
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.errors import InputError
from ptypinn.io.arrays import as_positions, foreign_reconstruction
from ptypinn.io.format import Entry, Format, MissingField, Signature
from ptypinn.io.formats.ptyd import branch, leaf
from ptypinn.io.provenance import describe_source
from ptypinn.io.safe.hdf5 import find_dataset, find_item, read_array, read_scalar, require_array
from ptypinn.io.safe.hdf5_open import open_hdf5
from ptypinn.io.safe.hdf5_write import create_hdf5

OBJECT, PROBE = "SscanG00", "SscanG01"
"""Names of the storages that are written."""

STORAGES = ("content/obj", "content/probe")
MAX_MODES = 10_000
RUNTIME = "content/runtime"
"""What an engine leaves behind: of one with orthogonal probe relaxation (OPR), the probes of all frames."""
UNPLACED = "changes of the probe over the scan, as positions of its frames are not in the file"


def read_ptyr(path: Path, config: LoadConfig) -> Reconstruction:
    """Read object, probe and positions of the only scan in the file.

    Raises:
        InputError: Where a storage or the positions are missing, or there are several.
    """
    source = str(path)
    with open_hdf5(path) as file:
        image, probe = (_storage(file, source, kind) for kind in ("obj", "probe"))
        frames = _read_frames(file, source, probe)
        probes = FrameProbes(require_array(file, source, f"{probe}/data")) if frames is None else from_frames(frames)
        modes = probes.probe
        pixel, origin = _grid(file, source, image)
        place = f"content/positions/{image.rsplit('/')[-1]}"
        centres = as_positions(source, place, require_array(file, source, place), "y, x in metres")
        corners = (centres - origin) / pixel - np.array(modes.shape[-2:]) // 2
        is_whole = frames is None or len(frames) == len(centres)
        return foreign_reconstruction(
            source,
            require_array(file, source, f"{image}/data"),
            modes,
            corners,
            pixel_size_m=float(pixel[0]),
            probe_variation=probes.variation if is_whole else None,
            probe_weights=probes.weights if is_whole else None,
            flux=probes.flux if is_whole else None,
            provenance=describe_source(path, "ptyr", config, left_out=[] if is_whole else [UNPLACED]),
        )


def _read_frames(file: h5py.File, source: str, probe: str) -> np.ndarray | None:
    """Return the modes of every frame, (M, modes, N, N), of a run whose frames have probes of their own; else None."""
    name = probe.rsplit("/", maxsplit=1)[-1]
    if find_item(file, f"{RUNTIME}/OPR_modes/{name}") is None:
        return None
    layers = require_array(file, source, f"{RUNTIME}/OPR_allprobes/{name}", f"{probe}/data")
    modes = _count_modes(file, source)
    if layers.ndim != 3 or layers.dtype.kind != "c" or not len(layers) or len(layers) % modes:
        actual = f"{layers.dtype} of shape {layers.shape}"
        raise InputError(source, f"{RUNTIME}/OPR_allprobes/{name}", actual, f"{modes} modes, N x N, of every frame")
    if not np.isfinite(layers).all() or not np.abs(layers).sum((1, 2)).reshape(-1, modes).sum(1).all():
        raise InputError(source, f"{RUNTIME}/OPR_allprobes/{name}", "a frame whose probe is 0", "a probe in all frames")
    return layers.reshape(-1, modes, *layers.shape[1:])


def _count_modes(file: h5py.File, source: str) -> int:
    """Return the number of incoherent modes by the parameters of the run.

    Raises:
        InputError: Where a parameter is no number of modes.
    """
    scans, numbers = find_item(file, "content/pars/scans"), [1]
    for scan in scans if isinstance(scans, h5py.Group) else ():
        name = f"content/pars/scans/{scan}/coherence/num_probe_modes"
        count = read_scalar(file, source, name)
        if count is not None and not (0 <= count <= MAX_MODES and count == int(count)):
            raise InputError(source, name, f"{count:g}", f"a number of modes from 1 to {MAX_MODES}")
        numbers += [] if count is None else [int(count)]
    return max(numbers)


def write_ptyr(recon: Reconstruction, path: Path) -> None:
    """Write object, probe and positions as PtyPy saves them; positions count as those of a scan written as `.ptyd`."""
    pixel, size = recon.pixel_size_m, recon.probe.shape[-1]
    assert pixel is not None, "storages need the object pixel"
    origin = np.array(recon.origin_px, np.float64)
    with create_hdf5(path) as file:
        file.attrs["h5rw_version"] = "0.1"
        header, content = branch(file, "header"), branch(file, "content")
        leaf(header, "kind", "minimal")
        leaf(header, "description", "reconstruction written by ptypinn")
        for kind, name, images, first in (
            ("obj", OBJECT, recon.object[None], origin - size // 2),
            ("probe", PROBE, recon.probe, np.full(2, -(size // 2), np.float64)),
        ):
            storage = branch(branch(content, kind), name)
            for key, value in {"data": images, "_psize": np.full(2, pixel), "_origin": first * pixel}.items():
                leaf(storage, key, value)
            leaf(storage, "shape", np.array(images.shape))
        leaf(branch(content, "positions"), OBJECT, (recon.positions_px + origin) * pixel)


def _storage(file: h5py.File, source: str, kind: str) -> str:
    group = file.get(f"content/{kind}")
    names = [name for name in group if isinstance(group[name], h5py.Group)] if isinstance(group, h5py.Group) else []
    if len(names) != 1:
        raise InputError(source, f"content/{kind}", f"{len(names)} storages {sorted(names)}", "one")
    return f"content/{kind}/{names[0]}"


def _grid(file: h5py.File, source: str, storage: str) -> tuple[np.ndarray, np.ndarray]:
    """Pixel size and coordinates of pixel [0, 0], (y, x), metres."""
    pixel, origin = (find_dataset(file, f"{storage}/{name}") for name in ("_psize", "_origin"))
    if pixel is None or origin is None:
        raise InputError(source, f"{storage}/_psize", "no pixel size or origin", "both")
    pixel, origin = (np.broadcast_to(np.asarray(read_array(d), np.float64).ravel(), 2) for d in (pixel, origin))
    if not (np.isfinite(pixel).all() and pixel.min() > 0 and abs(pixel[0] / pixel[1] - 1) < 1e-3):
        raise InputError(source, f"{storage}/_psize", f"{pixel.tolist()}", "square pixels of a positive size")
    return pixel, origin


PTYR = Format(
    "PtyPy reconstruction",
    (".ptyr",),
    recognises=Signature(("content/obj/", "content/probe/")),
    entries=(
        Entry("content/obj/ID/data", "object", "(1, H, W)"),
        Entry("content/obj/ID/_psize", "pixel_size_m", "(2,)", "m", "(y, x)"),
        Entry("content/obj/ID/_origin", None, "(2,)", "m", "coordinates (y, x) of the object's pixel [0, 0]"),
        Entry("content/probe/ID/data", "probe", "(modes, N, N)", "sqrt(photons)"),
        Entry(
            "content/runtime/OPR_allprobes/ID",
            None,
            "(M * modes, N, N)",
            "",
            "of an engine with OPR: all frames",
            True,
        ),
        Entry("content/runtime/OPR_modes/ID", None, "", "", "a mark of such engines", True),
        Entry("content/positions/ID", "positions_px", "(M, 2)", "m", "(y, x) of the probe's pixel N//2"),
    ),
    missing=(MissingField("photon energy", "energy_eV"), MissingField("detector distance", "detector_distance_m")),
    notes="ID is the name of the storage. What ptypinn writes lacks the parameters of a run, which cannot go on "
    "from it; PtyPy takes object and probe from it (`load_from_ptyr`), such as the probe to start from.",
    read_reconstruction=read_ptyr,
    write_reconstruction=write_ptyr,
    required=("pixel_size_m",),
)
