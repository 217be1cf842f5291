"""Laws of simulated probes: power, place, extent, the optics that made them."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.physics.optics import equivalent_diameter, power_at_edge, probe_photons
from ptypinn.physics.probes import (
    ZonePlate,
    compute_pupil_radius,
    defocus_to_distance,
    defocus_to_waves,
    disk_probe,
    gaussian_probe,
    incoherent_modes,
    zone_plate_probe,
    zone_plate_pupil,
)
from ptypinn.physics.propagation import far_field, to_centred

BUILDERS = {
    "disk": lambda photons: disk_probe(64, 12.0, photons),
    "gaussian": lambda photons: gaussian_probe(64, 14.0, photons),
    "zone_plate": lambda photons: zone_plate_probe(64, ZonePlate(), photons),
    "focus": lambda photons: zone_plate_probe(64, ZonePlate(defocus_waves=0.0), photons),
    "astigmatic": lambda photons: zone_plate_probe(64, ZonePlate(astigmatism_waves=0.3, osa_radius=0.9), photons),
}
PROBES = pytest.mark.parametrize("kind", sorted(BUILDERS))


def radius_from_centre(size):
    axis = torch.arange(size) - size // 2
    return torch.hypot(axis[:, None].double(), axis[None].double())


@PROBES
@pytest.mark.parametrize("photons", [1.0, 1e2, 1e6, 1e10])
def test_every_probe_carries_the_photons_asked_for(kind, photons):
    assert float(probe_photons(BUILDERS[kind](photons))) == pytest.approx(photons, rel=1e-6)


@PROBES
def test_every_probe_is_centred_and_fits_its_array_and_the_detector(kind):
    probe = BUILDERS[kind](1.0)
    intensity = probe[0].abs().square()
    axis = torch.arange(64) - 32.0
    assert abs((intensity.sum(1) * axis).sum()) < 0.05
    assert abs((intensity.sum(0) * axis).sum()) < 0.05
    assert power_at_edge(probe) < 1.2e-3
    assert power_at_edge(to_centred(far_field(probe)), 4) < 1e-4


def test_disk_and_gaussian_are_real_and_symmetric():
    for probe in (disk_probe(32, 8.0), gaussian_probe(32, 6.0)):
        assert not probe.imag.any()
        inner = probe[0, 1:, 1:]
        torch.testing.assert_close(inner, inner.flip(0, 1))
        torch.testing.assert_close(inner, inner.T)


def test_equivalent_diameter_of_a_disk_is_its_diameter_and_a_gaussian_has_its_width():
    assert equivalent_diameter(disk_probe(64, 12.0, edge=0.3)) == pytest.approx(24.0, rel=0.02)
    intensity = gaussian_probe(64, 14.0)[0].abs().square()
    assert intensity[32, 39] == pytest.approx(float(intensity[32, 32]) / 2, rel=1e-3)


def test_the_far_field_of_a_zone_plate_shows_its_pupil_with_the_shadow_of_the_stop():
    pattern = to_centred(far_field(zone_plate_probe(128, ZonePlate(pupil_radius=0.4, central_stop=0.5)))).abs()[0] ** 2
    ring = radius_from_centre(128) / (64 * 0.4)
    cone = pattern[(ring > 0.6) & (ring < 0.9)].mean()
    assert pattern[ring < 0.35].mean() < 0.02 * cone
    assert pattern[ring > 1.15].mean() < 0.002 * cone
    assert pattern[(ring > 0.6) & (ring < 0.9)].std() < 0.2 * cone


@pytest.mark.parametrize(("waves", "radius"), [(1.0, 0.7), (-1.5, 0.6)])
def test_defocus_spreads_the_rim_by_the_slope_of_its_phase(waves, radius):
    def mean_square(defocus):
        optics = ZonePlate(pupil_radius=0.4, central_stop=radius, defocus_waves=defocus)
        intensity = zone_plate_probe(128, optics)[0].abs().square().double()
        return float((intensity * radius_from_centre(128).square()).sum())

    # The mean square of the slope (1 / 2 pi) d(phase)/dq, which is 2 waves / q at the rim q = 0.4 / 2, adds to that of
    # the focus.
    ring = (1 + radius**2) / 2 * (2 * waves / (0.4 / 2)) ** 2
    assert mean_square(waves) - mean_square(0.0) == pytest.approx(ring, rel=0.05)


def test_opposite_defocus_gives_the_conjugate_twin():
    over, under = (zone_plate_probe(64, ZonePlate(defocus_waves=waves)) for waves in (0.8, -0.8))
    torch.testing.assert_close(over.abs(), under.abs(), atol=1e-5, rtol=1e-4)
    turned = torch.roll(over.flip(1, 2), (1, 1), (1, 2))
    torch.testing.assert_close(under[:, 1:, 1:], turned.conj()[:, 1:, 1:], atol=1e-5, rtol=1e-4)


def test_astigmatism_lengthens_the_probe_along_its_angle():
    def widths(angle):
        optics = ZonePlate(astigmatism_waves=0.4, astigmatism_angle_rad=angle)
        intensity, axis = zone_plate_probe(64, optics)[0].abs().square(), torch.arange(64) - 32.0
        return float((intensity.sum(1) * axis**2).sum()), float((intensity.sum(0) * axis**2).sum())

    along_x, along_y = widths(0.0), widths(math.pi / 2)
    assert along_x[1] > 1.3 * along_x[0]
    np.testing.assert_allclose(along_x, along_y[::-1], rtol=1e-3)


def test_a_narrow_order_sorting_aperture_cuts_the_cone_and_a_wide_one_does_not():
    pupils = {
        radius: zone_plate_pupil(128, ZonePlate(osa_radius=radius)).abs().square().sum() for radius in (0.7, 2.0, 9.0)
    }
    assert pupils[0.7] < 0.6 * pupils[2]
    assert pupils[2] == pytest.approx(float(pupils[9]), rel=1e-6)


def test_physical_numbers_of_a_zone_plate():
    # 50 nm outermost zone, 0.14 nm wavelength, 15 nm pixels: numerical aperture 1.4e-3.
    assert compute_pupil_radius(50e-9, 15e-9) == pytest.approx(0.3)
    z, wavelength, rim = 100e-6, 0.14e-9, 1 / (2 * 50e-9)
    fresnel_phase = math.pi * wavelength * z * rim**2
    waves = defocus_to_waves(z, wavelength, 50e-9)
    assert waves == pytest.approx(-fresnel_phase / (2 * math.pi))
    assert defocus_to_distance(waves, wavelength, 50e-9) == pytest.approx(z)


@pytest.mark.parametrize("side", [1, -1])
def test_downstream_of_the_focus_a_shadow_falls_on_its_own_side(side):
    waves = defocus_to_waves(side * 100e-6, 0.14e-9, 20e-9)
    probe = zone_plate_probe(128, ZonePlate(pupil_radius=0.4, central_stop=0.0, defocus_waves=waves))[0].numpy()
    y, x = np.indices(probe.shape) - 64
    sample = 1 - np.exp(-((x - 16) ** 2 + y**2) / 18)  # an opaque dot at the right
    behind, without = (np.abs(np.fft.fftshift(np.fft.fft2(field))) ** 2 for field in (probe * sample, probe))
    shadow = np.maximum(without - behind, 0)
    assert np.sign((shadow * x).sum()) == side


@PROBES
@given(fractions=st.lists(st.floats(0.05, 1), min_size=1, max_size=6))
def test_modes_are_orthogonal_and_share_the_power_as_asked(kind, fractions):
    modes = incoherent_modes(BUILDERS[kind](1e6), tuple(fractions))
    gram = torch.einsum("iyx,jyx->ij", modes.to(torch.complex128), modes.to(torch.complex128).conj())
    expected = 1e6 * torch.tensor(fractions, dtype=torch.float64) / sum(fractions)
    torch.testing.assert_close(gram, torch.diag(expected).to(torch.complex128), rtol=1e-5, atol=2.0)


def test_the_first_mode_is_the_field_itself_and_the_others_stay_in_its_cone():
    probe = zone_plate_probe(64, ZonePlate())
    modes = incoherent_modes(probe, (0.7, 0.1, 0.1, 0.1))
    torch.testing.assert_close(modes[0], probe[0] * 0.7**0.5)
    assert power_at_edge(to_centred(far_field(modes)), 4) < 1e-3
