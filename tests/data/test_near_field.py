"""Geometry of near-field scans: pixels of the shadow, the focus that its motion shows, and what lacks for it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from near_field_scans import FOCUS_M, PROJECTION, SIZE, make_near_field_scan
from ptypinn import LoadConfig, info, load, save
from ptypinn.data.near_field import GEOMETRY, Projection, describe_geometry, resolve_geometry, to_near_field
from ptypinn.data.pattern_form import require_far_field
from ptypinn.errors import InputError


@pytest.fixture(scope="module")
def made():
    return make_near_field_scan()


@given(st.floats(1e-4, 1.0), st.floats(0.1, 10.0))
def test_a_shadow_is_magnified_as_rays_have_it_and_its_distance_shorter(focus_m, distance_m):
    projection = Projection(focus_m, distance_m, 55e-6, 1e-10)
    assert projection.magnification == pytest.approx((focus_m + distance_m) / focus_m)
    distance = projection.pixel_size_m**2 / projection.fresnel_number / 1e-10
    assert 1 / distance == pytest.approx(1 / focus_m + 1 / distance_m)  # as behind a lens
    parallel = Projection(float("inf"), distance_m, 55e-6, 1e-10)
    assert (parallel.magnification, parallel.pixel_size_m) == (1, 55e-6)


def test_positions_come_to_the_pixels_of_the_shadow(made):
    near = to_near_field(made.scan, FOCUS_M)
    np.testing.assert_allclose(near.positions_px, made.positions_px)
    assert near.pixel_size_m == pytest.approx(PROJECTION.pixel_size_m)
    again = to_near_field(to_near_field(near, 2 * FOCUS_M), FOCUS_M)
    np.testing.assert_allclose(again.positions_px, near.positions_px)
    assert again.fresnel_number == pytest.approx(near.fresnel_number)


def test_the_motion_of_the_patterns_shows_the_focus_and_info_names_it(made):
    near = resolve_geometry(made.scan)
    assert near.provenance[GEOMETRY]["focus_distance_m"] == pytest.approx(FOCUS_M, rel=0.1)
    assert "before the sample, magnified 2" in describe_geometry(near.fresnel_number, near.provenance)
    shown = info(made.scan)
    assert shown.scan.fresnel_number == near.fresnel_number
    assert not any("projection" in line for line in shown.warnings)


def test_options_of_reading_decide(made):
    def read(**options):
        return resolve_geometry(made.scan.replace(provenance={"options": options}))

    assert read(geometry="far-field").fresnel_number is None
    assert read(focus_distance_m=FOCUS_M).fresnel_number == pytest.approx(PROJECTION.fresnel_number)
    with pytest.raises(InputError, match="--focus-distance-m: found together with --geometry far-field"):
        LoadConfig(geometry="far-field", focus_distance_m=FOCUS_M)


@pytest.mark.parametrize("options", [{"geometry": "near-field"}, {"focus_distance_m": FOCUS_M}])
def test_stages_for_the_far_field_do_not_pass_over_a_geometry_that_is_given(made, options):
    with pytest.raises(InputError, match=r"geometry: found a near-field scan, expected .*`ptypinn reconstruct`"):
        require_far_field(made.scan.replace(provenance={"options": options}))


def test_a_file_that_states_its_near_field_is_no_far_field_whatever_the_options(made):
    near = to_near_field(made.scan, FOCUS_M).replace(provenance={"options": {"geometry": "far-field"}})
    with pytest.raises(InputError, match="found a near-field scan"):
        require_far_field(near)


@pytest.mark.parametrize(
    ("changes", "focus_m", "message"),
    [
        ({"energy_eV": None}, FOCUS_M, "photon energy: found none, expected one, .*--energy-eV"),
        ({"detector_pixel_m": None, "pixel_size_m": None}, FOCUS_M, "--detector-pixel-m, --pixel-size-m"),
        ({}, -1.0, "--focus-distance-m: found -1.0, expected a positive number"),
        ({"detector_pixel_m": 5e-7}, 1.0, r"geometry: found 0.5 m of propagation in 64 pixels .* at most 0.\d+ m"),
    ],
)
def test_what_lacks_or_cannot_be_sampled_is_named_in_one_line(made, changes, focus_m, message):
    with pytest.raises(InputError, match=message) as caught:
        to_near_field(made.scan.replace(**changes), focus_m)
    assert "\n" not in str(caught.value)


def test_a_near_field_that_nothing_shows_needs_its_distance(made):
    counts = np.random.default_rng(0).poisson(20.0, made.scan.counts.shape).astype(np.uint16)
    still = made.scan.replace(counts=counts, provenance={"options": {"geometry": "near-field"}})
    with pytest.raises(InputError, match="--focus-distance-m"):
        resolve_geometry(still)


def test_the_geometry_survives_our_own_files(made, tmp_path):
    near = to_near_field(made.scan, FOCUS_M)
    again = load(save(near, tmp_path / "scan.h5"), LoadConfig(survey=False))
    assert again.fresnel_number == near.fresnel_number
    assert resolve_geometry(again) is again
    with pytest.raises(InputError, match="fresnel_number"):
        replace(near, fresnel_number=-1.0)
    assert near.size == SIZE
