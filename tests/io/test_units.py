"""Units in any spelling are read, and a unit that cannot be read is an error with the option that replaces it."""

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.config.load import LoadConfig
from ptypinn.errors import InputError
from ptypinn.io.load_save import load, save
from ptypinn.io.units import convert_unit, parse_unit, unit_text

SOURCE, DETECTOR = "entry_1/instrument_1/source_1", "entry_1/instrument_1/detector_1"
TRANSLATION = "entry_1/sample_1/geometry_1/translation"
LENGTHS = {
    **dict.fromkeys(["m", "metre", "Meters"], 1.0),
    **dict.fromkeys(["mm", "millimeter", "[mm]"], 1e-3),
    **dict.fromkeys(["um", "µm", "μm", "micron", "Microns", "micrometre"], 1e-6),
    **dict.fromkeys(["nm", "n_m", "[n_m]", "nanometers"], 1e-9),
    **dict.fromkeys(["A", "Å", "\u212b", "A\u030a", "angstrom", "Angstroms", "Ang"], 1e-10),
    **dict.fromkeys(["pm", "picometer"], 1e-12),
}
INVERSES = ["1/{}", "1 / {}", "/{}", "{}^-1", "{}-1", "{}⁻¹", "{}**-1", "{}^{{-1}}", "[{}^-1]", "1/({})", "{} ^ -1"]
CELLS = {"length": "nm", "reciprocal length": "1/nm", "angle": "mrad", "energy": "keV"}


def put(path, name, value, unit=None):
    with h5py.File(path, "r+") as opened:
        del opened[name]
        opened[name] = value
        if unit is not None:
            opened[name].attrs["units"] = unit


@given(st.sampled_from(sorted(LENGTHS)), st.sampled_from(["", *INVERSES]))
def test_a_length_and_its_inverse_in_any_spelling(name, inverse):
    plain = name.strip("[]") if inverse else name
    unit = parse_unit(inverse.format(plain) if inverse else plain)
    assert unit is not None
    assert unit.kind == ("reciprocal length" if inverse else "length")
    assert unit.factor == pytest.approx(1 / LENGTHS[name] if inverse else LENGTHS[name], rel=1e-12)


@given(st.sampled_from(sorted(LENGTHS)), st.sampled_from(["utf-8", "latin-1"]))
def test_bytes_of_either_encoding_are_the_same_text(name, encoding):
    try:
        stored = name.encode(encoding)
    except UnicodeEncodeError:
        return
    assert unit_text(stored) == unit_text(name) == unit_text(np.array(stored)) == name


@given(st.sampled_from(sorted(CELLS)), st.sampled_from(sorted(CELLS)))
def test_a_unit_of_another_quantity_is_an_error(kind, other):
    if kind == other:
        assert convert_unit("f", "d", CELLS[kind], "energy_eV", other).kind == kind
        return
    with pytest.raises(
        InputError, match=rf"f: d@units: found '{CELLS[kind]}', expected a unit of {other} .*--energy-eV"
    ):
        convert_unit("f", "d", CELLS[kind], "energy_eV", other)


@pytest.fixture
def file(make_scan, tmp_path):
    """A CXI file and the scan in it, read before anything is changed."""
    path = save(make_scan(truth=None, mask=None), tmp_path / "scan.cxi", "cxi")
    return path, load(path)


@pytest.mark.parametrize(("unit", "factor"), [("mm", 1e3), ("µm", 1e6), ("Å", 1e10), (None, 1.0)])
def test_translations_are_in_the_unit_that_they_name(file, unit, factor):
    path, scan = file
    with h5py.File(path) as opened:
        metres = opened[TRANSLATION][()]
    put(path, TRANSLATION, metres * factor, unit)
    np.testing.assert_allclose(load(path).positions_px, scan.positions_px, rtol=1e-9, atol=1e-9)


