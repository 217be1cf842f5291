"""The learned solver's network and what it sees: local, without scale, and silent before training."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.models.unrolled import (
    CHANNELS,
    EARLIER_LAYERS,
    STRIDE,
    UnrolledCorrection,
    compute_canvas_features,
    to_object_update,
)

WIDTHS = (8, 8, 8, 8)


def restless(seed=0):
    """A network whose every weight matters."""
    torch.manual_seed(seed)
    network = UnrolledCorrection(CHANNELS, widths=WIDTHS).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


def state(height=72, width=56, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def wave(scale):
        parts = torch.randn((2, height, width), generator=generator)
        return scale * torch.complex(parts[0], parts[1])

    illumination = 1e4 * torch.rand((height, width), generator=generator)
    return {"canvas": 1 + wave(0.1), "descent": wave(0.02), "velocity": wave(0.03), "illumination": illumination}


def test_untrained_network_changes_nothing():
    maps = torch.randn(1, CHANNELS, 32, 48)
    assert not UnrolledCorrection(CHANNELS, widths=WIDTHS)(maps).any()


@pytest.mark.parametrize("widths", [(8, 8, 8), (8, 8, 0, 8)])
def test_widths_that_make_no_network_are_refused(widths):
    with pytest.raises(ValueError, match="four positive widths"):
        UnrolledCorrection(CHANNELS, widths=widths)


def test_tile_of_the_canvas_gives_what_the_whole_canvas_gives_there():
    network, maps = restless(), torch.randn(1, CHANNELS, 512, 32)
    with torch.inference_mode():
        whole, tile = network(maps), network(maps[:, :, 64:448])
    # What lies further than the network sees makes no difference at all.
    torch.testing.assert_close(tile[:, :, 160:-160], whole[:, :, 224:-224], rtol=0, atol=1e-5)
    assert not torch.allclose(tile[:, :, :16], whole[:, :, 64:80])


@given(st.floats(0.05, 20.0), st.integers(0, 5))
def test_same_object_in_another_unit_looks_the_same(factor, seed):
    unscaled = state(seed=seed)
    original = compute_canvas_features(**unscaled, peak=1e3, amplitude=1.0)
    moving = {name: unscaled[name] * factor for name in ("canvas", "descent", "velocity")}
    illumination = unscaled["illumination"] / factor**2
    scaled = compute_canvas_features(**moving, illumination=illumination, peak=1e3 / factor**2, amplitude=factor)
    torch.testing.assert_close(scaled.maps, original.maps, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(scaled.unit, original.unit * factor, rtol=1e-4, atol=1e-6 * factor)


def test_maps_are_padded_to_whole_tiles_and_the_unit_is_not():
    features = compute_canvas_features(**state(50, 33), peak=1e3, amplitude=1.0)
    assert features.maps.shape == (1, CHANNELS, 64, 48)
    assert features.maps.shape[-1] % STRIDE == 0
    assert features.unit.shape == (50, 33)
    assert torch.isfinite(features.maps).all()


def test_nothing_changes_where_nothing_shines():
    dark = state()
    dark["illumination"][:20] = 0
    features = compute_canvas_features(**dark, peak=1e3, amplitude=1.0)
    change = to_object_update(restless()(features.maps), features.unit)
    assert not change[:20].any()
    assert change[20:].abs().min() > 0


def test_a_correction_holds_no_detail_that_no_pattern_sees():
    output = torch.randn(1, 2, 256, 256, generator=torch.Generator().manual_seed(0))
    change = to_object_update(output, torch.ones(256, 256))
    frequency = torch.fft.fftfreq(256).abs()
    power = torch.fft.fft2(change).abs().square()
    fine = (frequency[:, None] > 0.42) | (frequency > 0.42)
    coarse = (frequency[:, None] < 0.15) & (frequency < 0.15)
    assert power[fine].mean() < 1e-2 * power[coarse].mean()
    assert power[coarse].mean() == pytest.approx(2 * 256**2, rel=0.1)
    flat = to_object_update(torch.ones(1, 2, 64, 48), torch.full((64, 48), 0.5))
    torch.testing.assert_close(flat, torch.full((64, 48), 0.5 + 0.5j), rtol=1e-5, atol=1e-6)


def test_more_light_means_a_smaller_unit():
    still = state()
    still["descent"], still["velocity"] = torch.zeros_like(still["canvas"]), torch.zeros_like(still["canvas"])
    units = []
    for dose in (1.0, 100.0):
        illumination = torch.full_like(still["illumination"], 1e4 * dose)
        units.append(
            compute_canvas_features(
                still["canvas"], still["descent"], still["velocity"], illumination, 1e3 * dose, 1.0
            ).unit
        )
    torch.testing.assert_close(units[0] / units[1], torch.full_like(units[0], 10.0), rtol=1e-3, atol=0)


def test_layers_of_earlier_names_are_loaded_alone_and_inside_a_module():
    network = restless()
    earlier = {new: old for old, new in EARLIER_LAYERS.items()}
    state = {}
    for name, value in network.state_dict().items():
        layer, _, rest = name.partition(".")
        state[f"{earlier.get(layer, layer)}.{rest}"] = value
    assert any(name.startswith("enter.") for name in state)
    other = restless(seed=1)
    other.load_state_dict(dict(state))
    nested = torch.nn.ModuleDict({"module": restless(seed=2)})
    nested.load_state_dict({f"module.{name}": value for name, value in state.items()})
    for name, value in network.state_dict().items():
        assert torch.equal(other.state_dict()[name], value)
        assert torch.equal(nested["module"].state_dict()[name], value)
