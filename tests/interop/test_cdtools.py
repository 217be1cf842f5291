"""cdtools opens our CXI and predicts its counts with our object; we read what it writes."""

import numpy as np
import pytest
import torch

from ptypinn.config.simulate import SimulateConfig
from ptypinn.io.load_save import load, save
from ptypinn.stages.simulate import simulate

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore")]
cdtools = pytest.importorskip("cdtools")


@pytest.fixture(params=["cxi", "native"])
def dataset(request, scan, tmp_path):
    return cdtools.datasets.Ptycho2DDataset.from_cxi(save(scan, tmp_path / "scan.cxi", request.param))


def test_it_finds_patterns_mask_and_units(dataset, scan):
    np.testing.assert_array_equal(dataset.patterns, scan.counts)
    np.testing.assert_array_equal(dataset.mask, scan.mask)
    assert float(dataset.wavelength) == pytest.approx(scan.wavelength_m, rel=1e-6)
    assert float(dataset.detector_geometry["distance"]) == pytest.approx(scan.detector_distance_m, rel=1e-6)


def test_its_model_predicts_our_counts_with_our_object_and_probe(dataset, scan):
    model = cdtools.models.SimplePtycho.from_dataset(dataset)
    low = scan.positions_px.min(0).astype(int)
    height, width = model.obj.shape
    with torch.no_grad():
        model.obj[:] = torch.from_numpy(scan.truth[low[0] : low[0] + height, low[1] : low[1] + width])
        model.probe[:] = torch.from_numpy(scan.probe[0]) / model.probe_norm
        predicted = model.forward(*dataset[:][0]).numpy()
    error = np.abs(predicted - scan.counts)[:, scan.mask]
    assert error.max() < 1e-3 * scan.counts.max()


def test_its_reconstruction_is_our_object_pixel_for_pixel(dataset, scan):
    """From our object, its optimiser stays there; from a conjugate one, it does not call that a solution."""
    model = cdtools.models.SimplePtycho.from_dataset(dataset)
    low = scan.positions_px.min(0).astype(int)
    inside = scan.truth[low[0] : low[0] + model.obj.shape[0], low[1] : low[1] + model.obj.shape[1]]
    losses = {}
    for name, start in (("same", inside), ("conjugate", inside.conj()), ("transposed about", inside[::-1])):
        with torch.no_grad():
            model.obj[:] = torch.from_numpy(np.ascontiguousarray(start))
            model.probe[:] = torch.from_numpy(scan.probe[0]) / model.probe_norm
        losses[name] = next(iter(model.Adam_optimize(1, dataset, lr=1e-9)))
    assert losses["same"] < 1e-3 * min(losses["conjugate"], losses["transposed about"])


def test_we_read_what_it_writes(dataset, scan, tmp_path):
    dataset.to_cxi(tmp_path / "theirs.cxi")
    back = load(tmp_path / "theirs.cxi")
    np.testing.assert_array_equal(back.counts, scan.counts)
    np.testing.assert_array_equal(back.mask, scan.mask)
    np.testing.assert_allclose(back.positions_px, scan.positions_px, atol=1e-4)
    assert back.energy_eV == pytest.approx(scan.energy_eV, rel=1e-5)
    assert back.pixel_size_m == pytest.approx(scan.pixel_size_m, rel=1e-5)


def test_its_model_of_the_near_field_predicts_our_images_with_our_object_and_probe(tmp_path):
    focus_m = 4e-3
    optics = {"energy_eV": 12400.0, "detector_distance_m": 1.0, "detector_pixel_m": 55e-6, "focus_distance_m": focus_m}
    light = {"probe": "disk", "probe_diameter_px": 24.0, "curvature_rad": 3.0, "photons": 1e8}
    positions = {"size": 48, "object_size": (96, 88), "n_patterns": 12, "integer_positions": True}
    scan = simulate(SimulateConfig(**optics, **light, **positions, object="dead_leaves"))
    dataset = cdtools.datasets.Ptycho2DDataset.from_cxi(save(scan, tmp_path / "scan.cxi", "cxi"))
    model = cdtools.models.FancyPtycho.from_dataset(
        dataset, near_field=True, propagation_distance=focus_m, obj_padding=0, probe_support_radius=None
    )
    low = scan.positions_px.min(0).astype(int)
    height, width = model.obj.shape
    with torch.no_grad():
        model.obj[:] = torch.from_numpy(scan.truth[low[0] : low[0] + height, low[1] : low[1] + width])
        model.probe[:] = torch.from_numpy(scan.probe) / model.probe_norm
        predicted = model.forward(*dataset[:][0]).numpy()
    noise = np.sqrt(np.maximum(predicted, 1))
    assert np.abs((predicted - scan.counts[:]) / noise).mean() < 1.0  # counting noise alone makes it 0.8
    assert predicted.sum() == pytest.approx(scan.counts[:].sum(), rel=1e-3)
