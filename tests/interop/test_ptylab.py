"""PtyLab opens a PtyLab file and predicts its counts with our object at the positions that we read from the same file."""

import h5py
import numpy as np
import pytest

from ptypinn.data.formats import load

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
    data, recon, params, _, engine = PtyLab.easyInitialize(path, dummyMonitor=True)
    params.propagatorType = "Fraunhofer"
    recon.initializeObjectProbe()
    engine.numIterations = 0
    engine._prepareReconstruction()
    predicted = []
    offset = recon.positions[0] - load(path).positions_px[0]
    for position, corner in zip(recon.positions - offset, scan.positions_px, strict=True):
        y, x = np.round(position - (load(path).positions_px[0] - scan.positions_px[0])).astype(int)
        assert (y, x) == tuple(corner)
        patch = scan.truth[y : y + scan.size, x : x + scan.size]
        recon.esw = (patch * scan.probe[0])[None, None, None, None]
        engine.object2detector()
        predicted.append(np.abs(np.asarray(recon.ESW).squeeze()) ** 2)
    error = np.abs(np.stack(predicted) - scan.counts)[:, scan.mask]
    assert error.max() < 1e-3 * scan.counts.max()
