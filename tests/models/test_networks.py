"""Laws of the networks, the heads and the predictor."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ptypinn.models.blocks import texture, transmitted_amplitude
from ptypinn.models.cnn import PtychoCNN
from ptypinn.models.features import projected_patches, unit_energy
from ptypinn.models.patch_predictor import PatchPredictor
from ptypinn.physics.forward import FAR_FIELD
from ptypinn.physics.optics import probe_photons
from ptypinn.physics.propagation import to_centred
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


@pytest.mark.parametrize("size", [32, 64, 128, 256])
@pytest.mark.parametrize("gridsize", [1, 2])
@pytest.mark.parametrize("inputs", ["projection", "amplitude"])
def test_network_starts_at_vacuum_for_every_size_and_group(size, gridsize, inputs):
    network = PtychoCNN(size, gridsize, 16, inputs)
    with torch.no_grad():
        textures = network(torch.rand(1, gridsize**2, size, size), curved_probe(size))
    assert torch.equal(textures, torch.ones(1, gridsize**2, size, size, dtype=torch.complex64))


@pytest.mark.parametrize("size", [48, 16])
def test_other_sizes_are_refused(size):
    with pytest.raises(ValueError, match="power of two"):
        PtychoCNN(size)


@pytest.mark.parametrize("inputs", ["projection", "amplitude"])
def test_network_is_blind_to_dose_and_probe_scale_but_not_to_the_pattern(inputs):
    network, probe = awake(32, 2, 16, inputs), curved_probe()
    amplitudes = torch.rand((2, 4, 32, 32), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        textures = network(amplitudes, probe)
        torch.testing.assert_close(network(1000 * amplitudes, 1e-3 * probe), textures, rtol=1e-3, atol=1e-4)
        assert (network(amplitudes.flip(-1), probe) - textures).abs().max() > 1e-2


def test_samples_of_a_batch_do_not_see_each_other():
    network, probe = awake(32, 1, 16), curved_probe()
    amplitudes = torch.rand((3, 1, 32, 32), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(network(amplitudes, probe)[1:2], network(amplitudes[1:2], probe))


@given(st.floats(-50, 50, width=32), st.floats(-20, 20, width=32))
def test_head_is_unbounded_and_never_saturates(modulus, phase):
    output = torch.tensor([[modulus]], requires_grad=True)
    value = texture(output, torch.tensor([[phase]]))
    torch.testing.assert_close(value / value.abs(), torch.polar(torch.ones(1, 1), torch.tensor([[phase]])))
    if modulus > -10:
        (slope,) = torch.autograd.grad(value.abs().sum(), output)
        assert slope.item() > 0
    if modulus > 10:
        assert value.abs().item() > modulus


def test_projection_finds_the_object_where_vacuum_is_the_answer_and_a_phase_step_elsewhere():
    probe = curved_probe()
    vacuum = to_centred(FAR_FIELD.predict_counts(torch.ones(1, 32, 32, dtype=torch.complex64), probe[None])).sqrt()
    assert projected_patches(unit_energy(vacuum[None]), probe).abs().max() < 1e-3
    sample = torch.ones(1, 32, 32, dtype=torch.complex64)
    sample[:, :, 16:] = torch.polar(torch.tensor(1.0), torch.tensor(0.4))
    patch = projected_patches(
        unit_energy(to_centred(FAR_FIELD.predict_counts(sample, probe[None])).sqrt()[None]), probe
    )[0, 0]
    intensity = probe[0].abs().square()
    left, right = (
        (patch.imag * intensity)[:, part].sum() / intensity[:, part].sum() for part in (slice(0, 15), slice(17, 32))
    )
    assert right - left > 0.1


def predictor(photons=1e4, gridsize=1, modes=1, mask=None, trainable=False, train_probe=False, counts_energy=None):
    probe = curved_probe(photons=photons, modes=modes)
    scaler = IntensityScaler(compute_input_scale(counts_energy or photons, 32), trainable)
    mask = torch.ones(32, 32, dtype=torch.bool) if mask is None else mask
    return PatchPredictor(awake(32, gridsize, 16), scaler, probe, mask, train_probe)


@settings(max_examples=8)
@given(SEEDS, st.sampled_from([1e-2, 1e3]))
def test_patches_keep_when_probe_and_dose_change_together_and_grow_with_dose_alone(seed, dose):
    counts = torch.rand((2, 1, 32, 32), generator=torch.Generator().manual_seed(seed)) * 100
    with torch.no_grad():
        reference = predictor().patches(counts)
        together = predictor(1e4 * dose).patches(counts * dose)
        alone = predictor().patches(counts * dose)
    torch.testing.assert_close(together, reference, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(alone, reference * dose**0.5, rtol=1e-3, atol=1e-4 * dose**0.5)


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
