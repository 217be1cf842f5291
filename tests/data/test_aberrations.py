"""The pupil of a probe shows the aberrations of its lens."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ptypinn as pp
from ptypinn.data.aberrations import TERMS, fit_aberrations, measure_aberrations
from ptypinn.io.provenance import optics_record
from ptypinn.report.text.scan import recon_dict, recon_lines

SIZE, PIXEL_M, WAVELENGTH_M, RADIUS_PX = 96, 0.25e-10, 2.508e-12, 24.0
SEMI_ANGLE = RADIUS_PX * WAVELENGTH_M / (SIZE * PIXEL_M)


def lens_probe(waves, directions=(0.0, 0.0, 0.0), centre=(0.0, 0.0), noise=0.0, seed=0):
    """A probe by the definition of its aberrations, each given in waves at the rim; noise relative to the pupil."""
    angles = (np.arange(SIZE) - SIZE // 2) / RADIUS_PX
    y, x = np.meshgrid(angles - centre[0] / RADIUS_PX, angles - centre[1] / RADIUS_PX, indexing="ij")
    radius, direction = np.hypot(y, x), np.arctan2(y, x)
    chi = np.zeros_like(radius)
    turns = iter(directions)
    for (power, symmetry), size in zip(TERMS.values(), waves, strict=True):
        shift = next(turns) if symmetry else 0.0
        chi += size * radius**power * np.cos(symmetry * (direction - shift))
    pupil = (radius <= 1) * np.exp(-2j * np.pi * chi)
    rng = np.random.default_rng(seed)
    pupil += noise * (rng.normal(size=pupil.shape) + 1j * rng.normal(size=pupil.shape)) * (radius <= 1)
    return np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(pupil))).astype(np.complex64)


def metres(name, waves):
    """A coefficient from its waves at the rim."""
    power = TERMS[name][0]
    return waves * power * WAVELENGTH_M / SEMI_ANGLE**power


@given(
    waves=st.tuples(*(st.floats(-high, high) for high in (4, 0.6, 0.5, 0.5, 0.6))),
    directions=st.tuples(*[st.floats(-1.0, 1.0)] * 3),
    centre=st.tuples(st.floats(-1.5, 1.5), st.floats(-1.5, 1.5)),
)
def test_every_coefficient_comes_out(waves, directions, centre):
    lens = fit_aberrations(lens_probe(waves, directions, centre), PIXEL_M, WAVELENGTH_M)
    assert lens.semi_angle_rad == pytest.approx(SEMI_ANGLE, rel=0.015)
    turns = iter(directions)
    for (name, term), size in zip(lens.terms.items(), waves, strict=True):
        symmetry, rim = TERMS[name][1], metres(name, 1.0)
        if not symmetry:
            assert term.size_m == pytest.approx(metres(name, size), abs=0.05 * rim)
            continue
        turn = next(turns)
        expected = size * rim * np.exp(1j * symmetry * turn)
        assert abs(term.size_m * np.exp(1j * symmetry * term.direction_rad) - expected) < 0.05 * rim


def test_the_error_is_that_of_the_noise():
    fits = [fit_aberrations(lens_probe((2, 0, 0, 0, 0.3), noise=0.1, seed=s), PIXEL_M, WAVELENGTH_M) for s in range(30)]
    for name in ("C10", "C30"):
        scatter = np.std([fit.terms[name].size_m for fit in fits])
        stated = np.mean([fit.terms[name].error_m for fit in fits])
        assert 0.5 < scatter / stated < 2


def test_probes_that_no_round_lens_made_have_none():
    axis = np.arange(SIZE) - SIZE // 2
    gaussian = np.exp(-(axis[:, None] ** 2 + axis**2) / 50).astype(np.complex64)
    noise = np.random.default_rng(0).normal(size=(SIZE, SIZE)).astype(np.complex64)
    pupil = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(lens_probe((1, 0, 0, 0, 0)))))
    random = np.abs(pupil) * np.exp(2j * np.pi * np.random.default_rng(1).random(pupil.shape))
    scrambled = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(random))).astype(np.complex64)
    for probe in (gaussian, noise, scrambled, np.zeros((SIZE, SIZE), np.complex64)):
        assert fit_aberrations(probe, PIXEL_M, WAVELENGTH_M) is None


def test_a_probe_that_its_array_cuts_off_states_none(recon):
    wide = np.roll(recon.probe, 24, 1)
    electrons = {"energy_eV": 300e3, "particle": "electron"}
    assert measure_aberrations(dataclasses.replace(recon, probe=wide), electrons) is None


@pytest.fixture(scope="module")
def recon(tmp_path_factory):
    """A reconstruction of an electron scan whose file holds no probe."""
    waves, size, radius = 2.0, 48, 10.0
    axis = np.fft.fftfreq(size) * size / radius
    r = np.hypot(axis[:, None], axis)
    path = tmp_path_factory.mktemp("lens") / "probe.npy"
    np.save(
        path, np.fft.fftshift(np.fft.ifft2((r <= 1) * np.exp(-2j * np.pi * waves * r**2))).astype(np.complex64)[None]
    )
    sample = {
        "object": "dead_leaves",
        "phase_range": (0.0, 0.5),
        "amplitude_range": (1.0, 1.0),
        "object_size": (100, 100),
    }
    scan = pp.simulate(
        pp.SimulateConfig(probe="file", probe_file=str(path), photons=1e5, overlap=0.8, size=48, **sample)
    )
    scan = scan.replace(particle="electron", energy_eV=300e3, pixel_size_m=0.4e-10, probe=None)
    scan = scan.replace(detector_distance_m=None, detector_pixel_m=None)
    return pp.reconstruct(scan, config=pp.ReconstructConfig(threads=1, device="cpu", assume="ideal"))


def test_a_reconstruction_shows_the_lens_of_its_probe(recon):
    assert optics_record(recon)["particle"] == "electron"
    lens = measure_aberrations(recon, optics_record(recon))
    angle = 10 * 1.9687e-12 / (48 * 0.4e-10)
    assert lens.semi_angle_rad == pytest.approx(angle, rel=0.02)
    assert lens.terms["C10"].size_m == pytest.approx(2 * 2.0 * 1.9687e-12 / angle**2, rel=0.03)
    text = "\n".join(recon_lines(recon))
    assert "Lens" in text and "downstream of the focus" in text and "mrad" in text
    assert recon_dict(recon)["lens"]["C10_m"] == lens.terms["C10"].size_m
    assert math.isfinite(recon_dict(recon)["lens"]["semi_angle_mrad"])


def test_without_energy_or_pixel_nothing_is_stated(recon):
    electrons = {"energy_eV": 300e3, "particle": "electron"}
    assert measure_aberrations(recon, electrons) is not None
    for optics in ({}, {"energy_eV": 300e3}, {**electrons, "energy_eV": "abc"}, {**electrons, "particle": ["a"]}):
        assert measure_aberrations(recon, optics) is None
    odd = dataclasses.replace(recon, provenance={"optics": {"energy_eV": "abc", "particle": ["a"]}})
    assert "photons" in "\n".join(recon_lines(odd))
    assert (
        recon_dict(pp.Reconstruction(recon.object, recon.illumination, recon.probe, recon.positions_px))["lens"] is None
    )
