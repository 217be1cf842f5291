"""Laws of the networks, the heads and the predictor."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ptypinn.models.blocks import transmitted_amplitude
from ptypinn.models.cnn import PtychoCNN, correct
from ptypinn.models.group_canvas import GroupCanvas, measure_spread
from ptypinn.models.patch_predictor import PatchPredictor
from ptypinn.physics.forward import FAR_FIELD
from ptypinn.physics.optics import probe_photons
from ptypinn.physics.patches import extract_patches, shift_probe
from ptypinn.physics.propagation import to_centred, to_fft_order
from ptypinn.scale import IntensityScaler, compute_input_scale

SEEDS = st.integers(0, 2**16)


def curved_probe(size=32, photons=1e4, modes=1):
    y, x = torch.meshgrid(torch.arange(size) - size / 2, torch.arange(size) - size / 2, indexing="ij")
    r2 = y**2 + x**2
    first = torch.polar(torch.exp(-r2 / (size / 2) ** 2 * 4), r2 * 12 / size**2)
    probe = torch.stack([first * (x / size) ** mode for mode in range(modes)])
    return probe * (photons / probe_photons(probe)).sqrt().float()


def awake(*options):
    """The same network every time, with outputs that are not zero."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    network = PtychoCNN(*options)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return network


def smooth_object(size, seed):
    generator = torch.Generator().manual_seed(seed)
    waves = torch.randn((size, size), dtype=torch.complex64, generator=generator)
    frequency = torch.fft.fftfreq(size)
    low = torch.exp(-((frequency[:, None] ** 2 + frequency**2) / 0.1**2))
    field = torch.fft.ifft2(torch.fft.fft2(waves) * low)
    return torch.polar(1 - 0.3 * torch.sigmoid(field.real / field.real.std()), 0.4 * field.imag / field.imag.std())


def group_of(size=32, gridsize=2, groups=2, seed=1):
    """Amplitudes of groups of patterns of smooth objects, and the places of the patterns."""
    offsets = 12 * torch.rand((groups, gridsize**2, 2), generator=torch.Generator().manual_seed(seed))
    offsets = offsets if gridsize > 1 else torch.zeros_like(offsets)
    whole = torch.round(offsets).long()
    canvases = torch.stack([smooth_object(size + 16, seed + number) for number in range(groups)])
    probes = shift_probe(curved_probe(size), (offsets - whole).flatten(0, 1))
    counts = FAR_FIELD.predict_counts(extract_patches(canvases, whole, size).flatten(0, 1), probes)
    return to_centred(counts.sqrt()).view(groups, -1, size, size), offsets


def every_pixel(size=32):
    return torch.ones((size, size), dtype=torch.bool)


@pytest.mark.parametrize("size", [32, 64, 128, 256])
@pytest.mark.parametrize("gridsize", [1, 2])
def test_vacuum_is_vacuum_for_every_size_and_group_before_training(size, gridsize):
    network, probe = PtychoCNN(size, gridsize), curved_probe(size)
    vacuum = to_centred(FAR_FIELD.predict_counts(torch.ones(1, size, size, dtype=torch.complex64), probe[None])).sqrt()
    _, offsets = group_of(size, gridsize, 1)
    with torch.no_grad():
        patches = network(vacuum.expand(1, gridsize**2, -1, -1), probe, offsets, every_pixel(size))
    torch.testing.assert_close(patches, torch.ones_like(patches), rtol=0, atol=2e-3)


@pytest.mark.parametrize("size", [40, 16])
def test_other_sizes_are_refused(size):
    with pytest.raises(ValueError, match="multiple of 16"):
        PtychoCNN(size)
    with pytest.raises(ValueError, match="0 steps"):
        PtychoCNN(32, steps=0)


