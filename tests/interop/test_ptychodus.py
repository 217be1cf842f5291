"""Ptychodus opens our products and patterns and predicts the counts; we read what it writes."""

import numpy as np
import pytest

from ptypinn.config.load import LoadConfig
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.io.load_save import load, load_reconstruction, save
from ptypinn.metrics.data_fit import predict_batches
from ptypinn.physics.propagation import to_centred

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore")]
io = pytest.importorskip("ptychodus.api.io")


def load_product(path):
    if path.suffix == ".npz":
        from ptychodus.plugins.npz_product_file import NPZProductFileIO

        return NPZProductFileIO().read(path)
    return io.load_product(path)


def save_product(path, product):
    if path.suffix == ".npz":
        from ptychodus.plugins.npz_product_file import NPZProductFileIO

        NPZProductFileIO().write(path, product)
    else:
        io.save_product(path, product)


def predict(product):
    """Counts by its own geometry and propagator, of arbitrary scale."""
    from ptychodus.api.propagate import FraunhoferPropagator, PropagatorParameters

    image, probe = product.object_, product.probes.get_geometry()
    parameters = PropagatorParameters(
        wavelength_m=product.metadata.photon_wavelength_m,
        width_px=probe.width_px,
        height_px=probe.height_px,
        pixel_width_m=probe.pixel_width_m,
        pixel_height_m=probe.pixel_height_m,
        propagation_distance_m=product.metadata.detector_distance_m,
    )
    propagator, patterns = FraunhoferPropagator(parameters), []
    for position, modes in product.iter_position_probes():
        place = image.get_geometry().map_coordinates_probe_to_object(position)
        bounds = probe.resolve_patch_bounds(place.x_px + 1e-9, place.y_px + 1e-9)
        patch = image.get_layer(0)[bounds.y_slice, bounds.x_slice]
        patterns.append(sum(np.abs(propagator.propagate(mode * patch)) ** 2 for mode in modes.get_array()))
    return np.stack(patterns)


@pytest.mark.parametrize("suffix", [".h5", ".npz"])
def test_our_file_is_a_product_that_predicts_its_counts(scan, tmp_path, suffix):
    product = load_product(save(scan, tmp_path / f"scan{suffix}", "ptychodus"))
    assert product.metadata.photon_energy_eV == scan.energy_eV
    assert product.metadata.detector_distance_m == scan.detector_distance_m
    assert product.metadata.probe_photon_count == pytest.approx(np.sum(np.abs(scan.probe) ** 2), rel=1e-6)
    np.testing.assert_array_equal(product.object_.get_layer(0), scan.truth)
    np.testing.assert_array_equal(product.probes.get_probe_no_opr().get_array(), scan.probe)
    predicted = predict(product)
    predicted *= scan.counts[:, scan.mask].sum() / predicted[:, scan.mask].sum()
    assert np.abs(predicted - scan.counts)[:, scan.mask].max() < 1e-4 * scan.counts.max()


def test_our_file_holds_its_patterns_too(scan, tmp_path):
    data = io.load_diffraction_data(save(scan, tmp_path / "scan.h5", "ptychodus"))
    np.testing.assert_array_equal(data._patterns, scan.counts)
    np.testing.assert_array_equal(data._bad_pixels, ~scan.mask)
    assert data.get_pixel_geometry().width_m == scan.detector_pixel_m


@pytest.mark.parametrize("suffix", [".h5", ".npz"])
def test_we_read_what_it_writes(scan, tmp_path, suffix):
    ours = save(scan, tmp_path / "scan.h5", "ptychodus")
    save_product(tmp_path / f"theirs{suffix}", load_product(ours))
    io.save_diffraction_data(tmp_path / "patterns.h5", io.load_diffraction_data(ours))
    config = LoadConfig(patterns_file=str(tmp_path / "patterns.h5"), truth="object")
    back = load(tmp_path / f"theirs{suffix}", config)
    np.testing.assert_array_equal(back.counts, scan.counts)
    np.testing.assert_array_equal(back.mask, scan.mask)
    np.testing.assert_array_equal(back.truth, scan.truth)
    np.testing.assert_array_equal(back.probe, scan.probe)
    np.testing.assert_allclose(back.positions_px, scan.positions_px, atol=1e-9)
    assert (back.energy_eV, back.pixel_size_m) == (scan.energy_eV, scan.pixel_size_m)


