"""CXI files as others write them: units, signs, mask bits, links, and what is missing."""

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.config.load import LoadConfig
from ptypinn.config.shared import option_name
from ptypinn.errors import InputError
from ptypinn.io.load_save import load

N, M, STEP = 8, 6, 5.5e-5
ENERGY_J, DISTANCE = 2.0280385e-15, 1.12
PIXEL = 9.794912e-11 * DISTANCE / (N * STEP)
SOURCE, DETECTOR = "entry_1/instrument_1/source_1", "entry_1/instrument_1/detector_1"
TRANSLATION = "entry_1/sample_1/geometry_1/translation"
BASIS = np.array([[0, -STEP], [-STEP, 0], [0, 0]], np.float32)


def contents(seed=0):
    rng = np.random.default_rng(seed)
    return {
        f"{SOURCE}/energy": np.float32(ENERGY_J),
        f"{DETECTOR}/data": rng.integers(0, 900, (M, N, N)).astype(np.int32),
        f"{DETECTOR}/distance": np.float32(DISTANCE),
        f"{DETECTOR}/basis_vectors": BASIS,
        TRANSLATION: rng.uniform(-3e-6, 3e-6, (M, 3)),
    }


def write(path, entries, links=None):
    with h5py.File(path, "w") as file:
        for name, value in entries.items():
            file[name] = value
        for name, target in (links or {}).items():
            file[name] = h5py.SoftLink(target)
    return path


def relative(positions):
    return positions - positions[0]


def test_the_real_file(petra):
    scan = load(petra)
    assert scan.n_patterns == 200
    assert scan.size == 100
    assert scan.wavelength_m == pytest.approx(9.794912e-11, rel=1e-6)
    assert scan.energy_eV == pytest.approx(12658, rel=1e-5)
    assert scan.detector_distance_m == pytest.approx(1.12)
    assert scan.detector_pixel_m == pytest.approx(5.5e-5)
    assert (~scan.good).sum() == 5
    assert not scan.counts[:][:, ~scan.good].any()
    assert scan.probe is None
    with h5py.File(petra) as file:
        x, y, _ = file[TRANSLATION][()].astype(float).T
    np.testing.assert_allclose(scan.positions_px * scan.pixel_size_m, np.stack([y, x], 1), rtol=1e-6)
    sums = scan.counts[:].sum((1, 2), dtype=np.int64)
    assert sums.mean() == pytest.approx(9.668e6, rel=1e-3)


def test_sample_motion_is_turned_into_probe_motion(tmp_path):
    entries = contents()
    scan = load(write(tmp_path / "scan.cxi", entries))
    x, y, _ = entries[TRANSLATION].T
    np.testing.assert_allclose(scan.positions_px, np.stack([y, x], 1) / PIXEL, rtol=1e-5)


@given(st.floats(-np.pi, np.pi), st.booleans(), st.integers(0, 100))
def test_turning_detector_and_sample_together_changes_nothing(tmp_path_factory, angle, mirrored, seed):
    folder, entries = tmp_path_factory.mktemp("cxi"), contents(seed)
    straight = load(write(folder / "a.cxi", entries))
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    turn = turn @ np.diag([-1.0 if mirrored else 1.0, 1.0, 1.0])
    entries[f"{DETECTOR}/basis_vectors"] = turn @ BASIS.astype(float)
    entries[TRANSLATION] = entries[TRANSLATION] @ turn.T
    turned = load(write(folder / "b.cxi", entries))
    np.testing.assert_allclose(turned.positions_px, straight.positions_px, atol=1e-4)


def test_only_the_signal_bit_leaves_a_pixel_good(tmp_path):
    entries = contents()
    bits = np.zeros((N, N), np.uint32)
    bits[0, :5] = [0x1, 0x2, 0x1000, 0x1001, 0x80000000]
    entries[f"{DETECTOR}/mask"] = bits
    good = load(write(tmp_path / "scan.cxi", entries)).good
    assert good[0, :5].tolist() == [False, False, True, False, False]
    assert good[0, 5:].all()
    assert good[1:].all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scalars_may_be_arrays_of_one(tmp_path, dtype):
    entries = contents()
    for name in (f"{SOURCE}/energy", f"{DETECTOR}/distance"):
        entries[name] = np.array([entries[name]], dtype)
    assert load(write(tmp_path / "scan.cxi", entries)).energy_eV == pytest.approx(12658, rel=1e-5)


