"""MATLAB files of PtychoShelves and fold_slice, both versions, by the definitions in their scripts."""

import h5py
import numpy as np
import pytest
import scipy.io

from ptypinn.config.load import LoadConfig
from ptypinn.errors import InputError
from ptypinn.io.load_save import detect_format, load, load_reconstruction

STEP_M = 3 * 2.0e-11
ELECTRON_WAVELENGTH_300KV = 1.96875e-12


def raw(experiment):
    """`dp` is (ky, kx, y, x) in detector units; angles in milliradians, voltage in kilovolts."""
    stack = experiment.counts.reshape(*experiment.raster, 16, 16)
    radius, angle = 4.0, 1e3 * 4.0 * ELECTRON_WAVELENGTH_300KV / (16 * 2.0e-11)
    dp = 151.0 * stack.transpose(2, 3, 0, 1)
    return {"dp": dp, "ADU": 151.0, "voltage": 300.0, "alpha": angle, "rbf": radius}


def prepared(experiment):
    """The structure `p` as the engines see it: transforms in the corner, amplitudes normalised by `renorm`."""
    amplitudes = np.sqrt(np.fft.fftshift(experiment.counts, axes=(1, 2)))
    renorm = 1 / np.sqrt(experiment.counts.sum((1, 2)).max() / 16**2)
    mask = np.ones((16, 16, 12))
    mask[3, 5, 2] = 0
    return {
        "p": {
            "fmag": np.moveaxis(amplitudes * renorm, 0, -1),
            "fmask": mask,
            "renorm": renorm,
            "positions": experiment.positions_px,
            "dx_spec": np.array([3e-8, 3e-8]),
            "lambda": 2e-10,
            "z": 7.3,
            "ds": 7.5e-5,
            "asize": np.array([16.0, 16.0]),
        },
        "probe": np.stack([experiment.probe, 0.1 * experiment.probe], -1),
    }


def write(path, entries, version):
    """Version 7.3 is HDF5 behind 512 bytes of text, its axes reversed, complex numbers as pairs."""
    if version == 5:
        scipy.io.savemat(path, entries)
        return path
    with h5py.File(path, "w", userblock_size=512) as file:
        _write_group(file, entries)
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    return path


def _write_group(group, entries):
    for name, value in entries.items():
        if isinstance(value, dict):
            _write_group(group.create_group(name), value)
            group[name].attrs["MATLAB_class"] = np.bytes_(b"struct")
        elif isinstance(value, str):
            group[name] = np.frombuffer(value.encode("utf-16-le"), np.uint16)[:, None]
            group[name].attrs["MATLAB_class"] = np.bytes_(b"char")
        else:
            array = np.atleast_2d(value).T
            pairs = np.dtype([("real", "f8"), ("imag", "f8")])
            group[name] = array.astype(complex).view(pairs).reshape(array.shape) if np.iscomplexobj(value) else array
            group[name].attrs["MATLAB_class"] = np.bytes_(b"double")


@pytest.mark.parametrize("version", [5, 7.3])
def test_raw_patterns_are_electrons_on_a_raster(tmp_path, experiment, version):
    path = write(tmp_path / "scan.mat", raw(experiment), version)
    assert detect_format(path) == "ptychoshelves"
    scan = load(path, LoadConfig(scan_step_m=STEP_M))
    assert experiment.explains(_in_order(scan, experiment))
    assert scan.particle == "electron"
    assert scan.pixel_size_m == pytest.approx(2.0e-11, rel=1e-4)
    assert scan.wavelength_m == pytest.approx(ELECTRON_WAVELENGTH_300KV, rel=1e-5)


def _in_order(scan, experiment):
    """Patterns come with y as the fast coordinate; the experiment counts x first."""
    order = np.lexsort(scan.positions_px.round(3).T[::-1])
    return scan.replace(counts=scan.counts[order], positions_px=scan.positions_px[order])


@pytest.mark.parametrize("version", [5, 7.3])
def test_a_window_is_given_in_rows_and_columns_whatever_the_version(tmp_path, experiment, version):
    entries = raw(experiment)
    path = write(tmp_path / "scan.mat", entries, version)
    scan = load(path, LoadConfig(scan_step_m=STEP_M, centre_px=(7, 9), crop_px=8))
    stack = experiment.counts.reshape(3, 4, 16, 16).swapaxes(0, 1).reshape(12, 16, 16)
    np.testing.assert_allclose(scan.counts, stack[:, 3:11, 5:13], rtol=1e-6)


@pytest.mark.parametrize("version", [5, 7.3])
def test_prepared_data_give_back_the_counts(tmp_path, experiment, version):
    scan = load(write(tmp_path / "scan.mat", prepared(experiment), version), LoadConfig(calibration="none"))
    np.testing.assert_allclose(scan.counts, experiment.counts, rtol=1e-5)
    assert experiment.explains(scan)
    expected = np.ones((16, 16), bool)
    expected[3 + 8, 5 + 8] = False
    np.testing.assert_array_equal(scan.good, expected)
    np.testing.assert_allclose(scan.probe[0], experiment.probe, rtol=1e-5)
    assert len(scan.probe) == 2
    assert (scan.pixel_size_m, scan.detector_distance_m, scan.detector_pixel_m) == (3e-8, 7.3, 7.5e-5)
    assert scan.wavelength_m == pytest.approx(2e-10)


