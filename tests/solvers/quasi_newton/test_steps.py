"""Laws of preconditioner, quasi-Newton steps, starts and modes."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.solvers.quasi_newton.conftest import curved_probe, make_scan, raster, textured_object

from ptypinn.data.pattern_batches import PatternBatches
from ptypinn.physics.forward import FAR_FIELD
from ptypinn.physics.optics import probe_photons
from ptypinn.physics.patches import compute_illumination
from ptypinn.solvers.quasi_newton.initial_object import dpc_start, flux_start, integrate_slopes
from ptypinn.solvers.quasi_newton.loop import LBFGSMemory, StopRule, Trace, minimise
from ptypinn.solvers.quasi_newton.objective import ObjectiveValue
from ptypinn.solvers.quasi_newton.preconditioner import CAP, Preconditioner, Smoothness, rms_half_width, sum_uniformity
from ptypinn.solvers.quasi_newton.unknowns import Unknowns, extend_modes, orthogonalise_modes, rescale_pair

CPU = torch.device("cpu")
CORNERS = torch.tensor([[[0, 0], [5, 2], [3, 9], [10, 10]]])
EXTENT = (42, 42)


def draw(shape, seed, dtype=torch.complex64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def random_unknowns(seed, frame_terms=False):
    shapes = {"log_flux": (4,), "beam_px": (4, 2)} if frame_terms else {}
    terms = {name: draw(shape, seed + 3, torch.float32) for name, shape in shapes.items()}
    return Unknowns(draw(EXTENT, seed), draw((2, 32, 32), seed + 1), draw((4, 2), seed + 2, torch.float32), **terms)


@pytest.mark.parametrize("frame_terms", [False, True])
@given(st.integers(0, 999))
def test_preconditioner_is_symmetric_and_positive(frame_terms, seed):
    probe = torch.from_numpy(curved_probe(modes=2))
    at = Unknowns(torch.from_numpy(textured_object(EXTENT, seed)), probe, torch.zeros(4, 2))
    precondition = Preconditioner(CORNERS, EXTENT, Smoothness(0.5, 2.0, 0.02), 32)
    precondition.refresh(at, probe)
    a, b = random_unknowns(seed, frame_terms), random_unknowns(seed + 7, frame_terms)
    assert a.dot(precondition(b, at)) == pytest.approx(float(b.dot(precondition(a, at))), rel=1e-3, abs=1e-5)
    assert a.dot(precondition(a, at)) > 0


def test_illumination_is_the_probes_power_placed_at_every_position():
    probe = torch.from_numpy(curved_probe(modes=2))
    illumination = compute_illumination(probe, CORNERS, *EXTENT)
    assert float(illumination.sum()) == pytest.approx(4 * float(probe_photons(probe)), rel=1e-5)


def test_half_width_of_a_gaussian_is_its_standard_deviation():
    axis = torch.arange(64.0) - 30
    gaussian = torch.exp(-(axis[:, None] ** 2 + axis**2) / (2 * 5.0**2))
    assert rms_half_width(gaussian) == pytest.approx(5.0, rel=1e-3)


def test_quasi_newton_steps_solve_a_quadratic_to_its_minimum():
    target, curvature = draw((9, 9), 0), 0.2 + draw((9, 9), 1).abs()

    def objective(at):
        error = at.object - target
        return ObjectiveValue(float((curvature * error.abs() ** 2).sum()), 0.0, Unknowns(curvature * error))

    memory = LBFGSMemory(lambda gradient, _: gradient, length=20)
    result, trace = minimise(
        objective, Unknowns(torch.zeros(9, 9).to(torch.complex64)), memory, 60, StopRule(tolerance=0.0)
    )
    assert trace.loss == sorted(trace.loss, reverse=True)
    torch.testing.assert_close(result.object, target, atol=1e-4, rtol=1e-4)


def test_solver_stops_when_it_has_converged():
    trace = Trace(loss=[10.0, 5.0, 4.0, 3.99999, 3.99999, 3.99999, 3.99999, 3.99999])
    assert StopRule(tolerance=1e-4).has_converged(trace)
    assert not StopRule(tolerance=0.0).has_converged(trace)


@given(st.integers(0, 999))
def test_integration_recovers_a_smooth_surface_from_its_slopes(seed):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:40, :48] / 48
    a, b, c = rng.normal(size=3)
    surface = a * np.cos(np.pi * y) + b * np.cos(2 * np.pi * x) + c * np.cos(np.pi * y) * np.cos(np.pi * x)
    slopes = (torch.from_numpy(part) for part in np.gradient(surface))
    result = integrate_slopes(*slopes).numpy()
    error = (result - result.mean()) - (surface - surface.mean())
    assert np.sqrt(np.mean(error**2)) < 0.05 * surface.std()


def test_deflection_sees_a_slow_phase_that_the_flux_cannot():
    y, x = np.mgrid[:80, :80] / 80
    obj = np.exp(4j * np.cos(np.pi * y) * np.cos(np.pi * x)).astype(np.complex64)
    probe = curved_probe()
    scan = make_scan(obj, probe, raster(obj.shape, 32, 4))
    stack, corners = PatternBatches(scan, CPU), torch.from_numpy(scan.positions_px).long()[None]
    light = compute_illumination(torch.from_numpy(probe), corners, *obj.shape)
    illuminated = light > 0.3 * light.max()
    errors = []
    for start in (flux_start, dpc_start):
        result = start(stack, torch.from_numpy(probe), corners, obj.shape)[illuminated].numpy()
        overlap = np.vdot(result, obj[illuminated.numpy()])
        errors.append(1 - abs(overlap) / np.linalg.norm(result) / np.linalg.norm(obj[illuminated.numpy()]))
    assert errors[1] < 0.3 * errors[0]


def test_flux_start_has_the_transmitted_amplitude():
    obj = np.full((72, 76), 1.7, np.complex64)
    scan = make_scan(obj, curved_probe(), raster(obj.shape, 32, 5))
    result = flux_start(
        PatternBatches(scan, CPU),
        torch.from_numpy(scan.probe),
        torch.from_numpy(scan.positions_px).long()[None],
        obj.shape,
    )
    torch.testing.assert_close(result, torch.from_numpy(obj), rtol=1e-4, atol=1e-4)


@given(st.integers(0, 999), st.integers(1, 5))
def test_modes_are_orthogonal_sorted_and_keep_the_incoherent_sum(seed, modes):
    probe = draw((modes, 16, 16), seed)
    mixed = orthogonalise_modes(probe)
    flat = mixed.flatten(1)
    gram = flat.conj() @ flat.T
    powers = gram.diagonal().real
    torch.testing.assert_close(gram, torch.diag(powers).to(gram.dtype), atol=1e-3, rtol=1e-3)
    assert (powers[:-1] >= powers[1:] - 1e-3).all()
    torch.testing.assert_close(mixed.abs().square().sum(0), probe.abs().square().sum(0), rtol=1e-4, atol=1e-4)


@given(st.integers(1, 6))
def test_added_modes_are_orthogonal_and_share_the_same_power(count):
    probe = torch.from_numpy(curved_probe())
    extended = extend_modes(probe, count)
    assert len(extended) == count
    assert float(probe_photons(extended)) == pytest.approx(float(probe_photons(probe)), rel=1e-5)
    flat = extended.flatten(1) / extended.flatten(1).norm(dim=1, keepdim=True)
    torch.testing.assert_close(flat.conj() @ flat.T, torch.eye(count).to(torch.complex64), atol=1e-3, rtol=0)


@given(st.integers(0, 999), st.floats(0.1, 1e9))
def test_holding_the_power_changes_no_prediction(seed, photons):
    at = Unknowns(draw(EXTENT, seed), draw((2, 32, 32), seed + 1))
    held = rescale_pair(at, photons)
    assert float(probe_photons(held.probe)) == pytest.approx(photons, rel=1e-5)
    before, after = (FAR_FIELD.predict_scan(u.object[None], u.probe, CORNERS) for u in (at, held))
    torch.testing.assert_close(before, after, rtol=1e-4, atol=1e-4 * float(before.max()))


@given(st.integers(0, 99), st.integers(3, 30))
def test_uniformity_is_that_of_bands_together(seed, rows):
    light = torch.from_numpy(np.random.default_rng(seed).uniform(0, 2, (31, 24)).astype(np.float32))
    whole = torch.stack(sum_uniformity(light, 1.5))
    bands = [
        torch.stack(sum_uniformity(light[top : top + rows + 1], 1.5, len(light[top : top + rows])))
        for top in range(0, 31, rows)
    ]
    torch.testing.assert_close(torch.stack(bands).sum(0), whole)


def test_uniform_illumination_lets_slow_phases_take_long_steps():
    """Close positions: up to the cap that is asked for. Sparse ones: no more than every scan bears."""
    probe, result = torch.from_numpy(curved_probe()), []
    for step in (3, 24):
        rows = torch.arange(0, 97, step)
        corners = torch.cartesian_prod(rows, rows)[None]
        preconditioner = Preconditioner(corners, (128, 128), Smoothness(0.5, 2.0, 0.02), 32, cap=1600.0)
        preconditioner.refresh(Unknowns(torch.ones(128, 128).to(torch.complex64)), probe)
        result.append(preconditioner.cap)
    assert result[0] > 400
    assert result[1] == CAP