@pytest.mark.parametrize("gridsize", [1, 2])
def test_network_is_blind_to_dose_and_probe_scale_but_not_to_the_pattern(gridsize):
    network, probe = awake(32, gridsize, 16), curved_probe()
    amplitudes, offsets = group_of(gridsize=gridsize)
    with torch.no_grad():
        patches = network(amplitudes, probe, offsets, every_pixel())
        scaled = network(1000 * amplitudes, 1e-3 * probe, offsets, every_pixel())
        torch.testing.assert_close(scaled, patches, rtol=1e-3, atol=1e-3)
        assert (network(amplitudes.flip(-1), probe, offsets, every_pixel()) - patches).abs().max() > 1e-2


def test_samples_of_a_batch_do_not_see_each_other():
    network, probe = awake(32, 1, 16), curved_probe()
    amplitudes, offsets = group_of(gridsize=1, groups=3)
    with torch.no_grad():
        patches = network(amplitudes, probe, offsets, every_pixel())
        torch.testing.assert_close(network(amplitudes[1:2], probe, offsets[1:2], every_pixel()), patches[1:2])


def test_a_group_does_not_depend_on_wider_ones_in_its_batch_and_none_is_too_wide():
    network, probe = awake(32, 2, 16), curved_probe()
    amplitudes, offsets = group_of()
    both = torch.stack([offsets[0], offsets[1] + torch.tensor([[17.0, 0], [0, 0], [0, 0], [0, 0]])])
    assert (measure_spread(both) > 16).tolist() == [False, True]
    with torch.no_grad():
        patches = network(amplitudes, probe, both, every_pixel())
        for number in range(2):
            alone = slice(number, number + 1)
            torch.testing.assert_close(network(amplitudes[alone], probe, both[alone], every_pixel()), patches[alone])
        with pytest.raises(ValueError, match="at most their edge of 32 pixels"):
            network(amplitudes, probe, 10 * offsets, every_pixel())


def test_order_and_origin_of_a_group_do_not_matter_but_places_do():
    network, probe = awake(32, 2, 16), curved_probe()
    amplitudes, offsets = group_of()
    order = [2, 0, 3, 1]
    with torch.no_grad():
        patches = network(amplitudes, probe, offsets, every_pixel())
        moved = network(amplitudes[:, order], probe, offsets[:, order] + 7, every_pixel())
        elsewhere = network(amplitudes, probe, offsets * 0.5, every_pixel())
    torch.testing.assert_close(moved, patches[:, order], rtol=1e-3, atol=1e-3)
    assert (elsewhere - patches).abs().max() > 1e-2


@settings(max_examples=5)
@given(SEEDS)
def test_data_steps_explain_a_group_at_any_places_ever_better(seed):
    amplitudes, offsets = group_of(groups=1, seed=seed)
    group = GroupCanvas(to_fft_order(amplitudes), curved_probe(), offsets, every_pixel(), 48)
    canvas, changes = group.start(), []
    for _ in range(12):
        change = group.descend(canvas)
        changes.append(float(change.abs().square().mul(group.illumination).sum()))
        canvas = canvas + change
    assert changes[-1] < 0.05 * changes[0]
    assert all(later < 1.05 * earlier for earlier, later in pairwise(changes))


def test_patches_in_the_frames_of_their_probes_are_the_object_there():
    offsets = torch.tensor([[[0.0, 0.0], [5.25, 2.5]]])
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(48.0), indexing="ij")
    wave = 2 * torch.pi * torch.tensor([2, 3]) / 32
    group = GroupCanvas(torch.ones(1, 2, 32, 32), curved_probe(), offsets, every_pixel(), 48)
    patches = group.to_probe_frames(torch.polar(torch.ones(48, 48), wave[0] * y + wave[1] * x)[None])
    ratio = patches[0, 1] * patches[0, 0].conj()
    expected = torch.polar(torch.tensor(1.0), (offsets[0, 1] * wave).sum())
    torch.testing.assert_close(ratio, expected.expand(32, 32), rtol=0, atol=1e-3)


