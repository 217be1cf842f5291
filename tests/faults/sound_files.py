"""Small sound files of every kind that is read, of this package and of other programs."""

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from ptypinn import LoadConfig, RefineConfig, SimulateConfig, load, refine, save, simulate
from ptypinn.config.config_file import require_sane_configs
from ptypinn.io.load_save import load_reconstruction
from ptypinn.io.registry import list_formats
from ptypinn.models.cnn import PtychoCNN
from ptypinn.models.model_file import PatchModel, PatchModelHeader, load_patch_model, load_weights, save_weights
from ptypinn.training.checkpoints import AtomicCheckpointIO, load_checkpoint

TESTS = Path(__file__).parents[1]
FORMATS = TESTS / "io" / "formats"
OPTICS = {"energy_eV": 9000.0, "detector_distance_m": 1.5, "detector_pixel_m": 6e-5}
RASTER = {"scan_step_m": 6e-11, "pixel_size_m": 2e-11, "detector_gain": 1.0}


@dataclass(frozen=True)
class SoundFile:
    """A file that can be read."""

    path: Path
    read: Callable[[], object]
    """Read it, alone or through the file that leads to it."""


def make_files(folder: Path) -> dict[str, SoundFile]:
    """Write a small file of every kind, each into a folder of its own; return them by name."""
    foreign = {**_make_foreign(folder), **_make_detector_files(folder), **_make_cameras(folder)}
    return {**_make_models(folder), **_make_own(folder), **foreign}


