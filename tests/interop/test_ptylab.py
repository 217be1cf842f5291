"""PtyLab opens a PtyLab file and predicts its counts with our object at the positions that we read from it too."""

import h5py
import numpy as np
import pytest

from ptypinn.io.load_save import load

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore")]
PtyLab = pytest.importorskip("PtyLab")


@pytest.fixture
def path(scan, tmp_path):
    with h5py.File(tmp_path / "scan.hdf5", "w") as file:
        file["ptychogram"] = scan.counts
        file["encoder"] = scan.positions_px * scan.pixel_size_m
        file["wavelength"], file["dxd"], file["zo"] = scan.wavelength_m, scan.detector_pixel_m, scan.detector_distance_m
        file["entrancePupilDiameter"] = 8 * scan.pixel_size_m
        file["orientation"] = 0
    return tmp_path / "scan.hdf5"


def test_both_read_the_same_scan(path, scan):
    data, recon, *_ = PtyLab.easyInitialize(path, dummyMonitor=True)
    ours = load(path)
    np.testing.assert_array_equal(data.ptychogram, ours.counts[:])
    steps = ours.positions_px - ours.positions_px[0]
    np.testing.assert_array_equal(recon.positions - recon.positions[0], np.round(steps))
    assert recon.dxo == pytest.approx(ours.pixel_size_m, rel=1e-9)
    assert ours.energy_eV == pytest.approx(scan.energy_eV, rel=1e-9)


def test_its_operators_predict_our_counts_with_our_object(path, scan):
    _, recon, params, _, engine = PtyLab.easyInitialize(path, dummyMonitor=True)
    params.propagatorType = "Fraunhofer"
    recon.initializeObjectProbe()
    engine.numIterations = 0
    engine._prepareReconstruction()
    # its object has its middle where the encoder reads 0; ours begins at the corner of the same place
    corners = recon.positions - (recon.No // 2 - recon.Np // 2)
    np.testing.assert_array_equal(corners, scan.positions_px)
    predicted = []
    for y, x in corners:
        recon.esw = (scan.truth[y : y + scan.size, x : x + scan.size] * scan.probe[0])[None, None, None, None]
        engine.object2detector()
        predicted.append(np.abs(np.asarray(recon.ESW).squeeze()) ** 2)
    error = np.abs(np.stack(predicted) - scan.counts)[:, scan.mask]
    assert error.max() < 1e-3 * scan.counts.max()
