"""ONNX export: the exported network is the network, and models that cannot be exported are refused in one line."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from ptypinn.errors import InputError
from ptypinn.models import weights
from ptypinn.models.cnn import PtychoCNN
from ptypinn.models.group_canvas import canvas_edge
from ptypinn.models.model_file import SHIPPED_WEIGHTS, PatchModel, PatchModelHeader
from ptypinn.models.real_network import RealPatchNetwork
from ptypinn.physics.forward import FAR_FIELD
from ptypinn.physics.patches import extract_patches, shift_probe
from ptypinn.physics.propagation import to_centred
from ptypinn.stages import export as export_stage
from ptypinn.stages.export import export

SIZE = 32
DRIFT = 1.1


def make_model(gridsize, modes=1):
    """A network with outputs that are not zero, and a trained intensity scale."""
    torch.manual_seed(0)
    network = PtychoCNN(SIZE, gridsize, 8, steps=3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    y, x = torch.meshgrid(torch.arange(SIZE) - SIZE / 2, torch.arange(SIZE) - SIZE / 2, indexing="ij")
    first = torch.polar(20 * torch.exp(-(y**2 + x**2) / 64), (y**2 + x**2) / 80)
    probe = torch.stack([first * (0.1 * x) ** mode for mode in range(modes)])
    options = {"size": SIZE, "gridsize": gridsize, "width": 8, "steps": 3}
    header = PatchModelHeader("cnn", options, 1e4, 6.25, math.log(6.25 * DRIFT), provenance={"note": "made by a test"})
    return PatchModel(header, network.state_dict(), probe)


def make_groups(model, groups, seed=0):
    """Counts of groups of patterns of one object, FFT order, and the places of the patterns."""
    generator = torch.Generator().manual_seed(seed)
    offsets = 12 * torch.rand((groups, model.header.gridsize**2, 2), generator=generator)
    whole = torch.round(offsets).long()
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(48.0), indexing="ij")
    sample = torch.polar(0.8 + 0.2 * torch.cos(y / 4), 0.5 * torch.sin(x / 5))[None].expand(groups, -1, -1)
    probes = shift_probe(model.probe, (offsets - whole).flatten(0, 1))
    counts = FAR_FIELD.predict_counts(extract_patches(sample, whole, SIZE).flatten(0, 1), probes)
    return torch.poisson(counts, generator=generator).view(groups, -1, SIZE, SIZE), offsets


def make_mask():
    mask = torch.ones((SIZE, SIZE), dtype=torch.bool)
    mask[2:5, 7:9] = False
    return mask


def predict(model, counts, offsets, mask):
    predictor = model.predictor(model.probe, mask)
    with torch.no_grad():
        return predictor.patches(counts, offsets) * predictor.scaler.drift


@pytest.mark.parametrize(("gridsize", "modes"), [(1, 1), (2, 2)])
def test_real_arithmetic_gives_the_patches_of_the_network(gridsize, modes):
    model, mask = make_model(gridsize, modes), make_mask()
    counts, offsets = make_groups(model, 2)
    expected = predict(model, counts, offsets if gridsize > 1 else None, mask)
    real = RealPatchNetwork(model.predictor(model.probe, mask), SIZE if gridsize == 1 else canvas_edge(SIZE, 16))
    dirty = torch.where(mask, counts, torch.nan)
    places = (offsets,) if gridsize > 1 else ()
    with torch.no_grad():
        patches = torch.view_as_complex(real(to_centred(dirty), to_centred(mask).float(), *places).contiguous())
    torch.testing.assert_close(patches, expected, rtol=1e-3, atol=1e-3)
    assert (expected.abs() - DRIFT).abs().max() > 0.05


@pytest.mark.parametrize("gridsize", [1, 2])
def test_exported_file_gives_the_patches_of_the_network_for_any_number_of_groups(gridsize, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model, mask = make_model(gridsize), make_mask()
    exported = export(model, tmp_path / "network.onnx")
    assert list(tmp_path.iterdir()) == [exported.path]
    session = runtime.InferenceSession(exported.path, providers=["CPUExecutionProvider"])
    for groups in (1, 3):
        counts, offsets = make_groups(model, groups, seed=groups)
        feed = {"counts": to_centred(counts).numpy(), "mask": to_centred(mask).float().numpy()}
        feed |= {"offsets": offsets.numpy()} if gridsize > 1 else {}
        assert {value.name for value in session.get_inputs()} == set(feed)
        (patches,) = session.run(["object"], feed)
        expected = predict(model, counts, offsets if gridsize > 1 else None, mask)
        np.testing.assert_allclose(patches[..., 0] + 1j * patches[..., 1], expected.numpy(), rtol=1e-3, atol=1e-3)
    facts = {name: json.loads(text) for name, text in session.get_modelmeta().custom_metadata_map.items()}
    assert set(facts["ptypinn.inputs"]) == set(feed)
    assert "photons per pixel" in facts["ptypinn.inputs"]["counts"]
    assert "transmission" in facts["ptypinn.outputs"]["object"]
    assert facts["ptypinn.provenance"] == {"note": "made by a test"}
    assert facts["ptypinn.spread_px"] == (0 if gridsize == 1 else 16)


def test_what_cannot_be_exported_is_refused_in_one_line_and_nothing_is_written(tmp_path, monkeypatch):
    single, existing = make_model(1).save(tmp_path / "single.safetensors"), tmp_path / "old.onnx"
    existing.write_text("precious")
    unrolled = Path(weights.__file__).parent / SHIPPED_WEIGHTS
    cases = [
        ((single, tmp_path / "network.pt"), {}, "suffix: found '.pt', expected '.onnx'"),
        ((single, existing), {}, "a file that exists"),
        ((unrolled, tmp_path / "network.onnx"), {}, "found weights of the unrolled solver"),
        ((tmp_path / "none.safetensors", tmp_path / "network.onnx"), {}, "no such file"),
        ((single, tmp_path / "network.onnx"), {"spread_px": 10}, "--spread-px: found 10, expected none"),
        ((make_model(2), tmp_path / "network.onnx"), {"spread_px": 40}, "--spread-px: found 40, expected a distance"),
    ]
    for arguments, options, message in cases:
        with pytest.raises(InputError) as failure:
            export(*arguments, **options)
        assert message in str(failure.value)
        assert "\n" not in str(failure.value)
    monkeypatch.setattr(export_stage, "PACKAGES", ("no_such_package",))
    with pytest.raises(InputError, match=r"no package no_such_package, expected pip install 'ptypinn\[onnx\]'"):
        export(single, tmp_path / "network.onnx")
    assert existing.read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old.onnx", "single.safetensors"]
