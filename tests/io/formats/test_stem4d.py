"""4D-STEM rasters in EMD 1.0 and 0.x, py4DSTEM's calibration, plain HDF5 and NPY; electrons, relativistic."""

import pickle

import h5py
import numpy as np
import pytest
from scipy import constants

from ptypinn.config.load import LoadConfig
from ptypinn.errors import InputError
from ptypinn.io.crop import Window
from ptypinn.io.lazy_counts import MappedCounts
from ptypinn.io.load_save import detect_format, load
from ptypinn.physics.optics import compute_wavelength

PIXEL_M = 2.0e-11
PER_PIXEL = 1 / (16 * PIXEL_M)  # reciprocal metres per detector pixel
STEP_M = 3 * PIXEL_M


def stack_of(experiment):
    return experiment.counts.reshape(*experiment.raster, 16, 16)


def write_emd1(path, experiment, calibration=None, dims=True, data=None):
    """EMD 1.0 as its specification has it: tagged groups, `dim0` to `dim3`, metadata in the root."""
    with h5py.File(path, "w") as file:
        file.attrs.update({"emd_group_type": "file", "version_major": 1, "version_minor": 0})
        root = file.create_group("datacube_root")
        root.attrs.update({"emd_group_type": "root", "python_class": "Root"})
        cube = root.create_group("datacube")
        cube.attrs.update({"emd_group_type": "array", "python_class": "DataCube"})
        cube["data"] = stack_of(experiment) if data is None else data
        cube["data"].attrs["units"] = "pixel intensity"
        for axis in range(4 if dims else 0):
            step, unit = ((STEP_M * 1e10, "A"), (PER_PIXEL * 1e-10, "A^-1"))[axis // 2]
            cube[f"dim{axis}"] = np.array([0, step])
            cube[f"dim{axis}"].attrs.update({"name": ("Rx", "Ry", "Qx", "Qy")[axis], "units": unit})
        bundle = root.create_group("metadatabundle")
        for name, value in (calibration or {}).items():
            bundle[f"calibration/{name}"] = value
    return path


def write_emd0(path, experiment):
    """EMD 0.x: data groups of type 1, axes from `dim1`, whole vectors, units in brackets."""
    with h5py.File(path, "w") as file:
        cube = file.create_group("4DSTEM_experiment/data/datacubes/datacube_0")
        file["4DSTEM_experiment"].attrs.update({"emd_group_type": 2, "version_major": 0, "version_minor": 10})
        cube.attrs["emd_group_type"] = 1
        cube["data"] = stack_of(experiment)
        for axis, length in enumerate(cube["data"].shape):
            step, unit = ((STEP_M * 1e9, "[n_m]"), (PER_PIXEL * 1e-9, "[n_m^-1]"))[axis // 2]
            cube[f"dim{axis + 1}"] = step * np.arange(length)
            cube[f"dim{axis + 1}"].attrs["units"] = unit
    return path


def write_npy(path, experiment):
    np.save(path, stack_of(experiment))
    return path


def write_plain(path, experiment):
    with h5py.File(path, "w") as file:
        file["some/frames"] = stack_of(experiment)
        file["some/image"] = np.zeros((5, 5))
    return path


ELECTRONS = {"detector_gain": 1.0}
TOLD = {"scan_step_m": STEP_M, "pixel_size_m": PIXEL_M}


@pytest.mark.parametrize(
    ("write", "name", "options"),
    [
        (write_emd1, "cube.emd", {}),
        (write_emd0, "cube.h5", {}),
        (write_npy, "cube.npy", TOLD),
        (write_plain, "cube.h5", TOLD),
    ],
)
@pytest.mark.parametrize("budget", [4096.0, 1e-9])
def test_a_raster_of_frames_becomes_patterns_with_positions(tmp_path, experiment, write, name, options, budget):
    path = write(tmp_path / name, experiment)
    assert detect_format(path) == "stem4d"
    scan = load(path, LoadConfig(**ELECTRONS, **options, memory_budget_gib=budget))
    assert experiment.explains(scan)
    assert scan.particle == "electron"
    assert scan.pixel_size_m == pytest.approx(PIXEL_M)


def test_the_wavelength_is_de_broglies_with_relativity():
    for volts in (30e3, 80e3, 300e3, 1e6):
        kinetic = constants.e * volts
        momentum = np.sqrt(kinetic * (kinetic + 2 * constants.m_e * constants.c**2)) / constants.c
        assert compute_wavelength(volts, "electron") == pytest.approx(constants.h / momentum, rel=1e-9)


def test_angles_need_the_accelerating_voltage(tmp_path, experiment):
    wavelength = compute_wavelength(300e3, "electron")
    mrad = 1e3 * PER_PIXEL * wavelength
    calibration = {"R_pixel_size": STEP_M * 1e9, "R_pixel_units": "nm", "Q_pixel_size": mrad, "Q_pixel_units": "mrad"}
    path = write_emd1(tmp_path / "cube.emd", experiment, calibration)
    with pytest.raises(InputError, match=r"object pixel: found too few numbers.*--energy-eV"):
        load(path, LoadConfig(**ELECTRONS))
    scan = load(path, LoadConfig(**ELECTRONS, energy_eV=300e3))
    assert experiment.explains(scan)
    assert scan.wavelength_m == pytest.approx(wavelength)


def test_camera_length_and_pixel_stand_for_the_angle(tmp_path, experiment):
    path = write_npy(tmp_path / "cube.npy", experiment)
    pixel = 2.0 * PER_PIXEL * compute_wavelength(80e3, "electron")
    options = {"energy_eV": 80e3, "detector_distance_m": 2.0, "detector_pixel_m": pixel, "scan_step_m": STEP_M}
    assert load(path, LoadConfig(**ELECTRONS, **options)).pixel_size_m == pytest.approx(PIXEL_M)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("rotation", [0.0, np.pi / 2, np.pi])
def test_a_turned_scan_is_laid_along_the_detector(tmp_path, experiment, rotation, transposed):
    """Vectors of the raster are those of the detector, exchanged where `QR_flip` says so, then rotated."""
    turn = np.array([[np.cos(rotation), -np.sin(rotation)], [np.sin(rotation), np.cos(rotation)]])
    detector = experiment.positions_px[:, ::-1] if transposed else experiment.positions_px
    raster = np.rint(detector @ turn.T).astype(int) // 3
    raster -= raster.min(0)
    shape = tuple(raster.max(0) + 1)
    data = np.zeros((*shape, 16, 16))
    data[tuple(raster.T)] = experiment.counts
    path = write_emd1(tmp_path / "cube.emd", experiment, {"QR_rotation": rotation, "QR_flip": transposed}, data=data)
    scan = load(path, LoadConfig(**ELECTRONS))
    order = np.lexsort(scan.positions_px.round(3).T[::-1])
    assert experiment.explains(scan.replace(counts=scan.counts[order], positions_px=scan.positions_px[order]))


def test_the_aperture_of_the_file_is_where_the_probe_starts(tmp_path, experiment):
    path = write_emd1(tmp_path / "cube.emd", experiment, {"probe_semiangle": 4.0})
    scan = load(path, LoadConfig(**ELECTRONS))
    disk = np.fft.fftshift(np.abs(np.fft.fft2(scan.probe[0])))
    assert np.sqrt((disk > disk.max() / 2).sum() / np.pi) == pytest.approx(4.0, abs=0.6)


def test_the_direct_beam_of_the_file_is_the_centre(tmp_path, experiment):
    path = write_emd1(tmp_path / "cube.emd", experiment, {"qx0_mean": 7.2, "qy0_mean": 8.6})
    scan = load(path, LoadConfig(**ELECTRONS, crop_px=12))
    np.testing.assert_allclose(scan.counts, experiment.counts[:, 1:13, 3:15], rtol=1e-6)


def test_detector_units_are_divided_by_the_gain_and_floats_must_be_declared(tmp_path, experiment):
    path = tmp_path / "cube.npy"
    np.save(path, (151 * stack_of(experiment)).astype(np.float32))
    with pytest.raises(InputError, match=r"float32, which may be electrons or detector units.*--detector-gain"):
        load(path, LoadConfig(**TOLD))
    for budget in (4096.0, 1e-9):
        scan = load(path, LoadConfig(**TOLD, detector_gain=151.0, memory_budget_gib=budget))
        assert experiment.explains(scan, 1e-4)
    np.save(path, np.rint(stack_of(experiment)).astype(np.uint16))
    assert load(path, LoadConfig(**TOLD)).counts.dtype == np.uint16


def test_stacks_need_a_table(tmp_path, experiment):
    path = tmp_path / "stack.npy"
    np.save(path, experiment.counts)
    with pytest.raises(InputError, match=r"12 patterns without positions.*--positions-file"):
        load(path, LoadConfig(**ELECTRONS))
    np.savetxt(tmp_path / "p.txt", experiment.positions_px, header="y_px x_px")
    assert experiment.explains(load(path, LoadConfig(**ELECTRONS, positions_file=str(tmp_path / "p.txt"))))


@pytest.mark.parametrize(("missing", "option"), [("scan_step_m", "--scan-step-m"), ("pixel_size_m", "--pixel-size-m")])
def test_what_npy_files_lack_is_asked_by_option(tmp_path, experiment, missing, option):
    arguments = {name: value for name, value in TOLD.items() if name != missing}
    with pytest.raises(InputError, match=rf"cube\.npy: .*{option}"):
        load(write_npy(tmp_path / "cube.npy", experiment), LoadConfig(**ELECTRONS, **arguments))


def test_mapped_patterns_read_what_an_array_gives(tmp_path, experiment):
    path = write_npy(tmp_path / "cube.npy", experiment)
    mapped = pickle.loads(pickle.dumps(MappedCounts(path, Window(slice(2, 14), slice(4, 16)))))
    whole = experiment.counts[:, 2:14, 4:16]
    for key in (slice(3, 9), np.array([7, 1, 7]), np.arange(12) % 3 == 0):
        np.testing.assert_array_equal(mapped[key], whole[key])


def test_several_rasters_are_no_choice_to_guess(tmp_path, experiment):
    path = write_plain(tmp_path / "two.h5", experiment)
    with h5py.File(path, "r+") as file:
        file["other"] = stack_of(experiment)
    with pytest.raises(InputError, match=r"several rasters: .*/other"):
        load(path, LoadConfig(**ELECTRONS, **TOLD))


def test_the_angle_of_a_pixel_is_that_of_the_particle(tmp_path):
    """A semi-convergence angle is a radius in detector pixels by the wavelength, which is not that of electrons."""
    with h5py.File(tmp_path / "x.h5", "w") as file:
        data = file.create_dataset("root/cube/data", data=np.full((2, 3, 16, 16), 5, np.uint16))
        data.parent.attrs["emd_group_type"] = "array"
        reports = {"R_pixel_size": 1.0, "R_pixel_units": "nm", "Q_pixel_size": 1e-3, "Q_pixel_units": "A^-1"}
        for name, value in {**reports, "convergence_semiangle_mrad": 5.0}.items():
            file[f"root/metadatabundle/calibration/{name}"] = value
    scan = load(tmp_path / "x.h5", LoadConfig(particle="photon", energy_eV=10e3))
    far_field = np.fft.fftshift(np.abs(np.fft.fft2(scan.probe[0])) ** 2)
    radius = 5e-3 / (1e-3 * scan.wavelength_m * 1e10)
    assert np.count_nonzero(far_field > 0.5 * far_field.max()) == pytest.approx(np.pi * radius**2, rel=0.2)
