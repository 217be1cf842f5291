"""Laws of the model of thick samples: slices with free space between them, and the exact adjoint of all."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.physics.forward import FAR_FIELD, ForwardModel, apply_filter, forward_model
from ptypinn.physics.interaction import weigh_fields
from ptypinn.physics.propagation import FarField, NearField, free_space, fresnel_kernel

SIZE = 8
GAPS = torch.stack([free_space(SIZE, 0.4, (0.3, -0.2)), free_space(SIZE, 0.25)]).to(torch.complex128)
MODELS = [
    ForwardModel(FarField(), GAPS),
    ForwardModel(NearField(fresnel_kernel(SIZE, 0.3).to(torch.complex128)), GAPS[:1]),
]


def draw(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.complex128)


def inner(a, b):
    return torch.vdot(a.reshape(-1), b.reshape(-1))


def thick(numbers, size=SIZE):
    return ForwardModel(FarField(), torch.stack([free_space(size, number) for number in numbers]).to(torch.complex128))


@pytest.mark.parametrize("model", MODELS, ids=["far field", "near field"])
@given(seed=st.integers(0, 999), modes=st.integers(1, 3), one_probe=st.booleans())
def test_the_adjoint_is_the_gradient_that_autograd_takes(model, seed, modes, one_probe):
    batch = 2
    patches = draw((model.slices, batch, SIZE, SIZE), seed).requires_grad_()
    probes = draw((1 if one_probe else batch, modes, SIZE, SIZE), seed + 1).requires_grad_()
    weight = torch.rand((batch, SIZE, SIZE), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    by_object, by_probe = torch.autograd.grad((weight * model.predict_counts(patches, probes)).sum(), (patches, probes))
    with torch.no_grad():
        diffraction = model.diffract(patches, probes)
        along_object, along_probe = model.sample_adjoint(
            diffraction, model.exit_residual(diffraction._replace(fields=weigh_fields(diffraction.fields, weight)))
        )
    along_probe = along_probe.sum(0, keepdim=True) if one_probe else along_probe
    torch.testing.assert_close(2 * along_object, by_object)
    torch.testing.assert_close(2 * along_probe, by_probe)


@pytest.mark.parametrize("model", MODELS, ids=["far field", "near field"])
@given(seed=st.integers(0, 999))
def test_the_adjoint_of_every_slice_passes_the_dot_product_test(model, seed):
    patches, probes = draw((model.slices, 2, SIZE, SIZE), seed), draw((2, 1, SIZE, SIZE), seed + 1)
    weight = torch.rand((2, SIZE, SIZE), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    other = draw((2, 1, SIZE, SIZE), seed + 2)
    diffraction = model.diffract(patches, probes)
    waves = model.exit_residual(diffraction._replace(fields=weigh_fields(other.clone(), weight)))
    directions, _ = model.sample_adjoint(diffraction, waves, with_probe=False)
    for number in range(model.slices):
        changed = patches.clone()
        changed[number] = step = draw((2, SIZE, SIZE), seed + 3)
        along = model.diffract(changed, probes).fields
        torch.testing.assert_close(inner(other * weight[:, None], along), inner(directions[number], step))


@given(seed=st.integers(0, 99), number=st.floats(0.15, 5))
def test_an_empty_slice_changes_nothing_but_where_the_next_one_lies(seed, number):
    patches, probes = draw((2, 3, SIZE, SIZE), seed), draw((1, 2, SIZE, SIZE), seed + 1)
    empty = torch.ones_like(patches[:1])
    between = torch.cat([patches[:1], empty, patches[1:]])
    expected = thick([number]).predict_counts(patches, probes)
    torch.testing.assert_close(thick([2 * number] * 2).predict_counts(between, probes), expected, rtol=1e-5, atol=1e-5)
    behind = torch.cat([patches, empty])
    torch.testing.assert_close(thick([number, 0.7]).predict_counts(behind, probes), expected, rtol=1e-5, atol=1e-5)
    before = thick([0.7, number]).predict_counts(torch.cat([empty, patches]), probes)
    moved = apply_filter(probes, free_space(SIZE, 0.7).to(torch.complex128))
    torch.testing.assert_close(before, thick([number]).predict_counts(patches, moved), rtol=1e-5, atol=1e-5)


@given(seed=st.integers(0, 99))
def test_slices_without_a_gap_are_the_thin_object_that_is_their_product(seed):
    patches, probes = draw((3, 2, SIZE, SIZE), seed), draw((2, 1, SIZE, SIZE), seed + 1)
    thin = FAR_FIELD.predict_counts(patches.prod(0), probes)
    torch.testing.assert_close(thick([1e9, 1e9]).predict_counts(patches, probes), thin, rtol=1e-5, atol=1e-5)


def test_the_order_of_the_slices_matters():
    patches, probes = draw((2, 1, SIZE, SIZE), 0), draw((1, 1, SIZE, SIZE), 1)
    ahead, behind = (thick([0.3]).predict_counts(stack, probes) for stack in (patches, patches.flip(0)))
    assert float((ahead - behind).abs().max() / ahead.max()) > 0.1


@given(seed=st.integers(0, 99), y=st.integers(-3, 3), x=st.integers(-3, 3))
def test_a_tilted_sample_moves_the_wave_between_its_slices(seed, y, x):
    wave = draw((1, 1, 16, 16), seed)
    straight, tilted = (
        apply_filter(wave, free_space(16, 0.4, shift).to(torch.complex128))
        for shift in ((0.0, 0.0), (float(y), float(x)))
    )
    torch.testing.assert_close(tilted, straight.roll((y, x), (-2, -1)), rtol=1e-5, atol=1e-5)


@given(seed=st.integers(0, 99), y=st.integers(-3, 3), x=st.integers(-3, 3))
def test_slices_of_a_tilted_sample_lie_beside_each_other(seed, y, x):
    """In the frame of the beam, every slice lies farther along the tilt by the distance from the first one."""
    size, number = 16, 0.4
    patches, probes = draw((3, 2, size, size), seed), draw((1, 2, size, size), seed + 1)
    tilted = forward_model(size, None, [number] * 2, [y * number, x * number]).to(torch.device("cpu"))
    leaning = torch.stack([patch.roll((depth * y, depth * x), (-2, -1)) for depth, patch in enumerate(patches)])
    straight = forward_model(size, None, [number] * 2)
    expected = straight.predict_counts(leaning.to(torch.complex64), probes.to(torch.complex64))
    counts = tilted.predict_counts(patches.to(torch.complex64), probes.to(torch.complex64))
    torch.testing.assert_close(counts, expected, rtol=1e-3, atol=1e-3)


@given(y=st.integers(-4, 4), x=st.integers(-4, 4))
def test_a_beam_along_the_axis_of_a_tilted_sample_meets_every_slice_at_the_same_place(y, x):
    size = 16
    tilt = np.array([y, x]) / size
    rows, columns = torch.meshgrid(*[torch.arange(size) - size // 2] * 2, indexing="ij")
    spot = torch.exp(-(rows**2 + columns**2) / 18.0 + 2j * np.pi * (tilt[0] * rows + tilt[1] * columns))
    model = forward_model(size, None, [0.5], tilt.tolist())
    light = apply_filter(spot[None, None], model.gaps[0])[0, 0].abs().square()
    middle = [float((light * axis).sum() / light.sum()) for axis in (rows, columns)]
    np.testing.assert_allclose(middle, 0, atol=0.2)


@given(seed=st.integers(0, 99), modes=st.integers(1, 2))
def test_vacuum_is_the_model_of_slices_that_are_one_everywhere(seed, modes):
    probe = draw((modes, SIZE, SIZE), seed)
    for model in MODELS:
        ones = torch.ones((model.slices, 1, SIZE, SIZE), dtype=probe.dtype)
        torch.testing.assert_close(model.predict_vacuum(probe), model.predict_counts(ones, probe[None])[0])


def test_a_scan_is_predicted_patch_by_patch_and_a_moved_beam_moves_its_patterns():
    model, canvases = thick([0.3, 0.5]), draw((3, 14, 13), 0)
    probe, corners = draw((1, SIZE, SIZE), 1), torch.tensor([[[0, 0], [5, 3], [2, 4]]])
    cut = torch.stack([canvases[:, y : y + SIZE, x : x + SIZE] for y, x in corners[0].tolist()], 1)
    patterns = model.predict_scan(canvases, probe, corners)
    torch.testing.assert_close(patterns, model.predict_counts(cut, probe[None]))
    beam = torch.tensor([[0.0, 0.0], [1.0, -2.0], [3.0, 0.0]], dtype=torch.float64)
    moved = model.predict_scan(canvases, probe, corners, beam_px=beam)
    for pattern, before, (y, x) in zip(moved, patterns, beam.long().tolist(), strict=True):
        torch.testing.assert_close(pattern, before.roll((y, x), (0, 1)))


def test_one_slice_needs_no_gap_and_the_model_of_a_geometry_counts_its_slices():
    assert forward_model(SIZE) is FAR_FIELD
    assert [forward_model(SIZE, None, numbers).slices for numbers in (None, [0.3], [0.3, 0.2])] == [1, 2, 3]
