"""A probe from a file of its own: from any format, in its gauge, and on the pixels of the scan."""

import numpy as np
import pytest

from ptypinn.config.load import LoadConfig
from ptypinn.errors import InputError
from ptypinn.io.load_save import load, save


@pytest.fixture
def path(make_scan, tmp_path):
    return save(make_scan(probe=None, truth=None), tmp_path / "scan.h5")


def given(path, probe, **options):
    return load(path, LoadConfig(probe=str(probe), **options))


@pytest.mark.parametrize("name", ["native", "cxi", "ptychodus", "npz"])
def test_reconstructions_of_every_format_lend_their_probe(make_recon, make_scan, path, tmp_path, name):
    recon = make_recon(pixel_size_m=make_scan().pixel_size_m)
    probe = given(path, save(recon, tmp_path / f"recon.{'npz' if name == 'npz' else 'h5'}", name)).probe
    power = np.sum(np.abs(probe) ** 2) / np.sum(np.abs(recon.probe) ** 2)
    np.testing.assert_allclose(probe, recon.probe * np.sqrt(power), rtol=1e-5)


def test_ptypy_lends_its_probe(by_hand, make_scan, tmp_path):
    scene = by_hand.Scene()
    by_hand.ptyr(tmp_path / "recon.ptyr", scene)
    scan = make_scan(size=16, probe=None, truth=None, pixel_size_m=None, energy_eV=None)
    probe = given(save(scan, tmp_path / "scan.h5"), tmp_path / "recon.ptyr").probe
    np.testing.assert_allclose(probe / probe[0, 8, 8], scene.probe / scene.probe[0, 8, 8], rtol=1e-4)


def test_photons_stay_where_the_file_tells_them(make_recon, make_scan, path, tmp_path):
    recon = make_recon(pixel_size_m=make_scan().pixel_size_m)
    for name in ("recon.h5", "recon.npz", "recon.cxi"):
        probe = given(path, save(recon, tmp_path / name, {"h5": "native"}.get(name[-2:], name[-3:]))).probe
        np.testing.assert_array_equal(probe, recon.probe)


def test_a_probe_on_other_pixels_is_refused(make_recon, make_scan, path, tmp_path):
    recon = make_recon(pixel_size_m=1.1 * make_scan().pixel_size_m)
    other = save(recon, tmp_path / "recon.h5")
    with pytest.raises(InputError, match=r"recon\.h5: probe: found object pixels of .*expected those of the scan"):
        given(path, other)


def test_files_without_a_probe_are_named(path, tmp_path, make_scan):
    bare = save(make_scan(probe=None, truth=None), tmp_path / "bare.ptyd", "ptyd")
    with pytest.raises(InputError, match=r"bare\.ptyd: probe: found none"):
        given(path, bare)
