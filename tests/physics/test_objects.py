"""Laws of simulated samples: ranges, determinism, the features that were asked for."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.physics.objects import NATURAL_IMAGES, TEXTURES, compose_object, gaussian_random_field, natural_image

AMPLITUDES = st.tuples(st.floats(0, 3), st.floats(0, 3))
PHASES = st.tuples(st.floats(-3, 3), st.floats(-3, 3))


@pytest.mark.parametrize("kind", sorted(TEXTURES))
@pytest.mark.parametrize("shape", [(96, 96), (64, 111)])
def test_every_texture_fills_its_range_and_follows_the_seed(kind, shape):
    texture, again, other = (TEXTURES[kind](*shape, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert texture.shape == shape and texture.dtype == torch.float32
    assert 0 <= texture.min() < 0.1 and 0.9 < texture.max() <= 1
    assert texture.std() > 0.1
    assert torch.equal(texture, again) and not torch.equal(texture, other)


@pytest.mark.parametrize("kind", ["lines", "dead_leaves", "grf"])
def test_random_textures_are_as_rich_at_the_edges_as_in_the_middle(kind):
    textures = torch.stack([TEXTURES[kind](96, 96, np.random.default_rng(seed)) for seed in range(12)])
    edge = torch.cat([textures[:, :12], textures[:, -12:]], 1)
    assert 0.75 < edge.std() / textures[:, 36:60].std() < 1.33
    assert abs(edge.mean() - textures[:, 36:60].mean()) < 0.12


def test_a_longer_correlation_makes_a_smoother_field():
    def roughness(length):
        field = gaussian_random_field(128, 128, np.random.default_rng(0), length)
        return float(field.diff(dim=0).square().mean().sqrt() / field.std())

    assert roughness(32.0) < 0.6 * roughness(8.0)


@pytest.mark.parametrize("name", NATURAL_IMAGES)
def test_natural_images_come_with_the_package(name):
    image = natural_image(40, 64, np.random.default_rng(0), name)
    assert image.shape == (40, 64) and image.std() > 0.02


@given(AMPLITUDES, PHASES)
def test_objects_stay_in_the_ranges_that_were_asked_for(amplitudes, phases):
    textures = torch.rand((2, 12, 10), generator=torch.Generator().manual_seed(0))
    textures[:, 0, 0], textures[:, 0, 1] = 0, 1
    sample = compose_object(textures[0], textures[1], amplitudes, phases)
    modulus = sample.abs()
    assert modulus[0, 0] == pytest.approx(amplitudes[0], abs=1e-5)
    assert modulus[0, 1] == pytest.approx(amplitudes[1], abs=1e-5)
    assert min(amplitudes) - 1e-5 <= modulus.min() and modulus.max() <= max(amplitudes) + 1e-5
    if min(amplitudes) > 0.01:
        assert min(phases) - 1e-4 <= sample.angle().min() and sample.angle().max() <= max(phases) + 1e-4


@given(st.floats(0.05, 10), AMPLITUDES.filter(lambda pair: max(pair) > 0.1))
def test_the_mean_amplitude_is_the_one_asked_for_even_above_one(mean, amplitudes):
    texture = torch.rand((12, 10), generator=torch.Generator().manual_seed(1))
    sample = compose_object(texture, texture, amplitudes, (0.0, 0.0), amplitude_mean=mean)
    assert sample.abs().mean() == pytest.approx(mean, rel=1e-5)
    assert not sample.imag.any()