def test_data_and_translation_may_lie_in_data_1_with_links_back(tmp_path):
    entries = contents()
    plain = load(write(tmp_path / "plain.cxi", entries))
    entries["entry_1/data_1/data"] = entries.pop(f"{DETECTOR}/data")
    entries["entry_1/data_1/translation"] = entries.pop(TRANSLATION)
    moved = load(write(tmp_path / "moved.cxi", entries))
    links = {f"{DETECTOR}/data": "/entry_1/data_1/data", TRANSLATION: "/entry_1/data_1/translation"}
    linked = load(write(tmp_path / "linked.cxi", entries, links))
    dangling = load(write(tmp_path / "dangling.cxi", entries, {f"{DETECTOR}/data": "/nowhere"}))
    for scan in (moved, linked, dangling):
        np.testing.assert_array_equal(scan.counts, plain.counts)
        np.testing.assert_array_equal(scan.positions_px, plain.positions_px)


def test_wavelength_stands_in_for_the_energy(tmp_path):
    entries = contents()
    del entries[f"{SOURCE}/energy"]
    entries[f"{SOURCE}/wavelength"] = 9.794912e-11
    assert load(write(tmp_path / "scan.cxi", entries)).energy_eV == pytest.approx(12658, rel=1e-5)


def test_pixel_sizes_stand_in_for_basis_vectors_and_that_is_recorded(tmp_path):
    entries = contents()
    declared = load(write(tmp_path / "a.cxi", entries))
    del entries[f"{DETECTOR}/basis_vectors"]
    entries[f"{DETECTOR}/x_pixel_size"] = entries[f"{DETECTOR}/y_pixel_size"] = STEP
    assumed = load(write(tmp_path / "b.cxi", entries))
    np.testing.assert_allclose(assumed.positions_px, declared.positions_px, rtol=1e-6)
    assert (declared.provenance["basis_vectors"], assumed.provenance["basis_vectors"]) == ("file", "assumed")


@pytest.mark.parametrize(
    ("names", "option", "value"),
    [
        ((f"{SOURCE}/energy",), "energy_eV", ENERGY_J / 1.602176634e-19),
        ((f"{DETECTOR}/distance",), "detector_distance_m", DISTANCE),
        ((f"{DETECTOR}/basis_vectors",), "detector_pixel_m", STEP),
    ],
)
def test_what_is_missing_is_asked_for_by_the_option_that_supplies_it(tmp_path, names, option, value):
    entries = contents()
    complete = load(write(tmp_path / "complete.cxi", entries))
    for name in names:
        del entries[name]
    path = write(tmp_path / "scan.cxi", entries)
    with pytest.raises(InputError, match=rf"scan\.cxi: .*{option_name(option)}"):
        load(path)
    scan = load(path, LoadConfig(**{option: value}))
    np.testing.assert_allclose(scan.positions_px, complete.positions_px, rtol=1e-6)
    assert scan.provenance["options"] == {option: value}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (f"{DETECTOR}/basis_vectors", BASIS * [1, 2], "square detector pixels"),
        (f"{DETECTOR}/basis_vectors", np.zeros((3, 2)), "row step"),
        (f"{DETECTOR}/distance", np.array([1.0, 2.0]), "one number"),
        (f"{DETECTOR}/distance", -1.0, "positive"),
        (f"{DETECTOR}/mask", np.zeros((N, N + 1), np.uint32), "detector's"),
        (TRANSLATION, np.zeros((M, 2)), "x, y, z"),
    ],
)
def test_contradictions_are_named(tmp_path, name, value, message):
    path = write(tmp_path / "scan.cxi", {**contents(), name: value})
    with pytest.raises(InputError, match=rf"scan\.cxi: .*{name.split('/')[-1]}.*{message}"):
        load(path)


def test_an_illumination_becomes_a_calibrated_probe(tmp_path):
    entries = contents()
    entries[f"{SOURCE}/illumination"] = np.full((N, N), 1 + 1j, np.complex64)
    scan = load(write(tmp_path / "scan.cxi", entries))
    assert scan.probe_gauge == "calibrated"
    mean = entries[f"{DETECTOR}/data"].sum((1, 2)).mean()
    assert np.sum(np.abs(scan.probe) ** 2) == pytest.approx(mean, rel=1e-5)
