"""States to learn from: shapes, determinism, the truth in their gauge, and the symmetries that augment them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ptypinn.models.blocks import STRIDE
from ptypinn.models.unrolled import CHANNELS, UnrolledCorrection, compute_canvas_features
from ptypinn.training import solver_states as states
from ptypinn.training.pretrain_data import EpochSampler, ReplayLoader
from ptypinn.training.pretrain_module import FLOOR, compute_gain
from ptypinn.training.solver_states import IMAGINARY, align_truth, draw_states, transform_maps


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = UnrolledCorrection(CHANNELS, widths=(4, 4, 4, 4))
    nn.init.normal_(network.head.weight, std=0.05)
    return network.eval()


def noise(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.complex(torch.randn(*shape, generator=generator), torch.randn(*shape, generator=generator))


@pytest.mark.parametrize("guessed", [0.0, 1.0])
def test_states_are_finite_and_a_pure_function_of_seed_and_weights(tiny, network, guessed):
    config = replace(
        tiny, states_per_scan=2, max_rounds_known_probe=3, max_rounds_guessed_probe=3, guessed_probe_fraction=guessed
    )
    first, again, other = (draw_states(seed, network, config) for seed in ((0, 0, 4), (0, 0, 4), (0, 0, 5)))
    assert first["maps"].shape == (2, CHANNELS, 64, 64)
    assert first["missing"].shape == (2, 2, 64, 64)
    assert first["unit"].shape == first["weight"].shape == (2, 1, 64, 64)
    for name, value in first.items():
        assert torch.isfinite(value).all(), name
        assert torch.equal(value, again[name]), name
        assert not torch.equal(value, other[name]), name
    assert 0 <= first["weight"].min() < first["weight"].max() <= 1
    changed = draw_states((0, 0, 4), UnrolledCorrection(CHANNELS, widths=(4, 4, 4, 4)), config)
    assert not torch.equal(changed["maps"], first["maps"])


def test_a_state_that_is_lost_weighs_nothing(tiny, network, monkeypatch):
    monkeypatch.setattr(states, "align_truth", lambda truth, *_, **__: truth * torch.nan)
    batch = draw_states((0, 0, 4), network, tiny)
    assert all(not torch.count_nonzero(batch[name]) for name in ("maps", "unit", "missing", "weight"))
    output = torch.ones(1, 2, 64, 64, requires_grad=True)
    gain = compute_gain(output * batch["unit"], batch, 0.5)
    gain.sum().backward()
    assert float(gain.detach()) == pytest.approx(1.0)
    assert not torch.count_nonzero(output.grad)


@given(st.floats(-3.0, 3.0), st.floats(-0.4, 0.4), st.floats(-0.4, 0.4), st.booleans())
def test_aligning_takes_the_phase_and_where_asked_the_ramp_of_the_image(phase, slope_y, slope_x, ramp):
    truth = 1 + 0.2 * noise(48, 40)
    y, x = torch.arange(48.0)[:, None], torch.arange(40.0)
    turn = phase + (slope_y * y + slope_x * x if ramp else torch.zeros(48, 40))
    image = truth * torch.polar(torch.ones_like(turn), turn)
    weight = torch.linspace(0.1, 1, 48)[:, None].expand(48, 40)
    torch.testing.assert_close(align_truth(truth, image, weight, ramp=ramp), image, rtol=0, atol=1e-4)


def test_aligning_leaves_a_ramp_alone_where_it_is_not_asked_to():
    truth = 1 + 0.2 * noise(32, 32)
    ramp = torch.polar(torch.ones(32, 32), 0.3 * torch.arange(32.0).expand(32, 32))
    aligned = align_truth(truth, truth * ramp, torch.ones(32, 32), ramp=False)
    torch.testing.assert_close((aligned / truth).angle().std(), torch.tensor(0.0), rtol=0, atol=1e-4)


def stacked(canvas, descent, velocity, illumination, missing):
    features = compute_canvas_features(canvas, descent, velocity, illumination, 3.0, 1.1)
    parts = [
        features.maps[0],
        features.unit[None],
        torch.view_as_real(missing).movedim(-1, 0),
        (illumination / (illumination + 1))[None],
    ]
    return torch.cat(parts)


@given(st.integers(0, 3), st.booleans(), st.booleans())
def test_turned_states_are_the_states_of_the_turned_scan(turns, flips, conjugates):
    fields = [noise(2 * STRIDE, 2 * STRIDE, seed=seed) for seed in range(4)]
    illumination = 10 * noise(2 * STRIDE, 2 * STRIDE, seed=9).abs().square()

    def moved(image):
        image = torch.rot90(image, turns, (-2, -1))
        image = image.flip(-1) if flips else image
        return image.conj().resolve_conj() if conjugates and image.is_complex() else image

    *features, missing = fields
    transformed = transform_maps(stacked(*features, illumination, missing), turns, flipped=flips, conjugated=conjugates)
    expected = stacked(*map(moved, features), moved(illumination), moved(missing))
    torch.testing.assert_close(transformed, expected, rtol=1e-4, atol=1e-4)
    assert len(IMAGINARY) == len(expected)


@given(st.integers(0, 2**31))
def test_windows_begin_at_multiples_of_the_stride(seed):
    image = torch.arange(96 * 96.0).reshape(1, 96, 96)
    cut = states._window(image, 64, np.random.default_rng(seed))
    assert cut.shape == (1, 64, 64)
    top, left = divmod(int(cut[0, 0, 0]), 96)
    assert top % STRIDE == left % STRIDE == 0


@given(st.integers(0, 1000), st.floats(0.0, 2.0))
def test_gain_is_1_for_no_correction_and_the_floor_for_the_perfect_one(seed, detail_weight):
    missing = torch.view_as_real(noise(3, 32, 32, seed=seed)).movedim(-1, 1) * torch.tensor([0.01, 0.1, 1.0]).view(
        3, 1, 1, 1
    )
    unit, weight = torch.full((3, 1, 32, 32), 0.3), torch.rand(3, 1, 32, 32)
    batch = {"maps": missing, "unit": unit, "missing": missing, "weight": weight, "power": torch.ones(3)}
    torch.testing.assert_close(compute_gain(torch.zeros_like(missing), batch, detail_weight), torch.ones(3))
    perfect = compute_gain(missing, batch, detail_weight)
    assert (perfect < 2 * FLOOR / torch.tensor([0.01, 0.1, 1.0])).all()
    assert (perfect > 0).all()
    half, worse = (compute_gain(factor * missing, batch, detail_weight) for factor in (0.5, -1.0))
    assert (half > perfect).all()
    assert (half < 0.6).all()
    assert (worse > 1.9).all()


def rows(*numbers):
    def image(channels):
        return torch.stack([torch.full((channels, 16, 16), float(number)) for number in numbers])

    power = torch.tensor([float(number) for number in numbers])
    return {"maps": image(CHANNELS), "unit": image(1), "missing": image(2), "weight": image(1), "power": power}


@given(st.integers(0, 3), st.integers(1, 4), st.integers(0, 5))
def test_every_fresh_batch_is_followed_by_states_seen_in_the_epoch(replays, batches, epoch):
    sampler = EpochSampler(2 * batches)
    sampler.set_epoch(epoch)
    fresh = [rows(2 * number + 1, 2 * number + 2) for number in range(batches)]
    loader = ReplayLoader(fresh, sampler, replays, seed=0)
    drawn, again = list(loader), list(loader)
    assert len(drawn) == len(loader) == batches * (1 + replays)
    for number, (batch, same) in enumerate(zip(drawn, again, strict=True)):
        assert all(torch.equal(batch[name], same[name]) for name in batch)
        newest, is_fresh = number // (1 + replays), number % (1 + replays) == 0
        powers = set(batch["power"].tolist())
        assert powers == set(fresh[newest]["power"].tolist()) if is_fresh else powers <= set(range(1, 2 * newest + 3))
        for name in ("maps", "unit", "missing", "weight"):
            assert torch.equal(batch[name].abs().amax((1, 2, 3)), batch["power"]), name
