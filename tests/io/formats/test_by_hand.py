"""Files as others write them: what is read predicts its own counts, so positions, signs and orientation are right."""

import numpy as np
import pytest

from ptypinn.config.load import LoadConfig
from ptypinn.errors import InputError
from ptypinn.io.load_save import FORMATS, detect_format, load, load_reconstruction

SCANS = {
    "cxi": ("scan.cxi", "cxi", {"truth": "entry_1/image_1/data", "calibration": "none"}),
    "nxcxi": ("scan.nxs", "nxcxi", {}),
    "ptyd": ("scan.ptyd", "ptyd", {}),
    "ptychopinn": ("scan.npz", "npz", {"domain": "amplitude", "truth": "objectGuess", "calibration": "none"}),
}
PRODUCTS = [("product_hdf5", "patterns_hdf5"), ("product_npz", "patterns_npz"), ("product_hdf5", "patterns_npz")]


@pytest.fixture(scope="module")
def scene(by_hand):
    return by_hand.Scene()


def check_geometry(scan, by_hand, scene, offset=(0, 0)):
    np.testing.assert_allclose(scan.positions_px - scan.positions_px[0], scene.corners - scene.corners[0], atol=1e-9)
    assert scan.energy_eV == pytest.approx(by_hand.ENERGY_EV, rel=1e-12)
    assert scan.detector_distance_m == pytest.approx(by_hand.DISTANCE_M, rel=1e-12)
    assert scan.detector_pixel_m == pytest.approx(by_hand.DETECTOR_PIXEL_M, rel=1e-12)
    assert scan.pixel_size_m == pytest.approx(by_hand.PIXEL_M, rel=1e-12)
    np.testing.assert_array_equal(~scan.good, scene.bad)


def check_prediction(scan, by_hand, scene, rtol=1e-4):
    """The scan's own truth, probe and positions give its own counts."""
    expected = scene.predict(scan.truth, scan.probe, scan.positions_px)
    counts = np.asarray(scan.counts[:], float)
    scale = expected.max()
    assert np.abs((counts - expected)[:, scan.good]).max() < rtol * scale
    np.testing.assert_allclose(scan.positions_px, scene.corners, atol=1e-9)


@pytest.mark.parametrize("budget", [4096.0, 1e-9])
@pytest.mark.parametrize("kind", SCANS)
def test_a_scan_of_another_program(by_hand, scene, tmp_path, kind, budget):
    name, expected, options = SCANS[kind]
    getattr(by_hand, kind)(tmp_path / name, scene)
    assert detect_format(tmp_path / name) == expected
    scan = load(tmp_path / name, LoadConfig(**options, memory_budget_gib=budget))
    assert scan.provenance["format"] == expected
    if kind != "ptychopinn":
        check_geometry(scan, by_hand, scene)
        np.testing.assert_array_equal(scan.counts[:], scene.counts)
    if scan.truth is not None:
        check_prediction(scan, by_hand, scene)


def test_positions_in_metres_and_patterns_last_are_asked_for(by_hand, scene, tmp_path):
    by_hand.slac(tmp_path / "scan.npz", scene)
    config = LoadConfig(domain="counts", axis_order="hwn", positions_unit="m", truth="objectGuess")
    scan = load(tmp_path / "scan.npz", config)
    check_geometry(scan, by_hand, scene)
    np.testing.assert_allclose(scan.positions_px, scene.corners, atol=1e-9)


@pytest.mark.parametrize("budget", [4096.0, 1e-9])
@pytest.mark.parametrize(("product", "patterns"), PRODUCTS)
def test_products_and_patterns_are_joined_on_their_indexes(by_hand, scene, tmp_path, product, patterns, budget):
    place, other = tmp_path / f"p.{product.split('_')[1]}", tmp_path / f"d.{patterns.split('_')[1]}"
    getattr(by_hand, product)(place, scene)
    getattr(by_hand, patterns)(other, scene)
    assert detect_format(place) == "ptychodus"
    config = LoadConfig(patterns_file=str(other), truth="object", memory_budget_gib=budget)
    scan = load(place, config)
    assert scan.probe_gauge == "calibrated"
    np.testing.assert_array_equal(scan.counts[:], scene.counts)
    np.testing.assert_array_equal(~scan.good, scene.bad)
    check_prediction(scan, by_hand, scene)
    if patterns == "patterns_hdf5":
        check_geometry(scan, by_hand, scene)
    assert not FORMATS["ptychodus"].holds_scan(place, LoadConfig())


@pytest.mark.parametrize("kind", ["ptyr", "product_hdf5", "product_npz", "slac"])
def test_a_reconstruction_of_another_program(by_hand, scene, tmp_path, kind):
    place = tmp_path / {"ptyr": "r.ptyr", "product_hdf5": "r.h5"}.get(kind, "r.npz")
    getattr(by_hand, kind)(place, scene)
    recon = load_reconstruction(place)
    np.testing.assert_array_equal(recon.object, scene.object)
    if kind == "slac":
        return
    expected = scene.predict(recon.object, recon.probe, recon.positions_px)
    assert np.abs((expected - scene.counts)[:, ~scene.bad]).max() < 1e-4 * expected.max()
    assert recon.pixel_size_m == pytest.approx(by_hand.PIXEL_M, rel=1e-12)
    light = np.zeros(recon.object.shape)
    for y, x in scene.corners.astype(int):
        light[y : y + by_hand.N, x : x + by_hand.N] += (np.abs(scene.probe) ** 2).sum(0)
    np.testing.assert_allclose(recon.illumination, light, rtol=1e-4, atol=1e-3)


def test_the_loss_of_a_product_becomes_history(by_hand, scene, tmp_path):
    by_hand.product_hdf5(tmp_path / "r.h5", scene)
    recon = load_reconstruction(tmp_path / "r.h5")
    assert recon.history == {"loss": [3.0, 2.0]}
    assert recon.provenance["optics"]["energy_eV"] == by_hand.ENERGY_EV


def test_patterns_of_ptychonn_need_a_domain_and_a_unit(by_hand, scene, tmp_path):
    path = tmp_path / "scan.npz"
    by_hand.ptychonn(path, scene)
    assert detect_format(path) == "ptychonn"
    for options, flag in (({}, "--domain"), ({"domain": "counts"}, "--positions-unit")):
        with pytest.raises(InputError, match=flag):
            load(path, LoadConfig(**options))
    with pytest.raises(InputError, match="--pixel-size-m"):
        load(path, LoadConfig(domain="counts", positions_unit="um"))
    scan = load(path, LoadConfig(domain="counts", positions_unit="um", pixel_size_m=by_hand.PIXEL_M))
    np.testing.assert_array_equal(scan.counts, scene.counts)
    np.testing.assert_allclose(scan.positions_px, scene.corners, atol=1e-9)


def test_a_raster_of_ptychonn_needs_its_step(by_hand, scene, tmp_path):
    path = tmp_path / "scan.npz"
    np.savez(path, np.stack([scene.counts[:6].reshape(2, 3, by_hand.N, by_hand.N)])[0])
    assert detect_format(path) == "ptychonn"
    with pytest.raises(InputError, match="--scan-step-m"):
        load(path, LoadConfig(domain="counts"))
    scan = load(path, LoadConfig(domain="counts", scan_step_m=3e-8, pixel_size_m=1e-8))
    np.testing.assert_array_equal(scan.counts, scene.counts[:6])
    np.testing.assert_allclose(scan.positions_px, [[0, 0], [0, 3], [0, 6], [3, 0], [3, 3], [3, 6]])