@pytest.mark.parametrize("version", [5, 7.3])
def test_electrons_have_their_pixel_in_angstroms(tmp_path, experiment, version):
    entries = prepared(experiment)
    entries["p"] |= {"beam_source": "electron", "dx_spec": np.array([0.2, 0.2]), "energy": 300.0}
    scan = load(write(tmp_path / "scan.mat", entries, version), LoadConfig(calibration="none"))
    assert (scan.particle, scan.pixel_size_m, scan.energy_eV) == ("electron", pytest.approx(2e-11), 3e5)


@pytest.mark.parametrize("version", [5, 7.3])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e.pop("ADU"), "ADU: found nothing here.*--detector-gain"),
        (lambda e: e.pop("dp"), "file: found content of no format|dp: found no patterns"),
        (lambda e: e.update(rbf=0.0), "object pixel: .*--pixel-size-m"),
        (lambda e: e.update(voltage=-300.0), "energy: found -300000.0"),
        (lambda e: e.update(dp=e["dp"][..., 0, 0]), "dp.*shape"),
        (lambda e: e.update(dp=e["dp"].reshape(16, 16, 12)), "12 patterns without positions.*--positions-file"),
    ],
)
def test_what_lacks_is_asked_by_option(tmp_path, experiment, version, change, message):
    entries = raw(experiment)
    change(entries)
    path = write(tmp_path / "scan.mat", entries, version)
    with pytest.raises(InputError, match=message):
        load(path, LoadConfig(scan_step_m=STEP_M))


def test_the_step_of_a_raster_is_asked_for(tmp_path, experiment):
    with pytest.raises(InputError, match=r"scan\.mat: scan step: found none, expected a value, or --scan-step-m"):
        load(write(tmp_path / "scan.mat", raw(experiment), 5))


def test_large_files_of_version_5_need_a_larger_budget(tmp_path, experiment, monkeypatch):
    monkeypatch.setattr("ptypinn.io.safe.hdf5.MAX_ARRAY_BYTES", 1e3)
    path = write(tmp_path / "scan.mat", raw(experiment), 5)
    with pytest.raises(InputError, match="--memory-budget-gib"):
        load(path, LoadConfig(memory_budget_gib=1e-6, scan_step_m=STEP_M))
    load(path, LoadConfig(memory_budget_gib=1.0, scan_step_m=STEP_M))


@pytest.mark.parametrize("version", [5, 7.3])
@pytest.mark.parametrize("layout", ["fold_slice", "PtychoShelves"])
def test_reconstructions(tmp_path, experiment, version, layout):
    """fold_slice cuts patches at `round([y x] + ceil(size_object/2 - size_probe/2))`, counted from 1."""
    entries = prepared(experiment)
    del entries["p"]["fmag"], entries["p"]["fmask"]
    shape = np.array(experiment.object.shape)
    if layout == "fold_slice":
        offsets = experiment.positions_px + 1 - np.ceil(shape / 2 - 16 / 2)
        entries["outputs"] = {"probe_positions": offsets[:, ::-1]}
    recon = load_reconstruction(write(tmp_path / "recon.mat", {**entries, "object": experiment.object}, version))
    np.testing.assert_array_equal(recon.positions_px, experiment.positions_px)
    np.testing.assert_allclose(recon.object, experiment.object, rtol=1e-6)
    np.testing.assert_allclose(recon.probe[0], experiment.probe, rtol=1e-6)
    assert recon.pixel_size_m == 3e-8
    assert recon.provenance["optics"]["detector_distance_m"] == 7.3


@pytest.mark.parametrize("version", [5, 7.3])
def test_variations_of_the_probe_are_not_left_out_in_silence(tmp_path, experiment, version):
    entries = prepared(experiment)
    entries["probe"] = np.stack([entries["probe"], 0.1 * entries["probe"], 0.2 * entries["probe"]], -1)
    path, reports = tmp_path / "scan.mat", ["2 variations of the probe over the scan"]
    scan = load(write(path, entries, version))
    assert (len(scan.probe), scan.provenance["left_out"]) == (2, reports)
    del entries["p"]["fmag"], entries["p"]["fmask"]
    recon = load_reconstruction(write(path, {**entries, "object": experiment.object}, version))
    assert (len(recon.probe), recon.provenance["left_out"]) == (2, reports)


def test_several_layers_are_refused(tmp_path, experiment):
    entries = {**prepared(experiment), "object": np.stack([experiment.object] * 2, -1)}
    with pytest.raises(InputError, match="one layer"):
        load_reconstruction(write(tmp_path / "recon.mat", entries, 5))
