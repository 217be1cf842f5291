"""Patterns that are square roots of counts, or have their zero frequency in the corner."""

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.config.load import LoadConfig
from ptypinn.data.pattern_form import are_square_roots, is_corner_centred
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.io.load_save import load, save

DATA = "entry_1/instrument_1/detector_1/data"
PATTERNS = {"cxi": DATA, "ptyd": "chunks/0/data", "ptychodus": "patterns"}
SIZE, PATTERN_COUNT = 16, 12


@pytest.fixture
def scan(make_scan):
    """A scan with a direct beam in the middle of its patterns."""
    rng = np.random.default_rng(0)
    y, x = np.ogrid[-SIZE // 2 : SIZE // 2, -SIZE // 2 : SIZE // 2]
    beam = 300 * np.exp(-(y**2 + x**2) / 8) + 1
    counts = rng.poisson(beam, (PATTERN_COUNT, SIZE, SIZE)).astype(np.float32)
    return make_scan(n=PATTERN_COUNT, size=SIZE, counts=counts, truth=None)


def rewrite(path, name, change):
    """Change the patterns of a file, and take away the declaration that they are counts."""
    with h5py.File(path, "r+") as file:
        values, attributes = change(file[name][()]), dict(file[name].attrs)
        del file[name]
        file[name] = values
        file[name].attrs.update({key: value for key, value in attributes.items() if key != "units"})
    return path


@given(st.floats(2, 2000), st.integers(0, 99), st.sampled_from([np.float32, np.float64]))
def test_roots_of_photons_are_told_from_photons(mean, seed, dtype):
    photons = np.random.default_rng(seed).poisson(mean, 400).astype(dtype)
    assert are_square_roots(np.sqrt(photons))
    for values in (photons, np.log10(photons + 1), photons * dtype(0.37)):
        assert not are_square_roots(values)


@pytest.mark.parametrize("budget", [1.0, 1e-9])
@pytest.mark.parametrize("name", PATTERNS)
def test_amplitudes_ask_for_the_domain_and_are_squared(scan, tmp_path, name, budget):
    options = {"survey": False, "memory_budget_gib": budget}
    path = save(scan, tmp_path / "scan.h5", name)
    rewrite(path, PATTERNS[name], lambda counts: counts)
    counts = load(path, LoadConfig(**options)).counts[:]
    rewrite(path, PATTERNS[name], np.sqrt)
    with pytest.raises(InputError, match=r"squares are whole numbers.*--domain amplitude, or --domain counts"):
        load(path, LoadConfig(**options))
    squared = load(path, LoadConfig(domain="amplitude", **options))
    np.testing.assert_allclose(squared.counts[:], counts, rtol=1e-6)
    same = load(path, LoadConfig(domain="counts", **options))
    np.testing.assert_array_equal(same.counts[:], np.sqrt(scan.counts))


def test_amplitudes_are_not_negative(scan, tmp_path):
    path = rewrite(save(scan, tmp_path / "scan.cxi", "cxi"), DATA, lambda counts: -np.sqrt(counts))
    with pytest.raises(InputError, match=r"found an amplitude of -\d.*expected non-negative amplitudes"):
        load(path, LoadConfig(domain="amplitude"))


@given(st.floats(1, 3), st.floats(-2, 2), st.floats(-2, 2), st.sampled_from([16, 24, 32]))
def test_a_beam_is_in_the_corner_after_a_roll_and_not_before(width, shift_y, shift_x, size):
    y, x = np.ogrid[-size // 2 : size // 2, -size // 2 : size // 2]
    beam = np.exp(-((y - shift_y * size / 32) ** 2 + (x - shift_x * size / 32) ** 2) / (width * size / 16) ** 2)
    assert not is_corner_centred(beam)
    if max(abs(shift_y), abs(shift_x)) < width / 2:
        assert is_corner_centred(np.fft.ifftshift(beam))


@pytest.mark.parametrize("budget", [1.0, 1e-9])
@pytest.mark.parametrize("crop", [None, 8])
@pytest.mark.parametrize("name", [*PATTERNS, "npz"])
def test_patterns_with_the_zero_frequency_in_the_corner_are_rolled(scan, tmp_path, name, crop, budget):
    options = {"survey": False, "memory_budget_gib": budget, "crop_px": crop, "calibration": "none"}
    path = tmp_path / ("scan.npz" if name == "npz" else "scan.h5")
    expected = load(save(scan, path, name), LoadConfig(**options))
    corner = ScanData(
        **{
            **{field: getattr(scan, field) for field in scan.__dataclass_fields__},
            "counts": np.fft.ifftshift(scan.counts, axes=(1, 2)),
            "mask": np.fft.ifftshift(scan.mask),
        }
    )
    save(corner, path, name)
    rolled = load(path, LoadConfig(centre_px=(0, 0), **options))
    np.testing.assert_array_equal(rolled.counts[:], expected.counts[:])
    np.testing.assert_array_equal(rolled.counts[np.array([7, 2])], expected.counts[:][[7, 2]])
    np.testing.assert_array_equal(rolled.mask, expected.mask)
    np.testing.assert_array_equal(rolled.positions_px, expected.positions_px)
    assert rolled.pixel_size_m == expected.pixel_size_m
    if crop is None:
        with pytest.warns(UserWarning, match=r"brightest at all four corners: --centre-px \[0,0\]"):
            assert load(path, LoadConfig(**options)).provenance["doubts"]
