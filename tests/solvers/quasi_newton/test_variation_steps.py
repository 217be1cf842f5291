"""Laws of the steps of a varying probe, and of the penalty on changes of its spectrum's amplitudes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.solvers.quasi_newton.objective import ObjectiveValue
from ptypinn.solvers.quasi_newton.unknowns import Unknowns
from ptypinn.solvers.quasi_newton.variation_steps import VariationObjective, VariationSteps, find_held_changes

SIZE, ORDER = 8, 2
of_any_kind = given(seed=st.integers(0, 999), modes=st.integers(1, 2), shifts=st.booleans())


def draw(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.complex128)


def inner(a, b):
    return float((a.conj() * b).real.sum())


@of_any_kind
def test_steps_are_symmetric_and_never_ascend_and_leave_held_changes_alone(seed, modes, shifts):
    probe = draw((modes, SIZE, SIZE), seed)
    steps, held = VariationSteps(probe, hold_shifts=shifts), find_held_changes(probe, shifts=shifts)
    a, b = (draw((ORDER, modes, SIZE, SIZE), seed + number) for number in (1, 2))
    assert inner(a, steps(b)) == pytest.approx(inner(steps(a), b))
    assert inner(a, steps(a)) > 0
    assert max(abs(inner(change, image)) for change in held for image in steps(a)) < 1e-9


@given(seed=st.integers(0, 999), modes=st.integers(1, 2))
def test_the_gradient_of_the_penalty_predicts_its_change(seed, modes):
    probe = draw((modes, SIZE, SIZE), seed)
    flat = Unknowns(torch.zeros(1, 1, dtype=torch.complex128), variation=torch.zeros(ORDER, modes, SIZE, SIZE) + 0j)
    objective = VariationObjective(lambda at: ObjectiveValue(0.0, 0.0, flat), probe, curvature=5.0)
    at, step = (Unknowns(flat.object, variation=draw(flat.variation.shape, seed + number)) for number in (1, 2))
    h = 1e-4
    slope = (objective(at.plus(step, h)).loss - objective(at.plus(step, -h)).loss) / (2 * h)
    assert 2 * objective(at).gradient.dot(step) == pytest.approx(float(slope), rel=1e-5, abs=1e-6)


@given(seed=st.integers(0, 999))
def test_aberrations_are_not_penalised_to_first_order(seed):
    spectrum = draw((1, SIZE, SIZE), seed)
    aberration = torch.fft.ifft2(1j * draw((ORDER, 1, SIZE, SIZE), seed + 1).real * spectrum)
    flat = Unknowns(torch.zeros(1, 1, dtype=torch.complex128), variation=torch.zeros_like(aberration))
    objective = VariationObjective(lambda at: ObjectiveValue(0.0, 0.0, flat), torch.fft.ifft2(spectrum), curvature=5.0)
    assert objective(Unknowns(flat.object, variation=aberration)).loss < 1e-12
    assert objective(Unknowns(flat.object, variation=1j * aberration)).loss > 0
