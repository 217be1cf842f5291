"""Plain values survive JSON."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.utils.plain_values import to_plain

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
NESTED = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text(), inner), max_leaves=12
)


@dataclass
class Example:
    path: Path
    pair: tuple[float, int]


@given(NESTED)
def test_plain_values_pass_strict_json_and_stay_as_they_are(value):
    plain = to_plain(value)
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert to_plain(plain) == plain


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array([1.0, np.inf]), [1.0, None]),
        (torch.tensor(2.0), 2.0),
        (float("nan"), None),
        (Example(Path("a/b"), (1.5, 2)), {"path": "a/b", "pair": [1.5, 2]}),
    ],
)
def test_numbers_of_every_kind_become_plain(value, expected):
    assert to_plain(value) == expected


def test_what_has_no_plain_form_is_refused():
    with pytest.raises(TypeError, match="object"):
        to_plain(object())
