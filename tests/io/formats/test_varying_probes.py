"""Probes that vary over the scan, in files of other programs: they predict the same patterns here, and come back."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from tests.io.formats.test_ptychoshelves import write

from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.io.load_save import load, load_reconstruction, save
from ptypinn.metrics.data_fit import predict_batches
from ptypinn.physics.propagation import to_centred
from ptypinn.stages.convert import convert, list_lost_fields


@pytest.fixture(scope="module")
def scene(by_hand):
    return by_hand.Scene()


def draw_orders(scene, modes, orders=3):
    """Return images of several orders, whose first is the scene's probe, and their weights at every position."""
    rng = np.random.default_rng(2)
    images = np.zeros((orders, modes, *scene.probe.shape[1:]), np.complex64)
    images[0] = scene.probe[:modes]
    images[1:, 0] = np.abs(scene.probe[0]) * np.exp(1j * rng.normal(size=(orders - 1, 1, 1)))
    frames = len(scene.corners)
    weights = np.column_stack([1 + 0.1 * rng.normal(size=frames), 0.3 * rng.normal(size=(frames, orders - 1))])
    return images, weights


def predict_there(scene, images, weights):
    """Return the counts that the other programs expect."""
    patterns = []
    for corner, weight in zip(scene.corners, weights, strict=True):
        probe = images[0].astype(np.complex128)
        probe[0] = np.einsum("k,kyx->yx", weight, images[:, 0])
        patterns.append(scene.predict(scene.object, probe, corner[None])[0])
    return np.stack(patterns)


def predict_here(recon):
    """Return the counts that a reconstruction expects, as the solvers have them."""
    shape = (len(recon.positions_px), *recon.probe.shape[1:])
    scan = recon.scan_part(ScanData(np.ones(shape, np.uint16), recon.positions_px, recon.probe))
    batches = predict_batches(scan, recon.object, recon.probe, recon.positions_px, 64, "cpu")
    return np.concatenate([to_centred(predicted).numpy() for _, _, predicted in batches])


def product(by_hand, scene, path, images, weights):
    """Write a product with coherent modes."""
    fields = {"probe": images, "opr_weights": weights}
    if path.suffix == ".npz":
        np.savez(path, **{**by_hand.product_fields(scene), **fields})
        return path
    by_hand.product_hdf5(path, scene)
    with h5py.File(path, "r+") as file:
        file.attrs["probe_photon_count"] = np.sum(np.abs(images[0].astype(np.complex128)) ** 2)
        del file["probe"]
        for name, values in fields.items():
            file[name] = values
    return path


@pytest.mark.parametrize("suffix", [".h5", ".npz"])
@pytest.mark.parametrize("modes", [1, 2])
def test_a_product_predicts_the_patterns_of_ptychodus_and_comes_back(by_hand, scene, tmp_path, suffix, modes):
    images, weights = draw_orders(scene, modes)
    path = product(by_hand, scene, tmp_path / f"product{suffix}", images, weights)
    if suffix == ".npz":
        fields = dict(np.load(path))
        fields["probe_photon_count"] = np.sum(np.abs(images[0].astype(np.complex128)) ** 2)
        np.savez(path, **fields)
    recon = load_reconstruction(path)
    expected = predict_there(scene, images, weights)
    assert np.abs(predict_here(recon) - expected).max() < 2e-4 * expected.max()
    assert "left_out" not in recon.provenance
    native = load_reconstruction(save(recon, tmp_path / "native.h5"))
    assert np.array_equal(native.probe_variation, recon.probe_variation)
    done = convert(tmp_path / "native.h5", tmp_path / f"again{suffix}", "ptychodus")
    further = "changes of the further modes of the probe over the scan"
    assert (further in done.lost) == (modes > 1)
    assert not any("flux" in lost or lost.startswith("changes of the probe") for lost in done.lost)
    again = load_reconstruction(done.path)
    assert np.abs(predict_here(again) - expected).max() < (2e-4 if modes == 1 else 0.2) * expected.max()


def test_scans_of_products_start_from_the_mean_probe_and_say_so(by_hand, scene, tmp_path):
    images, weights = draw_orders(scene, 1)
    path = product(by_hand, scene, tmp_path / "product.h5", images, weights)
    with h5py.File(path, "r+") as file:
        file["patterns"] = np.round(scene.counts).astype(np.uint32)
        file["bad_pixels"] = scene.bad
        file["indexes"] = file["probe_position_indexes"][()]
    scan = load(path)
    assert any("mean probe" in lost for lost in scan.provenance["left_out"])
    overlap = np.vdot(scan.probe[0], load_reconstruction(path).probe[0])
    assert abs(overlap) == pytest.approx(np.linalg.norm(scan.probe) * np.linalg.norm(load_reconstruction(path).probe))


