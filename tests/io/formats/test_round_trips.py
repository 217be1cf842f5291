"""What is written comes back, to the last bit that the format can carry."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptypinn.config.load import LoadConfig
from ptypinn.errors import InputError
from ptypinn.io.format import fields_of
from ptypinn.io.load_save import FORMATS, holds_scan, save
from ptypinn.stages.convert import list_lost_fields

EXACT = {"native", "npz"}
"""Formats with places for positions in pixels and for the object pixel; the others hold metres."""
TRUTH = {"cxi": "entry_1/image_1/data", "ptychodus": "object", "npz": "objectGuess"}
"""How the object is asked for."""
WRITERS = sorted(name for name, candidate in FORMATS.items() if candidate.write and candidate.read)
RECON_WRITERS = sorted(
    name for name, candidate in FORMATS.items() if candidate.write_reconstruction and candidate.read_reconstruction
)
NUMBERS = ("energy_eV", "detector_distance_m", "detector_pixel_m", "pixel_size_m")
ULPS = {"rtol": 8 * np.finfo(float).eps, "atol": 1e-12}


def same_bits(a, b):
    if a is None or b is None:
        return a is b
    a, b = np.asarray(a[:]), np.asarray(b[:])
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def back(scan, folder, name, **options):
    path = save(scan, folder / f"scan{FORMATS[name].suffixes[0]}", name)
    config = LoadConfig(truth=TRUTH.get(name, ""), **options)
    assert FORMATS[name].recognises(path)
    return FORMATS[name].read(path, config)


scans = {
    "n": st.integers(1, 9),
    "size": st.sampled_from([8, 10, 16]),
    "dtype": st.sampled_from(["uint8", "uint16", "uint32", "int32", "int64", "float32", "float64"]),
    "modes": st.integers(1, 3),
    "gauge": st.sampled_from(["relative", "calibrated"]),
    "lazy": st.booleans(),
    "seed": st.integers(0, 1000),
}


@pytest.mark.parametrize("name", WRITERS)
@given(**scans)
def test_a_scan_comes_back(make_scan, tmp_path_factory, name, n, size, dtype, modes, gauge, lazy, seed):
    scan = make_scan(n, size, dtype, modes, seed, probe_gauge=gauge)
    holds = FORMATS[name].fields
    other = back(scan, tmp_path_factory.mktemp(name), name, memory_budget_gib=1e-9 if lazy else 4096.0)
    assert same_bits(other.counts, scan.counts)
    assert same_bits(other.mask, scan.mask)
    if "probe" in holds:
        assert same_bits(other.probe, scan.probe)
        assert other.probe_gauge == gauge
    if "object" in holds:
        assert same_bits(other.truth, scan.truth)
    if name in EXACT:
        assert same_bits(other.positions_px, scan.positions_px)
        assert [getattr(other, number) for number in NUMBERS] == [getattr(scan, number) for number in NUMBERS]
    np.testing.assert_allclose(other.positions_px, scan.positions_px, **ULPS)
    for number in NUMBERS:
        np.testing.assert_allclose(getattr(other, number), getattr(scan, number), rtol=8e-16)


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=8)
@given(seed=st.integers(0, 1000))
def test_a_second_round_changes_nothing(make_scan, tmp_path_factory, name, seed):
    """Metres stay what they are to the last rounding; arrays stay to the bit."""
    folder = tmp_path_factory.mktemp(name)
    once = back(make_scan(seed=seed), folder, name)
    twice = back(once, folder, name)
    np.testing.assert_allclose(
        twice.positions_px * twice.pixel_size_m, once.positions_px * once.pixel_size_m, rtol=3e-16, atol=1e-22
    )
    assert same_bits(twice.counts, once.counts)
    assert same_bits(twice.probe, once.probe)


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=12)
@given(missing=st.sets(st.sampled_from(["probe", "truth", "mask", *NUMBERS])), seed=st.integers(0, 1000))
def test_what_is_not_there_stays_away_or_is_asked_for(make_scan, tmp_path_factory, name, missing, seed):
    scan = make_scan(seed=seed, **dict.fromkeys(missing))
    needed = [field for field in FORMATS[name].required if field not in fields_of(scan)]
    if needed:
        with pytest.raises(InputError, match="--"):
            save(scan, tmp_path_factory.mktemp(name) / "scan.h5", name)
        return
    path = save(scan, tmp_path_factory.mktemp(name) / f"scan{FORMATS[name].suffixes[0]}", name)
    other = FORMATS[name].read(path, LoadConfig())
    assert (other.probe is None) == (scan.probe is None or "probe" not in FORMATS[name].fields)
    assert other.truth is None or name == "native"
    assert same_bits(other.mask, scan.mask)
    for number in ("energy_eV", "detector_distance_m", "detector_pixel_m"):
        assert (getattr(other, number) is None) == (getattr(scan, number) is None), number


@pytest.mark.parametrize("name", RECON_WRITERS)
@settings(max_examples=8)
@given(n=st.integers(1, 9), size=st.sampled_from([8, 10]), modes=st.integers(1, 3), seed=st.integers(0, 1000))
def test_a_reconstruction_comes_back(make_recon, tmp_path_factory, name, n, size, modes, seed):
    recon = make_recon(n, size, modes, seed)
    folder = tmp_path_factory.mktemp(name)
    for suffix in FORMATS[name].suffixes:
        path = save(recon, folder / f"recon{suffix}", name)
        assert FORMATS[name].recognises(path)
        assert not holds_scan(path)
        other = FORMATS[name].read_reconstruction(path, LoadConfig())
        assert same_bits(other.object, recon.object)
        assert same_bits(other.probe, recon.probe)
        np.testing.assert_allclose(other.pixel_size_m, recon.pixel_size_m, rtol=0 if name in EXACT else 4e-16)
        np.testing.assert_allclose(other.positions_px, recon.positions_px, **ULPS)
        assert ("illumination" in FORMATS[name].fields) == same_bits(other.illumination, recon.illumination)


@pytest.mark.parametrize("name", WRITERS)
def test_the_declaration_says_what_is_lost(make_scan, tmp_path, name):
    scan = make_scan()
    lost = list_lost_fields(scan, name)
    assert ("probe" in lost) == (back(scan, tmp_path, name).probe is None)
    assert ("object" in lost) == (back(scan, tmp_path, name).truth is None)
    assert not any("pixel" in word for word in lost)
    elsewhere = list_lost_fields(make_scan(pixel_size_m=1e-9), name)
    assert any("pixel" in word for word in elsewhere) == ("pixel_size_m" not in FORMATS[name].fields)
