"""Laws of interaction and detection: compiled loops do what operations on tensors do, and adjoints are exact."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.losses import LIKELIHOODS, Poisson
from ptypinn.physics import kernels
from ptypinn.physics.interaction import (
    CanvasPatches,
    add_modes,
    add_object_directions,
    detect,
    interact,
    to_probe_directions,
    weigh_fields,
)
from ptypinn.physics.patches import add_patches, extract_patches, phase_ramp
from ptypinn.physics.ramps import Ramps, add_unramped, multiply_ramps

HEIGHT, WIDTH, SIZE = 21, 17, 8
DTYPES = st.sampled_from([torch.complex64, torch.complex128])


def draw(shape, seed, dtype=torch.complex64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@st.composite
def scenes(draw_one):
    """Draw a canvas, corners that reach its edges, and probes, one for all positions or one for each."""
    seed, modes, batch = draw_one(st.integers(0, 999)), draw_one(st.integers(1, 3)), draw_one(st.integers(1, 5))
    dtype = draw_one(DTYPES)
    rows, columns = st.integers(0, HEIGHT - SIZE), st.integers(0, WIDTH - SIZE)
    corners = torch.tensor([[draw_one(rows), draw_one(columns)] for _ in range(batch)])
    probes = draw((draw_one(st.sampled_from([1, batch])), modes, SIZE, SIZE), seed + 1, dtype)
    return CanvasPatches(draw((HEIGHT, WIDTH), seed, dtype), corners), probes


@given(scenes())
def test_patches_on_their_canvas_interact_as_those_that_are_cut_out(scene):
    patches, probes = scene
    cut = torch.stack([patches.canvas[y : y + SIZE, x : x + SIZE] for y, x in patches.corners.tolist()])
    torch.testing.assert_close(interact(patches, probes), cut[:, None] * probes)
    assert torch.equal(patches.cut(SIZE), cut)
    waves = draw((len(cut), *probes.shape[1:]), 5, probes.dtype)
    torch.testing.assert_close(to_probe_directions(waves.clone(), patches), waves * cut.conj()[:, None])


@given(scenes(), st.integers(0, 999))
def test_directions_of_object_and_probes_are_adjoints_of_the_interaction(scene, seed):
    patches, probes = scene
    canvas, corners = patches
    waves = draw((len(corners), *probes.shape[1:]), seed, probes.dtype)
    product = torch.vdot(waves.flatten(), interact(patches, probes).flatten())
    total = torch.zeros_like(canvas)
    add_object_directions(waves, probes, corners, total)
    torch.testing.assert_close(torch.vdot(total.flatten(), canvas.flatten()), product, rtol=2e-4, atol=2e-3)
    by_probe = to_probe_directions(waves.clone(), patches)
    by_probe = by_probe.sum(0, keepdim=True) if len(probes) == 1 else by_probe
    torch.testing.assert_close(torch.vdot(by_probe.flatten(), probes.flatten()), product, rtol=2e-4, atol=2e-3)


@given(scenes())
def test_directions_are_added_where_the_patches_lie(scene):
    (canvas, corners), probes = scene
    waves = draw((len(corners), *probes.shape[1:]), 3, probes.dtype)
    start = draw(canvas.shape, 4, canvas.dtype)
    total, expected = start.clone(), start.clone()
    add_object_directions(waves, probes, corners, total)
    for (y, x), patch in zip(corners.tolist(), add_modes(waves * probes.conj()), strict=True):
        expected[y : y + SIZE, x : x + SIZE] += patch
    torch.testing.assert_close(total, expected)


@given(st.integers(0, 999), st.integers(1, 3), DTYPES)
def test_intensities_of_modes_add(seed, modes, dtype):
    fields = draw((3, modes, SIZE, SIZE), seed, dtype)
    counts = detect(fields)
    torch.testing.assert_close(counts, fields.abs().square().sum(1))
    torch.testing.assert_close(weigh_fields(fields.clone(), counts), fields * counts[:, None])


@given(st.integers(0, 999), st.integers(1, 3), st.integers(1, 4), st.booleans(), DTYPES)
def test_ramps_are_multiplied_row_by_row_and_undone_by_the_adjoint(seed, modes, batch, one_probe, dtype):
    spectra = draw((1 if one_probe else batch, modes, SIZE, SIZE), seed, dtype)
    shifts = torch.rand((batch, 2), generator=torch.Generator().manual_seed(seed), dtype=spectra.real.dtype) - 0.5
    ramps = Ramps.of(shifts, SIZE)
    moved = multiply_ramps(spectra, ramps)
    torch.testing.assert_close(moved, spectra * phase_ramp(shifts, SIZE)[:, None])
    others, start = draw((batch, modes, SIZE, SIZE), seed + 1, dtype), draw((modes, SIZE, SIZE), seed + 2, dtype)
    total = start.clone()
    add_unramped(others, ramps, total)
    back = multiply_ramps(others, Ramps(ramps.rows.conj(), ramps.columns.conj()))
    torch.testing.assert_close(total, start + back.sum(0))


@given(scenes())
def test_what_is_written_to_may_lie_in_memory_in_any_order(scene):
    (canvas, corners), probes = scene
    dtype = torch.complex64
    patches, probes = CanvasPatches(canvas.to(dtype), corners), probes.to(dtype)
    waves = draw((len(corners), *probes.shape[1:]), 3, dtype)
    counts, good = draw((len(corners), SIZE, SIZE), 6).abs(), torch.ones((SIZE, SIZE), dtype=torch.bool)
    ramps = Ramps.of(draw((len(corners), 2), 7).real, SIZE)
    for change, written in (
        (lambda out: add_object_directions(waves, probes, corners, out), draw(canvas.shape, 4)),
        (lambda out: to_probe_directions(out, patches), waves),
        (lambda out: weigh_fields(out, counts), waves),
        (lambda out: LIKELIHOODS["poisson"].weigh(out, counts, good, with_loss=True), waves),
        (lambda out: add_unramped(waves, ramps, out), draw(probes.shape[1:], 5)),
    ):
        rows, columns = written.clone(), written.mT.contiguous().mT
        change(rows)
        change(columns)
        torch.testing.assert_close(columns, rows, rtol=1e-4, atol=1e-4)
        assert not torch.equal(rows, written)


@pytest.mark.parametrize("name", sorted(LIKELIHOODS))
@given(seed=st.integers(0, 999), modes=st.integers(1, 3), with_loss=st.booleans(), photons=st.sampled_from([0.01, 1e3]))
def test_fields_are_weighed_by_the_residual_of_good_pixels(name, seed, modes, with_loss, photons):
    likelihood = LIKELIHOODS[name]
    size = 40  # more pixels than a loop takes at a time
    fields = draw((3, modes, size, size), seed) * math.sqrt(photons)
    generator = torch.Generator().manual_seed(seed)
    counts = torch.poisson(photons * torch.rand((3, size, size), generator=generator), generator)
    good = torch.rand((size, size), generator=generator) > 0.1
    expected = detect(fields).double()
    residual = likelihood.residual(expected, counts.double()) * good
    weighed = fields.clone()
    loss = likelihood.weigh(weighed, counts, good, with_loss=with_loss)
    torch.testing.assert_close(weighed, (fields * residual[:, None]).to(fields.dtype), rtol=1e-4, atol=1e-4)
    truth = float(likelihood.loss(expected, residual).sum()) if with_loss else 0.0
    assert float(loss) == pytest.approx(truth, rel=1e-5)


@given(scale=st.sampled_from([1e-6, 1e-3, 0.1, 1.0, 1e4]), seed=st.integers(0, 999))
def test_the_poisson_loss_keeps_single_precision_at_every_size_of_the_residual(scale, seed):
    generator = torch.Generator().manual_seed(seed)
    expected = 1000 * torch.rand((2, SIZE, SIZE), generator=generator)
    residual = (scale * torch.randn((2, SIZE, SIZE), generator=generator)).clamp(min=-1 + 2**-23)
    exact = residual.double()
    truth = ((1 + exact) * torch.log1p(exact) - exact) * (expected.double() + Poisson().dark)
    assert float(Poisson().total_loss(expected, residual)) == pytest.approx(float(truth.sum()), rel=3e-6)


def test_a_count_that_is_no_number_shows_in_residual_and_loss():
    fields, counts = draw((1, 1, SIZE, SIZE), 0), torch.ones(1, SIZE, SIZE)
    counts[0, 3, 4] = math.nan
    residual = Poisson().residual(detect(fields), counts)
    assert residual.isnan().sum() == 1
    good = torch.ones((SIZE, SIZE), dtype=torch.bool)
    assert Poisson().weigh(fields, counts, good, with_loss=True).isnan()
    assert fields[0, 0, 3, 4].isnan() and fields.isnan().sum() == 1


@pytest.mark.parametrize("corner", [(-1, 0), (0, -1), (HEIGHT - SIZE + 1, 0), (0, WIDTH - SIZE + 1)])
def test_patches_beyond_the_canvas_are_refused(corner):
    canvas, corners = draw((HEIGHT, WIDTH), 0), torch.tensor([corner])
    probes, waves = draw((1, 1, SIZE, SIZE), 1), draw((1, 1, SIZE, SIZE), 2)
    patches = CanvasPatches(canvas, corners)
    for step in (
        lambda: interact(patches, probes),
        lambda: to_probe_directions(waves, patches),
        lambda: add_object_directions(waves, probes, corners, canvas),
        lambda: extract_patches(canvas[None], corners[None], SIZE),
        lambda: add_patches(canvas[None], waves, corners[None]),
    ):
        with pytest.raises(IndexError, match="beyond its canvas"):
            step()


def test_derivatives_are_taken_through_operations_on_tensors():
    patches = CanvasPatches(draw((HEIGHT, WIDTH), 0).requires_grad_(), torch.tensor([[2, 3]]))
    probes = draw((1, 2, SIZE, SIZE), 1)
    assert not kernels.are_usable(patches.canvas, probes)
    fields = interact(patches, probes)
    detect(fields).sum().backward()
    expected = torch.zeros((HEIGHT, WIDTH))
    expected[2 : 2 + SIZE, 3 : 3 + SIZE] = 2 * probes.abs().square().sum((0, 1))
    torch.testing.assert_close(patches.canvas.grad, expected * patches.canvas.detach())


def test_loops_write_to_contiguous_tensors_alone():
    with pytest.raises(ValueError, match="contiguous"):
        kernels.as_reals(torch.zeros(4, 6)[:, ::2], writes=True)
