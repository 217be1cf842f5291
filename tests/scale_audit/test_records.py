"""Records of photons are read from simulations and calibrations; other values are no record."""

import numpy as np
import pytest

from ptypinn.data.calibration import calibrate_probe
from ptypinn.data.scan import ScanData
from ptypinn.scale_audit.count_checks import read_photon_record

SIMULATED = {"photons_probe": 1e6, "photons_expected": 4e5}
NO_PHOTONS = [None, "x", "1e6", True, 0, -1.0, float("nan"), float("inf"), 10**400, [1e6], {"photons": 1e6}]


def scan(**provenance):
    probe = np.full((1, 8, 8), 1.0, np.complex64)
    positions = np.arange(8.0).reshape(4, 2)
    return ScanData(counts=np.ones((4, 8, 8)), positions_px=positions, probe=probe, provenance=provenance)


def test_a_simulation_states_photons_with_and_without_sample():
    record = read_photon_record(scan(**SIMULATED))
    assert (record.probe_photons, record.pattern_photons, record.probe_change) == (1e6, 4e5, None)
    assert "simulation" in record.source


def test_a_calibration_states_photons_without_sample():
    record = read_photon_record(calibrate_probe(scan(), photons=3e5))
    assert (record.probe_photons, record.pattern_photons, record.probe_change) == (3e5, None, None)
    assert "rule: given" in record.source


@pytest.mark.parametrize("value", NO_PHOTONS, ids=lambda value: repr(value)[:12])
def test_a_value_that_is_no_positive_number_is_no_record(value):
    calibration = {"rule": "mean", "photons": 3e5}
    assert read_photon_record(scan(photons_probe=value)).probe_photons is None
    assert read_photon_record(scan(photons_probe=value, probe_calibration=calibration)).probe_photons == 3e5
    assert read_photon_record(scan(photons_probe=1e6, photons_expected=value)).pattern_photons is None
    assert read_photon_record(scan(probe_calibration={"photons": value})).probe_photons is None
    spoilt = read_photon_record(scan(**SIMULATED, probe_calibration={"photons": value}))
    assert (spoilt.probe_photons, spoilt.probe_change) == (1e6, None)


@pytest.mark.parametrize("value", [None, "x", 5, [1, 2]])
def test_a_calibration_that_is_no_mapping_is_no_record(value):
    assert read_photon_record(scan(probe_calibration=value)).probe_photons is None


def test_photons_given_to_a_simulated_probe_are_reported_and_the_simulation_stays_the_expectation():
    record = read_photon_record(calibrate_probe(scan(**SIMULATED), photons=3e5))
    assert (record.probe_photons, record.pattern_photons) == (1e6, 4e5)
    assert record.probe_change == "the probe's photons were given: 3e+05 (rule: given); the simulation recorded 1e+06"
    assert "rule: mean" in read_photon_record(calibrate_probe(scan(**SIMULATED))).probe_change
    assert read_photon_record(calibrate_probe(scan(**SIMULATED), photons=1e6)).probe_change is None
