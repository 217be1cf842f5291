"""The probe of a lens has its aperture and its aberrations, and spreads out of focus as rays do."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import ptypinn as pp
from ptypinn.data.aberrations import fit_aberrations
from ptypinn.errors import InputError
from ptypinn.physics.lens import Lens, lens_probe
from ptypinn.physics.optics import compute_wavelength
from ptypinn.physics.propagation import free_space

SIZE, PIXEL_M, SEMI_ANGLE = 96, 0.25e-10, 20e-3
WAVELENGTH_M = compute_wavelength(200e3, "electron")


def probe_of(**aberrations):
    return lens_probe(SIZE, Lens(SEMI_ANGLE, **aberrations), PIXEL_M, WAVELENGTH_M, 1e4)


@given(c10=st.floats(-15e-9, 15e-9), c12=st.floats(0, 3e-9), c30=st.floats(-2e-6, 2e-6))
def test_aberrations_come_back_from_the_pupil(c10, c12, c30):
    probe = probe_of(c10_m=c10, c12_m=c12, c30_m=c30)
    assert float((probe.abs() ** 2).sum()) == pytest.approx(1e4, rel=1e-5)
    lens = fit_aberrations(probe[0].to(torch.complex64).numpy(), PIXEL_M, WAVELENGTH_M)
    assert lens.semi_angle_rad == pytest.approx(SEMI_ANGLE, rel=0.02)
    assert lens.terms["C10"].size_m == pytest.approx(c10, abs=0.4e-9)
    assert lens.terms["C12"].size_m == pytest.approx(c12, abs=0.2e-9)
    assert lens.terms["C30"].size_m == pytest.approx(c30, abs=1e-6)


def test_a_focus_that_has_gone_on_is_one_out_of_focus():
    """Free space after the focus does what a positive C10 says."""
    distance = 8e-9
    number = PIXEL_M**2 / (WAVELENGTH_M * distance)
    field = free_space(SIZE, number)
    focus = probe_of()[0]
    went_on = torch.fft.ifft2(torch.fft.fft2(focus) * torch.as_tensor(field).to(focus.dtype))
    ours = probe_of(c10_m=distance)[0]
    overlap = (went_on * ours.conj()).sum().abs() / (went_on.abs().square().sum() * ours.abs().square().sum()).sqrt()
    assert float(overlap) > 0.995


def test_a_simulated_scan_is_one_of_electrons_with_that_lens():
    optics = {"particle": "electron", "energy_eV": 300e3, "detector_distance_m": 0.1, "probe": "lens"}
    lens = {"convergence_mrad": 9.0, "defocus_m": 50e-9, "astigmatism_m": 4e-9}
    scan = pp.simulate(pp.SimulateConfig(**optics, **lens, object_size=(96, 96), n_patterns=9, photons=1e4))
    assert scan.particle == "electron"
    assert scan.wavelength_m == pytest.approx(1.9687e-12, rel=1e-4)
    assert scan.pixel_size_m == pytest.approx(scan.wavelength_m * 0.1 / (64 * 75e-6))
    shown = fit_aberrations(scan.probe[0], scan.pixel_size_m, scan.wavelength_m)
    assert shown.terms["C10"].size_m == pytest.approx(50e-9, rel=0.02)
    assert shown.terms["C12"].size_m == pytest.approx(4e-9, rel=0.1)
    assert np.sum(np.abs(scan.probe) ** 2) == pytest.approx(1e4, rel=1e-5)


def test_a_cone_wider_than_the_detector_is_refused_with_the_limit():
    with pytest.raises(
        InputError,
        match=r"--convergence-mrad: found 9\.0, expected less than 2.4, the detector's half-width; a shorter",
    ):
        pp.simulate(pp.SimulateConfig(particle="electron", energy_eV=300e3, probe="lens"))
    with pytest.raises(InputError, match="--probe: found lens together with --focus-distance-m"):
        pp.SimulateConfig(probe="lens", focus_distance_m=5e-3)
    with pytest.raises(InputError, match="--defocus-m: found 1e-08, expected --probe lens as well"):
        pp.SimulateConfig(defocus_m=1e-8)
