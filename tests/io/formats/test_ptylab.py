"""PtyLab scans, written as its documentation defines them: `positions = round(encoder / dxo) + No//2 - Np//2`."""

import h5py
import numpy as np
import pytest

from ptypinn.config.load import LoadConfig
from ptypinn.errors import InputError
from ptypinn.io.load_save import detect_format, load

WAVELENGTH, ZO, DXD = 632.8e-9, 5e-2, 72e-6


def write(path, experiment, **changes):
    dxo = WAVELENGTH * ZO / (experiment.size * DXD)
    height = experiment.object.shape[0]
    encoder = (experiment.positions_px - height // 2 + experiment.size // 2) * dxo
    entries = {
        "ptychogram": experiment.counts,
        "encoder": encoder,
        "dxd": (DXD,),
        "zo": (ZO,),
        "wavelength": np.full((1, 1), WAVELENGTH),
        "Nd": (experiment.size,),
        "entrancePupilDiameter": (6 * dxo,),
        "orientation": 0,
        **changes,
    }
    with h5py.File(path, "w") as file:
        for name, value in entries.items():
            if value is not None:
                file[name] = value
    return path


def test_axes_signs_and_units(tmp_path, experiment):
    path = write(tmp_path / "scan.hdf5", experiment)
    assert detect_format(path) == "ptylab"
    scan = load(path)
    assert experiment.explains(scan)
    assert scan.wavelength_m == pytest.approx(WAVELENGTH, rel=1e-12)
    assert (scan.detector_distance_m, scan.detector_pixel_m) == (ZO, DXD)
    assert scan.pixel_size_m == pytest.approx(WAVELENGTH * ZO / (16 * DXD))


def test_the_probe_starts_as_a_disk_of_the_given_diameter(tmp_path, experiment):
    scan = load(write(tmp_path / "scan.hdf5", experiment))
    inside = np.abs(scan.probe[0]) > np.abs(scan.probe).max() / 2
    assert np.sqrt(4 * inside.sum() / np.pi) == pytest.approx(6, abs=0.5)
    assert load(write(tmp_path / "bare.hdf5", experiment, entrancePupilDiameter=None)).probe is None


TURNED = {1: lambda c: c[:, :, ::-1], 2: lambda c: c[:, ::-1], 4: lambda c: c.swapaxes(1, 2)}
TURNED |= {3: lambda c: TURNED[1](TURNED[2](c)), 7: lambda c: TURNED[4](TURNED[3](c)), 0: lambda c: c}
TURNED |= {5: lambda c: TURNED[4](TURNED[1](c)), 6: lambda c: TURNED[4](TURNED[2](c))}


@pytest.mark.parametrize("orientation", range(8))
def test_orientations_are_undone(tmp_path, experiment, orientation):
    stored = np.roll(TURNED[orientation](np.roll(experiment.counts, 0)), 0)
    for axis, turned in ((1, orientation in (2, 3, 6, 7)), (2, orientation in (1, 3, 5, 7))):
        axis = 3 - axis if orientation >= 4 else axis
        stored = np.roll(stored, 1, axis) if turned else stored
    scan = load(write(tmp_path / "scan.hdf5", experiment, ptychogram=stored, orientation=orientation))
    assert experiment.explains(scan)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"wavelength": None}, r"wavelength: found nothing here, expected a value, or --energy-eV"),
        ({"zo": None}, r"zo: .*--detector-distance-m"),
        ({"zo": -1.0}, r"zo: found -1.0, expected a positive number"),
        ({"zled": 0.1}, r"zled: found Fourier ptychography"),
        ({"encoder": np.zeros((12, 3))}, r"encoder: found float64 of shape \(12, 3\)"),
        ({"orientation": 9}, r"orientation: found 9"),
        ({"entrancePupilDiameter": 1.0}, r"entrancePupilDiameter: found a diameter of"),
    ],
)
def test_what_lacks_or_contradicts_is_named(tmp_path, experiment, changes, message):
    path = write(tmp_path / "scan.hdf5", experiment, **changes)
    with pytest.raises(InputError, match=message):
        load(path)


def test_options_supply_what_lacks(tmp_path, experiment):
    path = write(tmp_path / "scan.hdf5", experiment, wavelength=None)
    scan = load(path, LoadConfig(energy_eV=1.2398419843320026e-6 / WAVELENGTH))
    assert experiment.explains(scan)