@pytest.mark.parametrize("suffix", [".h5", ".npz"])
def test_a_reconstruction_goes_there_and_back(scan, tmp_path, suffix):
    recon = Reconstruction(
        object=scan.truth,
        illumination=np.ones(scan.truth.shape, np.float32),
        probe=scan.probe,
        positions_px=scan.positions_px,
        pixel_size_m=scan.pixel_size_m,
        history={"loss": [2.0, 1.0]},
        provenance={"optics": {"energy_eV": scan.energy_eV, "detector_distance_m": scan.detector_distance_m}},
    )
    product = load_product(save(recon, tmp_path / f"recon{suffix}", "ptychodus"))
    assert [loss.value for loss in product.losses] == [2.0, 1.0]
    save_product(tmp_path / f"theirs{suffix}", product)
    back = load_reconstruction(tmp_path / f"theirs{suffix}")
    np.testing.assert_array_equal(back.object, recon.object)
    np.testing.assert_array_equal(back.probe, recon.probe)
    np.testing.assert_allclose(back.positions_px, recon.positions_px, atol=1e-9)
    assert back.history == recon.history


def test_we_read_the_training_data_that_it_writes_for_ptychopinn(scan, tmp_path):
    from ptychodus.api.reconstruct import ReconstructInput

    ours = save(scan, tmp_path / "scan.h5", "ptychodus")
    data = io.load_diffraction_data(ours)
    arguments = ReconstructInput(data._patterns, data._bad_pixels, load_product(ours))
    io.save_ptychopinn_training_data(tmp_path / "train.npz", arguments, inpaint_bad_pixels=False)
    back = load(tmp_path / "train.npz", LoadConfig(domain="counts", calibration="none"))
    np.testing.assert_array_equal(back.counts, scan.counts)
    np.testing.assert_array_equal(back.mask, scan.mask)
    np.testing.assert_array_equal(back.probe, scan.probe)
    steps = back.positions_px - back.positions_px[0]
    np.testing.assert_allclose(steps, scan.positions_px - scan.positions_px[0], atol=1e-9)


@pytest.mark.parametrize("suffix", [".h5", ".npz"])
@pytest.mark.parametrize("modes", [1, 2])
def test_it_has_the_probe_of_every_frame_as_we_do(scan, tmp_path, suffix, modes):
    """Of several modes its weights vary the first; the shape of all frames is compared, with their flux."""
    rng, frames = np.random.default_rng(5), scan.n_patterns
    probe = np.concatenate([scan.probe, 0.2 * scan.probe * np.linspace(-1, 1, scan.size)])[:modes].astype(np.complex64)
    added = np.zeros((2, *probe.shape), np.complex64)
    added[:, 0] = 0.2 * scan.probe[0] * np.exp(2j * rng.random((2, 1, scan.size)))
    weights = rng.normal(size=(frames, 2))
    weights = np.linalg.qr(weights - weights.mean(0))[0] * np.sqrt(frames)
    flux = rng.uniform(0.8, 1.2, frames) if modes == 1 else np.ones(frames)
    recon = Reconstruction(
        object=scan.truth,
        illumination=np.ones(scan.truth.shape, np.float32),
        probe=probe,
        positions_px=scan.positions_px,
        pixel_size_m=scan.pixel_size_m,
        flux=flux / flux.mean(),
        probe_variation=added,
        probe_weights=weights,
        provenance={"optics": {"energy_eV": scan.energy_eV, "detector_distance_m": scan.detector_distance_m}},
    )
    product = load_product(save(recon, tmp_path / f"ours{suffix}", "ptychodus"))
    theirs, ours = predict(product), predict_here(recon, scan)
    if modes == 1:
        assert np.abs(theirs * ours.sum() / theirs.sum() - ours).max() < 1e-4 * ours.max()
    save_product(tmp_path / f"theirs{suffix}", product)
    back = load_reconstruction(tmp_path / f"theirs{suffix}")
    again = predict_here(back, scan)
    assert np.abs(theirs * again.sum() / theirs.sum() - again).max() < 1e-4 * again.max()


def predict_here(recon, scan):
    """Counts by our own model."""
    part = recon.scan_part(scan.replace(truth=None))
    batches = predict_batches(part, recon.object, recon.probe, recon.positions_px, 64, "cpu")
    return np.concatenate([to_centred(predicted).numpy() for _, _, predicted in batches])
