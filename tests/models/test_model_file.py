"""The model file: exact round trip, nothing executed, one line for a bad file."""

import math
import resource
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from ptypinn.errors import InputError
from ptypinn.models.cnn import PtychoCNN
from ptypinn.models.model_file import PatchModel, PatchModelHeader, load_patch_model
from ptypinn.physics.optics import probe_photons


def make_model(drift=1.0, **hyperparameters):
    options = {"size": 32, "gridsize": 1, "width": 16, **hyperparameters}
    network = PtychoCNN(**options)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    probe = torch.randn((2, 32, 32), dtype=torch.complex64, generator=torch.Generator().manual_seed(1))
    header = PatchModelHeader("cnn", options, 1e4, 6.25, math.log(6.25 * drift), provenance={"note": "made by a test"})
    return PatchModel(header, network.state_dict(), probe)


def test_round_trip_is_exact_and_gives_the_same_patches(tmp_path):
    model = make_model(drift=1.1)
    loaded = load_patch_model(model.save(tmp_path / "model.safetensors"))
    assert loaded.header == model.header
    assert torch.equal(loaded.probe, model.probe)
    counts, mask = torch.rand(2, 1, 32, 32) * 50, torch.ones(32, 32, dtype=torch.bool)
    with torch.no_grad():
        first, second = (b.predictor(model.probe, mask).patches(counts) for b in (model, loaded))
    assert torch.equal(first, second)
    assert list(tmp_path.iterdir()) == [tmp_path / "model.safetensors"]


def test_input_scale_follows_the_power_of_the_probe_and_keeps_what_was_learned():
    model = make_model(drift=1.2)
    predictor = model.predictor(model.probe * 10, torch.ones(32, 32, dtype=torch.bool))
    assert predictor.scaler.initial_scale == pytest.approx(62.5)
    assert predictor.scaler.drift == pytest.approx(1.2, rel=1e-5)
    assert predictor.photons == pytest.approx(100 * float(probe_photons(model.probe)), rel=1e-5)
    assert not any(parameter.requires_grad for parameter in predictor.parameters())


def test_bad_files_are_named_in_one_line(tmp_path):
    whole = make_model().save(tmp_path / "model.safetensors").read_bytes()
    truncated, other, text = tmp_path / "truncated", tmp_path / "other", tmp_path / "text"
    truncated.write_bytes(whole[: len(whole) // 2])
    save_file({"a": torch.ones(2)}, other)
    text.write_text("not a model")
    for path in (truncated, other, text, tmp_path / "missing", tmp_path):
        with pytest.raises(InputError, match=path.name) as failure:
            load_patch_model(path)
        assert "\n" not in str(failure.value)


def test_weights_that_do_not_fit_the_header_are_refused():
    model = make_model()
    wrong = PatchModel(make_model(width=32).header, model.weights, model.probe)
    unknown = PatchModel(PatchModelHeader("other", {}, 1.0, 1.0, 0.0), model.weights, model.probe)
    for bad in (wrong, unknown):
        with pytest.raises(InputError, match=r"^model: "):
            bad.predictor(model.probe, torch.ones(32, 32, dtype=torch.bool))


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("width", 4097, "found 4097, expected a number up to 4096"),
        ("width", 4096, "size mismatch|Error"),
        ("width", "wide", "weights that fit"),
        ("width", [1, {"a": 2}], "weights that fit"),
        ("width", -3, "weights that fit"),
    ],
)
def test_what_a_header_declares_takes_no_memory_before_it_is_refused(name, value, reason):
    model = make_model()
    header = replace(model.header, hyperparameters={**model.header.hyperparameters, name: value})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=reason):
        PatchModel(header, model.weights, model.probe)._network()
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown_mb < 200