def test_masked_pixels_carry_no_information():
    network, probe = awake(32, 2, 16), curved_probe()
    amplitudes, offsets = group_of()
    mask = every_pixel()
    mask[3:9, 5:8] = False
    with torch.no_grad():
        patches = network(amplitudes, probe, offsets, mask)
        torch.testing.assert_close(network(torch.where(mask, amplitudes, 5.0), probe, offsets, mask), patches)


@given(st.floats(-50, 50, width=32), st.floats(-50, 50, width=32))
def test_correction_is_unbounded_and_never_saturates(real, imaginary):
    change = torch.tensor([real, imaginary]).view(1, 2, 1, 1)
    assert torch.equal(correct(torch.ones(1, 1, 1, dtype=torch.complex64), change), torch.complex(*change[0])[None] + 1)


def predictor(photons=1e4, gridsize=1, modes=1, mask=None, trainable=False, train_probe=False, counts_energy=None):
    probe = curved_probe(photons=photons, modes=modes)
    scaler = IntensityScaler(compute_input_scale(counts_energy or photons, 32), trainable)
    mask = torch.ones(32, 32, dtype=torch.bool) if mask is None else mask
    return PatchPredictor(awake(32, gridsize, 16), scaler, probe, mask, train_probe)


@settings(max_examples=8)
@given(SEEDS, st.sampled_from([1e-2, 1e3]))
def test_patches_keep_when_probe_and_dose_change_together_and_grow_with_dose_alone(seed, dose):
    generator = torch.Generator().manual_seed(seed)
    counts = torch.poisson(to_fft_order(group_of(gridsize=1, seed=seed)[0]).square(), generator=generator)
    with torch.no_grad():
        reference = predictor().patches(counts)
        together = predictor(1e4 * dose).patches(counts * dose)
        alone = predictor().patches(counts * dose)
    torch.testing.assert_close(together, reference, rtol=5e-3, atol=5e-3)
    torch.testing.assert_close(alone, reference * dose**0.5, rtol=5e-3, atol=5e-3 * dose**0.5)


def test_patch_of_vacuum_is_vacuum_with_masked_pixels_and_several_modes():
    mask = torch.rand((32, 32), generator=torch.Generator().manual_seed(0)) > 0.3
    model = predictor(modes=2, mask=mask)
    counts = FAR_FIELD.predict_counts(torch.ones(1, 32, 32, dtype=torch.complex64), model.probe.detach()[None])[None]
    dirty = torch.where(mask, counts, torch.nan)
    with torch.no_grad():
        assert torch.equal(model.patches(torch.where(mask, counts, 1e9)), model.patches(dirty))
        whole = predictor(modes=2).patches(counts)
        torch.testing.assert_close(model.patches(dirty), whole, rtol=1e-3, atol=1e-4)
        model.network = PtychoCNN(32, 1, 16)
        torch.testing.assert_close(model.patches(dirty).abs(), torch.ones(1, 1, 32, 32), rtol=1e-4, atol=0)


def test_explained_vacuum_is_the_probe_in_counts_whatever_the_scaler_was_set_to():
    for energy in (10.0, 1e8):
        model = predictor(counts_energy=energy)
        patches = torch.ones(1, 3, 32, 32, dtype=torch.complex64)
        corners = torch.tensor([[[0, 0], [3, 5], [8, 1]]])
        with torch.no_grad():
            prediction = model.predict(patches, corners, torch.rand(3, 2) - 0.5, (40, 40))
        np.testing.assert_allclose(prediction.counts.sum((1, 2)), 1e4, rtol=1e-4)


def test_learned_probe_keeps_its_power():
    model = predictor(train_probe=True)
    with torch.no_grad():
        model.probe_shape.mul_(3.0).add_(0.5)
    assert float(probe_photons(model.probe.detach())) == pytest.approx(1e4, rel=1e-5)
    assert model.probe.requires_grad
    assert not predictor().probe.requires_grad


def test_transmitted_amplitude_is_the_root_of_the_photon_ratio():
    assert transmitted_amplitude(torch.tensor([0.0, 25.0, 200.0]), 100.0).tolist() == pytest.approx([0, 0.5, 2**0.5])