@pytest.mark.parametrize("change", [lambda weights: weights[:-1], lambda weights: weights[:, :2], lambda w: w * np.nan])
def test_weights_that_contradict_the_product_are_refused(by_hand, scene, tmp_path, change):
    images, weights = draw_orders(scene, 1)
    path = product(by_hand, scene, tmp_path / "product.h5", images, change(weights))
    with pytest.raises(InputError, match=r"product\.h5: opr_weights"):
        load_reconstruction(path)


@pytest.mark.parametrize("version", [5, 7.3])
def test_fold_slice_predicts_its_patterns(scene, tmp_path, version):
    images, weights = draw_orders(scene, 2)
    size, shape = images.shape[-1], scene.object.shape
    middle = np.ceil((np.array(shape) - size) / 2) - 1
    entries = {
        "object": scene.object.astype(np.complex128),
        "probe": images.transpose(2, 3, 1, 0).astype(np.complex128),
        "outputs": {"probe_positions": (scene.corners - middle)[:, ::-1], "probe_evolution": weights},
        "p": {"dx_spec": np.array([3e-8, 3e-8]), "lambda": 2e-10},
    }
    path = write(tmp_path / "recon.mat", entries, version)
    recon = load_reconstruction(path)
    expected = predict_there(scene, images, weights)
    assert np.abs(predict_here(recon) - expected).max() < 2e-4 * expected.max()
    assert "left_out" not in recon.provenance
    assert {"changes of the probe over the scan", "flux of the frames"} <= set(list_lost_fields(recon, "cxi"))
    entries["outputs"]["probe_evolution"] = weights[:, :2]
    with pytest.raises(InputError, match=r"recon\.mat: outputs\.probe_evolution"):
        load_reconstruction(write(tmp_path / "recon.mat", entries, version))


@pytest.mark.parametrize("placed", [True, False])
@pytest.mark.parametrize("modes", [1, 2])
def test_frames_of_ptypy_are_no_incoherent_modes(by_hand, scene, tmp_path, placed, modes):
    """Engines with OPR keep a layer per mode of every frame, and save the first position alone."""
    images, weights = draw_orders(scene, modes)
    frames = np.repeat(images[:1], len(weights), 0)
    frames[:, 0] = np.einsum("jk,kyx->jyx", weights, images[:, 0])
    path = tmp_path / "run.ptyr"
    by_hand.ptyr(path, scene)
    with h5py.File(path, "r+") as file:
        (name,) = file["content/probe"]
        layers = frames.reshape(-1, *frames.shape[2:])
        del file[f"content/probe/{name}/data"]
        file[f"content/probe/{name}/data"] = layers
        file[f"content/runtime/OPR_modes/{name}"] = layers[:2]
        file[f"content/runtime/OPR_allprobes/{name}"] = layers
        file["content/pars/scans/scan00/coherence/num_probe_modes"] = modes
        if not placed:
            (storage,) = file["content/positions"]
            places = file[f"content/positions/{storage}"][:1]
            del file[f"content/positions/{storage}"]
            file[f"content/positions/{storage}"] = places
    recon = load_reconstruction(path)
    assert len(recon.probe) == modes
    assert any("changes of the probe" in lost for lost in recon.provenance.get("left_out", [])) is not placed
    if placed:
        expected = predict_there(scene, images, weights)
        assert np.abs(predict_here(recon) - expected).max() < 2e-4 * expected.max()
    else:
        assert recon.probe_variation is recon.flux is None
    with h5py.File(path, "r+") as file:
        del file[f"content/runtime/OPR_allprobes/{name}"]
        file[f"content/runtime/OPR_allprobes/{name}"] = np.zeros_like(layers)
    with pytest.raises(InputError, match=r"run\.ptyr: content/runtime/OPR_allprobes"):
        load_reconstruction(path)
    for number in (-1.0, np.inf, np.nan, 1.5):
        with h5py.File(path, "r+") as file:
            file["content/pars/scans/scan00/coherence"].pop("num_probe_modes")
            file["content/pars/scans/scan00/coherence/num_probe_modes"] = number
        with pytest.raises(InputError, match="coherence/num_probe_modes: found"):
            load_reconstruction(path)
