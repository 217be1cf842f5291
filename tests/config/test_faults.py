"""Laws of the list of faults: what is written is read back, and anything else is refused by name."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.config.faults import AFFINE_BOUNDS, BOUNDS, Faults, format_fault, parse_faults
from ptypinn.config.simulate import SimulateConfig
from ptypinn.errors import InputError

NAMES = [field.name for field in dataclasses.fields(Faults)]
LENGTHS = {"affine": 4, "coherence": 3, "beam_offset": 2, "ramp": 2}


@given(data=st.data(), name=st.sampled_from(NAMES), dashes=st.booleans())
def test_a_fault_is_read_as_it_is_written(data, name, dashes):
    low, high = (-3, 3) if name == "affine" else BOUNDS[name]
    numbers = [data.draw(st.integers(max(int(low), 1), int(min(high, 500)) or 1)) for _ in range(LENGTHS.get(name, 1))]
    numbers = [1, 2, 3, 1] if name == "affine" else [min(number, high) for number in numbers]
    size = tuple(map(float, numbers)) if name in LENGTHS else numbers[0]
    text = format_fault(name, size)
    faults = parse_faults([text if dashes else text.replace("-", "_", name.count("_"))])
    assert getattr(faults, name) == size
    assert set(faults.listed()) == ({name} if size != getattr(Faults(), name) else set())


def test_every_fault_has_bounds_and_a_sentence():
    assert set(BOUNDS) | {"affine"} == set(NAMES) and len(AFFINE_BOUNDS) == 4


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (["warp:3"], ["'warp:3'", "positions", "flux-drift"]),
        (["drift"], ["'drift'", "drift:SIZE"]),
        (["drift:far"], ["'drift:far'", "number"]),
        (["drift:1:2"], ["'drift:1:2'", "drift:SIZE"]),
        (["drift:nan"], ["number"]),
        (["drift:-1"], ["from 0 to"]),
        (["drift:1", "drift:2"], ["drift twice"]),
        (["beam-offset:3"], ["beam-offset:SIZE:SIZE"]),
        (["affine:4:2:3:0.02:1"], ["affine:SIZE:SIZE:SIZE:SIZE"]),
        (["affine:1:0:0:0"], ["from 0.1 to 10"]),
        (["hot-pixels:1.5"], ["whole number"]),
        (["saturation:0"], ["at least 1"]),
        ([""], ["''"]),
    ],
)
def test_anything_else_is_refused_with_a_reason(entries, words):
    with pytest.raises(InputError) as caught:
        parse_faults(entries)
    assert str(caught.value).startswith("--faults: found ")
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize(
    ("faults", "options", "word"),
    [
        ("positions:1", {"position_error_px": 1.0}, "--position-error-px"),
        ("coherence:0.7:0.3", {"mode_fractions": (0.5, 0.5)}, "--mode-fractions"),
        ("saturation:10", {"saturation": 20.0}, "--saturation"),
        ("probe-guess:0.1", {"probe": "disk"}, "--probe zone_plate"),
        ("hot-pixels:4096", {}, "fewer than 4096"),
    ],
)
def test_a_fault_and_an_option_of_the_same_kind_exclude_each_other(faults, options, word):
    with pytest.raises(InputError, match=word):
        SimulateConfig(faults=(faults,), **options)


def test_a_list_a_mapping_and_a_single_fault_are_the_same():
    assert SimulateConfig(faults=["drift:3"]) == SimulateConfig(faults=("drift:3",)) == SimulateConfig(faults="drift:3")
    assert SimulateConfig(faults={"drift": 3, "beam_offset": [1, -2.5]}).fault_sizes.beam_offset == (1.0, -2.5)
    with pytest.raises(InputError, match="number"):
        SimulateConfig(faults={"drift": None})
