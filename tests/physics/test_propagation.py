"""Laws of the forward model's adjoint, for every propagator, and of the seam through which another one goes in."""

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.physics.forward import FAR_FIELD, ForwardModel
from ptypinn.physics.interaction import detect, weigh_fields
from ptypinn.physics.propagation import FarField, NearField, Propagated, Propagator, fresnel_kernel


@dataclass(frozen=True)
class Defocus:
    """Angular-spectrum propagation over a short distance, as a package from outside would write it."""

    phase_rad: float = 0.7

    def _kernel(self, size):
        q = torch.fft.fftfreq(size, dtype=torch.float64)
        return torch.polar(torch.ones(size, size, dtype=torch.float64), self.phase_rad * (q[:, None] ** 2 + q**2))

    def to(self, device):
        return self

    def propagate(self, waves, ramps=None):
        return Propagated(torch.fft.ifft2(torch.fft.fft2(waves) * self._kernel(waves.shape[-1])))

    def adjoint(self, fields, ramps=None, listener=None):
        return torch.fft.ifft2(torch.fft.fft2(fields) * self._kernel(fields.shape[-1]).conj())


PROPAGATORS = [FarField(), Defocus(), NearField(fresnel_kernel(8, 0.3).to(torch.complex128))]


def draw(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.complex128)


def inner(a, b):
    return torch.vdot(a.reshape(-1), b.reshape(-1))


@pytest.mark.parametrize("propagator", PROPAGATORS, ids=lambda propagator: type(propagator).__name__)
@given(seed=st.integers(0, 999), modes=st.integers(1, 3), one_probe=st.booleans())
def test_adjoints_of_the_model_pass_the_dot_product_test(propagator, seed, modes, one_probe):
    assert isinstance(propagator, Propagator)
    model, batch = ForwardModel(propagator), 3
    patches, probes = draw((batch, 8, 8), seed), draw((1 if one_probe else batch, modes, 8, 8), seed + 1)
    other, step = draw((batch, modes, 8, 8), seed + 2), draw((batch, 8, 8), seed + 3)
    weight = torch.rand((batch, 8, 8), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    diffraction = model.diffract(patches, probes)
    waves = model.exit_residual(diffraction._replace(fields=weigh_fields(other.clone(), weight)))
    along_object = model.diffract(step, probes).fields
    left = inner(other * weight[:, None], along_object)
    by_object, by_probe = model.sample_adjoint(diffraction, waves)
    torch.testing.assert_close(left, inner(by_object, step))

    probe_step = draw((batch, modes, 8, 8), seed + 4)
    along_probe = model.diffract(patches, probe_step).fields
    left = inner(other * weight[:, None], along_probe)
    torch.testing.assert_close(left, inner(by_probe, probe_step))


@pytest.mark.parametrize("propagator", PROPAGATORS, ids=lambda propagator: type(propagator).__name__)
def test_residual_of_the_model_is_the_gradient_that_autograd_takes(propagator):
    model = ForwardModel(propagator)
    patches, probes = draw((2, 8, 8), 0).requires_grad_(), draw((2, 2, 8, 8), 1).requires_grad_()
    weight = torch.rand((2, 8, 8), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    loss = -(weight * model.predict_counts(patches, probes)).sum()
    by_object, by_probe = torch.autograd.grad(loss, (patches, probes))
    with torch.no_grad():
        diffraction = model.diffract(patches, probes)
        waves = model.exit_residual(diffraction._replace(fields=weigh_fields(diffraction.fields, weight)))
        along_object, along_probe = model.sample_adjoint(diffraction, waves)
        torch.testing.assert_close(2 * along_object, -by_object)
        torch.testing.assert_close(2 * along_probe, -by_probe)


def test_vacuum_is_the_model_of_an_object_that_is_one_everywhere():
    probe = draw((2, 8, 8), 0)
    ones = torch.ones((1, 8, 8), dtype=probe.dtype)
    torch.testing.assert_close(FAR_FIELD.predict_vacuum(probe), FAR_FIELD.predict_counts(ones, probe[None])[0])
    torch.testing.assert_close(detect(FAR_FIELD.diffract(ones, probe[None]).fields)[0], FAR_FIELD.predict_vacuum(probe))


def fresnel(distance, size=48):
    return NearField(fresnel_kernel(size, 1 / distance).to(torch.complex128))


def centred(wave):
    return torch.fft.fftshift(wave, dim=(-2, -1))


@given(first=st.floats(0.1, 20), second=st.floats(0.1, 20), seed=st.integers(0, 99))
def test_two_distances_are_one_and_photons_are_conserved(first, second, seed):
    wave = draw((2, 1, 48, 48), seed)
    near = centred(fresnel(first).propagate(wave).fields)
    torch.testing.assert_close(near.abs().square().sum(), wave.abs().square().sum())
    both = centred(fresnel(second).propagate(near).fields)
    torch.testing.assert_close(both, centred(fresnel(first + second).propagate(wave).fields), rtol=1e-5, atol=1e-6)


@given(waist=st.floats(2.5, 4), distance=st.floats(1, 25))
def test_a_gaussian_beam_widens_as_the_textbook_has_it(waist, distance):
    """Width sqrt(1 + (z / zR)^2) times the waist, zR = pi w^2 / lambda; a pixel and a wavelength long units."""
    axis = torch.arange(64, dtype=torch.float64) - 32
    beam = torch.exp(-(axis[:, None] ** 2 + axis**2) / waist**2).to(torch.complex128)
    kernel = NearField(fresnel_kernel(64, 1 / distance).to(torch.complex128))
    intensity = centred(kernel.propagate(beam[None, None]).fields)[0, 0].abs().square()
    width = 2 * torch.sqrt((intensity.sum(1) * axis**2).sum() / intensity.sum())
    assert float(width) == pytest.approx(waist * (1 + (distance / (torch.pi * waist**2)) ** 2) ** 0.5, rel=1e-4)


@given(seed=st.integers(0, 99), y=st.floats(-0.5, 0.5), x=st.floats(-0.5, 0.5))
def test_the_beam_stands_still_on_the_detector_where_the_object_moves(seed, y, x):
    """A smooth object at a sub-pixel position has the counts of the object that is moved itself."""
    generator = torch.Generator().manual_seed(seed)
    spectrum = torch.zeros(48, 48, dtype=torch.complex128)
    spectrum[:5, :5] = torch.randn(5, 5, generator=generator, dtype=torch.complex128)
    spectrum[0, 0] = 20
    frequency = torch.fft.fftfreq(48, dtype=torch.float64)
    moved = spectrum * torch.exp(2j * torch.pi * (y * frequency[:, None] + x * frequency))
    image, there = (torch.fft.ifft2(s * 48) for s in (spectrum, moved))
    axis = torch.arange(48, dtype=torch.float64) - 24
    probe = torch.exp(-(axis[:, None] ** 2 + axis**2) / 36).to(torch.complex128)[None]
    model, corners = ForwardModel(fresnel(15.0)), torch.zeros(1, 1, 2, dtype=torch.int64)
    fractions = torch.tensor([[y, x]], dtype=torch.float64)
    at_position = model.predict_scan(image[None], probe, corners, fractions)
    torch.testing.assert_close(at_position, model.predict_scan(there[None], probe, corners), rtol=1e-6, atol=1e-8)
