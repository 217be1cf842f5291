"""A study runs with any network that is registered, not with the one that the package carries alone."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ptypinn.config.simulate import SimulateConfig
from ptypinn.config.studies import SimLinesConfig
from ptypinn.config.train import TrainConfig
from ptypinn.errors import InputError
from ptypinn.models import MODELS
from ptypinn.models.model_file import load_patch_model
from ptypinn.stages.simulate import simulate
from ptypinn.stages.train import train
from ptypinn.studies.sim_lines import sim_lines

TINY = SimLinesConfig(
    scenario="gs2_custom",
    size=32,
    object_size=90,
    base_patterns=12,
    buffer_px=2,
    n_groups=8,
    epochs=2,
    photons=1e6,
    device="cpu",
    threads=1,
)


class OneLayer(nn.Module):
    """One convolution of the amplitudes, whose output is the logarithm of a texture."""

    def __init__(self, size: int, gridsize: int, kernel: int = 5) -> None:
        super().__init__()
        self.conv = nn.Conv2d(gridsize**2, gridsize**2, kernel, padding=kernel // 2)
        nn.init.normal_(self.conv.weight, std=1e-3)

    def forward(self, amplitudes: Tensor, probe: Tensor, offsets: Tensor, mask: Tensor) -> Tensor:
        """Textures (batch, channel, y, x) from centred amplitudes of the same shape."""
        return torch.exp(torch.tanh(self.conv(amplitudes).float())).to(torch.complex64)


@pytest.fixture
def one_layer(monkeypatch):
    monkeypatch.setitem(MODELS, "one_layer", OneLayer)


@pytest.mark.usefixtures("one_layer")
def test_a_study_runs_with_another_network(tmp_path):
    run = sim_lines(replace(TINY, model="one_layer"), output_dir=tmp_path)
    header = load_patch_model(run.model).header
    assert (header.model, header.size, header.gridsize) == ("one_layer", 32, 2)
    assert header.hyperparameters == {"size": 32, "gridsize": 2, "kernel": 5}
    record = json.loads(json.dumps(run.metadata.as_json(), allow_nan=False))
    assert record["parameters"]["model"] == {"value": "one_layer", "origin": "argument"}
    assert "model" in {override["parameter"] for override in record["overrides"]}
    assert record["forward_pass_diagnostics"]["scale_match_pct"] > 99.99
    assert record["forward_pass_diagnostics"]["output_vs_truth_ratio"] == pytest.approx(1, abs=0.15)
    assert not record["missing"]
    assert np.isfinite(run.recon.object).all()
    again = sim_lines(replace(TINY, model="one_layer"), output_dir=tmp_path)
    assert all(step.reused for step in again.steps.values())


@pytest.mark.usefixtures("one_layer")
def test_another_network_is_chosen_on_the_command_line(tmp_path, monkeypatch):
    from ptypinn.cli.main import main

    monkeypatch.setattr("ptypinn.cli.outputs.write_outputs", lambda *_: None)
    flags = [f"--{name}={value}" for name, value in vars(TINY).items() if value is not None and name != "reason"]
    main(["study", "sim-lines", "--output-dir", str(tmp_path / "out"), *flags, "--model", "one_layer", "--quiet"])
    record = json.loads((tmp_path / "out" / "run_metadata.json").read_text())
    assert record["parameters"]["model"] == {"value": "one_layer", "origin": "flag"}


def test_a_network_that_nobody_registered_is_refused_with_those_there_are(tmp_path):
    scan = simulate(SimulateConfig(size=32, object_size=(64, 64), n_patterns=20))
    with pytest.raises(InputError, match="--model: found 'oracle', expected one of cnn"):
        train(scan, TrainConfig(model="oracle", width=16, device="cpu"), output_dir=tmp_path)
    assert not list(tmp_path.iterdir())
