"""Networks of other packages: provided by entry point, with options of their own that the model file carries."""

import pytest
import torch

from plug_ins import install_plug_in
from ptypinn.config.reconstruct import PatchNetworkConfig
from ptypinn.config.simulate import SimulateConfig
from ptypinn.config.train import TrainConfig
from ptypinn.errors import InputError
from ptypinn.models.model_file import load_patch_model
from ptypinn.models.registry import complete_hyperparameters, find_model, list_models, list_options
from ptypinn.stages.reconstruct import reconstruct
from ptypinn.stages.simulate import simulate
from ptypinn.stages.train import train

MODULE = '''
import torch
from torch import nn


class Stack(nn.Module):
    """A stack of convolutions of the amplitudes, whose output is the logarithm of a texture."""

    def __init__(self, size: int, gridsize: int, depth: int, kernel: int = 3) -> None:
        super().__init__()
        channels = gridsize**2
        layers = [nn.Conv2d(channels, channels, kernel, padding=kernel // 2) for _ in range(depth)]
        self.layers = nn.Sequential(*layers)

    def forward(self, amplitudes, probe, offsets, mask):
        return torch.exp(1e-3 * torch.tanh(self.layers(amplitudes).float())).to(torch.complex64)
'''
TINY = {"epochs": 1, "cluster_size": 4, "batch_size": 2, "device": "cpu", "model": "stack"}


@pytest.fixture
def stack(site):
    install_plug_in(site, "ptypinn.models", "tiny_networks", MODULE, "stack = tiny_networks:Stack")


@pytest.fixture(scope="module")
def scan():
    return simulate(SimulateConfig(size=32, object_size=(64, 64), n_patterns=20, photons=1e5, probe="disk", seed=1))


@pytest.mark.usefixtures("stack")
def test_network_of_an_installed_package_trains_with_its_own_options_and_is_restored(scan, tmp_path):
    assert {"cnn", "stack"} <= set(list_models())
    assert set(list_options("stack")) == {"depth", "kernel"}
    path = train(scan, TrainConfig(**TINY, model_options={"depth": 3}), output_dir=tmp_path)
    header = load_patch_model(path).header
    assert (header.model, dict(header.hyperparameters)) == (
        "stack",
        {"size": 32, "gridsize": 1, "depth": 3, "kernel": 3},
    )
    assert header.provenance["config"]["model_options"] == {"depth": 3}
    assert len(load_patch_model(path)._network().layers) == 3
    recon = reconstruct(scan, path, PatchNetworkConfig(device="cpu"))
    assert torch.isfinite(torch.from_numpy(recon.object)).all()


@pytest.mark.usefixtures("stack")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model_options": {"depth": 3, "width": 32}}, r"--model-options: width: found 32, expected --width"),
        ({"model_options": {"depth": 3, "heads": 2}}, r"--model-options: heads: found 2, expected .*depth, kernel"),
        ({"model_options": {}}, r"--model-options: depth: found nothing, expected a value.*stack needs"),
        ({"model_options": {"depth": 3}, "width": 32}, r"--width: found 32, expected options of the network stack"),
        ({"model_options": {"depth": "three"}}, r"stack: found .*, expected values that the network takes"),
    ],
)
def test_options_that_a_network_does_not_take_are_refused_by_name(scan, tmp_path, options, message):
    with pytest.raises(InputError, match=message) as failure:
        train(scan, TrainConfig(**TINY, **options), output_dir=tmp_path)
    assert "\n" not in str(failure.value)


def test_network_of_a_package_that_is_not_installed_is_refused_with_the_names_of_the_others(scan, tmp_path):
    with pytest.raises(InputError, match=r"--model: found 'stack', expected one of cnn; is the package installed"):
        train(scan, TrainConfig(**TINY), output_dir=tmp_path)


def test_package_that_fails_to_import_and_two_of_one_name_give_one_line(site, stack):
    install_plug_in(
        site, "ptypinn.models", "broken_networks", "raise OSError('no libfoo\\nmore')", "broken = broken_networks:Net"
    )
    with pytest.raises(InputError, match=r"the plug-in broken .*OSError: no libfoo more") as failure:
        find_model("broken")
    assert "\n" not in str(failure.value)
    install_plug_in(site, "ptypinn.models", "other_networks", MODULE, "stack = other_networks:Stack")
    with pytest.raises(InputError, match=r"'stack' in several packages \(other_networks:Stack, tiny_networks:Stack\)"):
        find_model("stack")


def test_all_arguments_are_recorded_defaults_included():
    expected = {"size": 64, "gridsize": 2, "width": 16, "steps": 4}
    assert complete_hyperparameters("cnn", 64, 2, {"width": 16}) == expected