def load_module(path: Path) -> ModuleType:
    """Import a module of the tests by its path."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


def read_scan(path, **options):
    """Read a scan with all its counts."""
    return np.asarray(load(path, LoadConfig(**{"photons": 1e4, **options})).counts[:]).sum()


def read_model(path):
    """Read a patch network and make it ready."""
    model = load_patch_model(path)
    return model.predictor(model.probe, torch.ones(32, 32, dtype=torch.bool))


def _place(folder, name):
    path = folder / name.replace(" ", "_") / "file.bin"
    path.parent.mkdir()
    return path


def _make_models(folder):
    weights, model, checkpoint, config = (_place(folder, name) for name in ("weights", "model", "checkpoint", "config"))
    save_weights(load_weights().network, {"name": "x"}, weights)
    options = {"size": 32, "gridsize": 1, "width": 16}
    torch.manual_seed(0)
    header = PatchModelHeader("cnn", options, 1e4, 6.25, 1.0)
    PatchModel(header, PtychoCNN(**options).state_dict(), torch.ones(1, 32, 32, dtype=torch.complex64)).save(model)
    AtomicCheckpointIO().save_checkpoint({"state_dict": {"a": np.ones(3).tolist()}}, checkpoint)
    config.write_text("seed: 3\nobject_size: [72, 80]\nfaults: {positions: 2.0, flux: 0.1}\nprobe: disk\n")
    return {
        "weights": SoundFile(weights, lambda: load_weights(weights)),
        "model": SoundFile(model, lambda: read_model(model)),
        "checkpoint": SoundFile(checkpoint, lambda: load_checkpoint(checkpoint)),
        "configuration": SoundFile(config, lambda: require_sane_configs(["--config", str(config)])),
    }


def _make_own(folder):
    """Write a scan and a reconstruction in every format that is written and read."""
    scan = simulate(
        SimulateConfig(size=16, probe="disk", probe_diameter_px=6.0, object_size=(40, 40), n_patterns=12, seed=1)
    )
    recon = refine(scan, RefineConfig(iterations=1, device="cpu"))
    files = {}
    for name, kind in list_formats().items():
        if kind.write is not None:
            path = save(scan, _place(folder, f"scan {name}"), name)
            files[f"scan {name}"] = SoundFile(path, lambda path=path: read_scan(path))
        if kind.write_reconstruction is not None and kind.read_reconstruction is not None:
            path = save(recon, _place(folder, f"reconstruction {name}"), name)
            files[f"reconstruction {name}"] = SoundFile(path, lambda path=path: load_reconstruction(path))
    return files


def _make_foreign(folder):
    """Write a scene in the files of other programs."""
    by_hand = load_module(FORMATS / "by_hand.py")
    scene = by_hand.Scene()
    options = {
        "cxi": {},
        "nxcxi": {},
        "ptyd": {},
        "ptychopinn": {"domain": "amplitude", "pixel_size_m": by_hand.PIXEL_M},
        "slac": {"domain": "counts", "axis_order": "hwn", "positions_unit": "m", "truth": "objectGuess"},
        "ptychonn": {"domain": "counts", "positions_unit": "um", "pixel_size_m": by_hand.PIXEL_M},
    }
    files = {}
    for name, given in options.items():
        path = _place(folder, f"{name} by hand")
        _write_npz_or_hdf5(getattr(by_hand, name), path, scene)
        files[f"{name} by hand"] = SoundFile(path, lambda path=path, given=given: read_scan(path, **given))
    for name in ("ptyr", "product_hdf5", "product_npz"):
        path = _place(folder, f"{name} by hand")
        _write_npz_or_hdf5(getattr(by_hand, name), path, scene)
        files[f"{name} by hand"] = SoundFile(path, lambda path=path: load_reconstruction(path))
    product, patterns = _place(folder, "patterns by hand"), folder / "patterns_by_hand" / "patterns.h5"
    by_hand.product_hdf5(product, scene)
    by_hand.patterns_hdf5(patterns, scene)
    files["patterns by hand"] = SoundFile(patterns, lambda: read_scan(product, patterns_file=str(patterns)))
    return files


def _write_npz_or_hdf5(write, path, scene):
    """Write a file whose writer may append a suffix to its name."""
    write(path, scene)
    appended = path.with_name(f"{path.name}.npz")
    if appended.exists():
        appended.replace(path)


def _make_detector_files(folder):
    """Write an experiment in files that are read and not written: detectors, microscopes, MATLAB, tables."""
    experiment = load_module(TESTS / "scan_fixtures.py").make_experiment()
    eiger, shelves, stem, lab = (
        load_module(FORMATS / f"test_{name}.py") for name in ("eiger", "ptychoshelves", "stem4d", "ptylab")
    )
    places = {name: _place(folder, name) for name in ("raw 5", "raw 7.3", "prepared 5", "prepared 7.3", "ptylab")}
    for version in (5, 7.3):
        shelves.write(places[f"raw {version}"], shelves.raw(experiment), version)
        shelves.write(places[f"prepared {version}"], shelves.prepared(experiment), version)
    lab.write(places["ptylab"], experiment)
    files = {name: SoundFile(path, lambda path=path: read_scan(path, **RASTER)) for name, path in places.items()}
    files["ptylab"] = SoundFile(places["ptylab"], lambda: read_scan(places["ptylab"]))
    for number, write in enumerate((stem.write_emd1, stem.write_emd0, stem.write_plain)):
        path = write(_place(folder, f"stem {number}"), experiment)
        files[f"stem {number}"] = SoundFile(path, lambda path=path: read_scan(path, **RASTER))
    array = _place(folder, "array").with_suffix(".npy")
    stem.write_npy(array, experiment)
    files["array"] = SoundFile(array, lambda: read_scan(array, **RASTER))
    master, table = eiger.write(folder / "eiger", experiment), folder / "eiger" / "table.csv"
    np.savetxt(table, experiment.positions_px, delimiter=",", header="y_px, x_px", fmt="%.9g")
    frames = sorted(master.parent.glob("scan_data_*.h5"))[1]
    for name, path in {"eiger master": master, "eiger frames": frames, "position table": table}.items():
        files[name] = SoundFile(path, lambda: read_scan(master, positions_file=str(table), crop_px=16))
    return files


def _make_cameras(folder):
    """Write frames in the files of electron cameras, and rasters in those of Nion Swift."""
    cameras, nion = load_module(FORMATS / "cameras_by_hand.py"), load_module(FORMATS / "test_nion.py")
    raster = {"raster_shape": (cameras.ROWS, cameras.COLUMNS), **RASTER}
    files = {}
    for name, write in cameras.WRITERS.items():
        path, _ = write(_place(folder, f"camera {name}").parent)
        files[f"camera {name}"] = SoundFile(path, lambda path=path: read_scan(path, **raster, format="camera"))
    patterns = np.ones((nion.ROWS, nion.COLUMNS, nion.EDGE, nion.EDGE), np.uint16)
    for write in (nion.write_h5, nion.write_archive):
        path = write(_place(folder, f"nion {write.__name__}").parent, patterns)
        files[f"nion {write.__name__}"] = SoundFile(path, lambda path=path: read_scan(path, **RASTER))
    return files
