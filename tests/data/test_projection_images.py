"""Near field is told from far field by physics: refused where it is certain, never where patterns are far-field."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import rescale

from ptypinn.config.load import LoadConfig
from ptypinn.config.simulate import SimulateConfig
from ptypinn.data.pattern_form import ShadowMotion, measure_shadow, require_far_field
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.io.load_save import load
from ptypinn.stages.simulate import simulate

CURVED = {"probe": "zone_plate", "defocus_waves": 6.0}
FLAT = {"probe": "zone_plate", "defocus_waves": 0.01}
SMALL_CONE = {"probe": "zone_plate", "defocus_waves": 3.0, "pupil_radius": 0.15}
DISK = {"probe": "disk", "probe_diameter_px": 30.0}
GAUSSIAN = {"probe": "gaussian"}


def projection_scan(rate, sign, seed, size=64, n=60, photons=1e6):
    """A shadow of a random object that moves by `rate` detector pixels per object pixel, under a fixed beam."""
    rng = np.random.default_rng(seed)
    positions = rng.uniform(0, 40 / rate, (n, 2))
    shadow = np.clip(rescale(rng.random((60, 60)), 4, order=3), 0, 1)
    corners = np.round(positions * rate if sign > 0 else 40 - positions * rate).astype(int)
    grid = np.hypot(*np.meshgrid(np.arange(size) - 30, np.arange(size) - 33))
    beam = np.exp(-((grid / 22) ** 4))
    images = np.array([shadow[y : y + size, x : x + size] for y, x in corners]) * beam
    counts = rng.poisson(images * photons / images.sum((1, 2), keepdims=True))
    return ScanData(counts=counts.astype(np.uint16), positions_px=positions)


def test_the_real_projection_scan_is_refused_with_its_magnification(petra):
    scan = load(petra)
    shadow = measure_shadow(scan)
    assert shadow.magnification == pytest.approx(307.85, rel=0.02)
    with pytest.raises(InputError, match=r"PETRA.*near-field.*magnified 30\d times.*--geometry far-field") as caught:
        require_far_field(scan)
    assert "\n" not in str(caught.value)


def test_the_override_is_honoured(petra):
    require_far_field(load(petra, LoadConfig(geometry="far-field")))


def test_the_real_far_field_scan_passes(star):
    require_far_field(load(star))


@given(st.floats(0.05, 0.4), st.sampled_from([1, -1]), st.integers(0, 1000))
@settings(max_examples=10)
def test_shadows_too_large_for_the_far_field_are_refused(rate, sign, seed):
    scan = projection_scan(rate, sign, seed)
    shadow = measure_shadow(scan)
    assert shadow.detector_px_per_object_px == pytest.approx(rate, rel=0.15)
    with pytest.raises(InputError):
        require_far_field(scan)


@given(
    st.sampled_from(["lines", "dead_leaves", "grf", "siemens"]),
    st.sampled_from([CURVED, FLAT, SMALL_CONE, DISK, GAUSSIAN]),
    st.sampled_from(["raster", "jittered_raster", "fermat", "uniform"]),
    st.sampled_from([1e3, 1e6]),
    st.integers(0, 1000),
)
def test_simulated_far_field_scans_pass(kind, probe, scan, photons, seed):
    config = SimulateConfig(
        object=kind, scan=scan, photons=photons, seed=seed, n_patterns=60, object_size=(160, 160), **probe
    )
    require_far_field(simulate(config).replace(provenance={}))


@given(
    st.integers(1, 12),
    st.sampled_from([CURVED, FLAT, DISK, GAUSSIAN]),
    st.sampled_from(["raster", "fermat", "uniform"]),
    st.sampled_from([1e3, 1e6, 1e9]),
    st.integers(0, 1000),
)
@settings(max_examples=60)
def test_a_few_far_field_patterns_pass(n, probe, scan, photons, seed):
    config = SimulateConfig(scan=scan, photons=photons, seed=seed, n_patterns=n, object_size=(100, 100), **probe)
    require_far_field(simulate(config).replace(provenance={}))


@given(st.integers(2, 8), st.integers(0, 1000))
def test_too_few_shadows_say_nothing(n, seed):
    assert not measure_shadow(projection_scan(0.2, 1, seed, n=n)).is_projection


def test_sixteen_shadows_say_enough():
    refused = [measure_shadow(projection_scan(0.2, 1, seed, n=16)).is_projection for seed in range(20)]
    assert np.mean(refused) > 0.5


def test_what_the_package_simulates_is_far_field_by_construction():
    scan = projection_scan(0.2, 1, seed=0)
    with pytest.raises(InputError, match="near-field"):
        require_far_field(scan)
    require_far_field(scan.replace(provenance={"source": "simulation"}))
    assert not measure_shadow(scan.replace(provenance={"source": "simulation"})).is_projection


@given(st.integers(3, 30), st.integers(0, 1000))
def test_the_chance_is_how_often_unrelated_motion_agrees_as_well(n, seed):
    draw = np.random.default_rng(seed)
    steps = draw.normal(size=(n, 2))
    moved = draw.normal(size=(2000, n, 2))
    stored = np.linalg.qr(steps)[0]
    shares = np.square(np.swapaxes(stored, 0, 1) @ moved).sum((1, 2)) / np.square(moved).sum((1, 2))
    level = float(np.quantile(shares, 0.9))
    assert ShadowMotion(0.1, level, 500.0, 64, None, steps=n).chance == pytest.approx(0.1, abs=0.03)


def test_one_pattern_says_nothing(make_scan):
    require_far_field(make_scan(n=1))


def test_a_scan_without_light_says_nothing(make_scan):
    dark = make_scan(n=30, counts=np.zeros((30, 8, 8), np.uint16))
    assert not measure_shadow(dark).is_projection