def test_options_replace_what_cannot_be_read(file):
    path, scan = file
    with h5py.File(path) as opened:
        metres = opened[TRANSLATION][()]
    put(path, TRANSLATION, metres * 1e9, "furlong")
    with pytest.raises(InputError, match=r"translation@units: found 'furlong'.*--positions-unit"):
        load(path)
    back = load(path, LoadConfig(positions_unit="nm"))
    np.testing.assert_allclose(back.positions_px, scan.positions_px, rtol=1e-9, atol=1e-9)
    put(path, f"{SOURCE}/energy", 1.0, "furlong")
    with pytest.raises(InputError, match=r"energy@units: found 'furlong'.*--energy-eV"):
        load(path, LoadConfig(positions_unit="nm"))
    assert load(path, LoadConfig(positions_unit="nm", energy_eV=scan.energy_eV)).energy_eV == scan.energy_eV


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"energy": 8000.0}, r"energy: found an energy of 4.99e\+22 eV .*--energy-eV"),
        ({"wavelength": 1.5498}, r"energy: found an energy of 8e-07 eV \(a wavelength of 1.55 m\).*--energy-eV"),
    ],
)
def test_numbers_that_cannot_be_in_the_unit_of_the_format(file, changes, message):
    path, scan = file
    with h5py.File(path, "r+") as opened:
        for name in ("energy", "wavelength"):
            del opened[f"{SOURCE}/{name}"]
        for name, value in changes.items():
            opened[f"{SOURCE}/{name}"] = value
    with pytest.raises(InputError, match=message):
        load(path)
    back = load(path, LoadConfig(energy_eV=scan.energy_eV))
    np.testing.assert_allclose(back.positions_px, scan.positions_px, rtol=1e-9)


def write_emd(path, unit, inverse, sizes=(1.0, 1.0, 0.5, 0.5)):
    with h5py.File(path, "w") as file:
        cube = file.create_group("root/cube")
        cube.attrs["emd_group_type"] = "array"
        cube["data"] = np.full((3, 4, 16, 16), 7, np.uint16)
        for axis, (size, name) in enumerate(zip(sizes, (unit, unit, inverse, inverse), strict=True)):
            cube[f"dim{axis}"] = np.array([0, size])
            cube[f"dim{axis}"].attrs["units"] = name
    return path


@pytest.mark.parametrize("inverse", ["nm⁻¹", "1 / nm", "nm-1", np.bytes_("nm⁻¹".encode())])
def test_rasters_in_any_spelling(tmp_path, inverse):
    scan = load(write_emd(tmp_path / "cube.emd", "nm", inverse), LoadConfig(survey=False))
    assert scan.pixel_size_m == pytest.approx(1e-9 / (16 * 0.5))
    np.testing.assert_allclose(np.ptp(scan.positions_px, axis=0), np.array([2, 3]) * 1e-9 / scan.pixel_size_m)


def test_units_of_rasters_that_cannot_be_read(tmp_path):
    path = write_emd(tmp_path / "cube.emd", "nm", "1/furlong")
    with pytest.raises(InputError, match=r"dim2@units: found '1/furlong'.*--pixel-size-m"):
        load(path)
    assert load(path, LoadConfig(pixel_size_m=2e-10, survey=False)).pixel_size_m == 2e-10
    path = write_emd(tmp_path / "step.emd", "furlong", "1/nm")
    with pytest.raises(InputError, match=r"dim0@units: found 'furlong'.*--scan-step-m"):
        load(path)
    assert load(path, LoadConfig(scan_step_m=1e-9, survey=False)).n_patterns == 12


@pytest.mark.parametrize("sizes", [(1.0, 1.0, 0.5, 0.4), (1.0, 1.0, 0.4, 0.5)])
def test_detector_pixels_that_are_not_square_are_both_named(tmp_path, sizes):
    path = write_emd(tmp_path / "cube.emd", "nm", "1/nm", sizes)
    with pytest.raises(
        InputError, match=rf"detector pixels of {sizes[2]}e\+?0?9? ?|detector pixels of \de\+08 x \de\+08"
    ):
        load(path)
    assert load(path, LoadConfig(pixel_size_m=1e-10, survey=False)).pixel_size_m == 1e-10
