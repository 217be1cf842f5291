"""Laws of input scaling."""

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.scale import IntensityScaler, LedgerEntry, compute_input_scale


@given(st.floats(1.0, 1e10), st.sampled_from([32, 64, 128, 256]))
def test_input_has_the_energy_of_the_definition(energy, size):
    counts = torch.rand((5, size, size), dtype=torch.float64)
    counts *= energy / counts.sum((1, 2)).mean()
    x = IntensityScaler(compute_input_scale(energy, size)).double().to_input(counts)
    assert x.square().sum((1, 2)).mean().item() == pytest.approx((size / 2) ** 2, rel=1e-5)


@given(st.floats(1e-3, 1e5), st.floats(-1.0, 1.0))
def test_scaler_is_symmetric_whatever_it_has_learned(scale, drift):
    scaler = IntensityScaler(scale, trainable=True)
    with torch.no_grad():
        scaler.log_scale += drift
    counts = torch.rand(2, 8, 8) * 1e5
    torch.testing.assert_close(scaler.to_counts(scaler.to_input(counts).square()), counts)
    assert scaler.drift == pytest.approx(math.exp(drift), rel=1e-5)


def test_scaler_learns_only_on_request():
    assert not IntensityScaler(2.0).log_scale.requires_grad
    assert IntensityScaler(2.0, trainable=True).log_scale.requires_grad


def test_ledger_entry_is_plain_json_with_its_discrepancy():
    entry = LedgerEntry("stitching", 2.0, 1.0, "rms").as_json()
    assert json.loads(json.dumps(entry, allow_nan=False))["discrepancy"] == 0.5
    assert LedgerEntry("stitching", 0.0, 1.0, "rms").as_json()["discrepancy"] is None
