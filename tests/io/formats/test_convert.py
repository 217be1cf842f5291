"""`convert`: every pair of formats, what is lost said out loud, nothing overwritten or half-written, bounded memory."""

import json
import tracemalloc

import h5py
import numpy as np
import pytest

from ptypinn.cli.main import main
from ptypinn.config.load import LoadConfig
from ptypinn.config.refine import RefineConfig
from ptypinn.config.simulate import SimulateConfig
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.io.load_save import FORMATS, detect_format, load, load_reconstruction, save
from ptypinn.physics.optics import compute_wavelength
from ptypinn.stages.convert import convert, format_for
from ptypinn.stages.refine import refine
from ptypinn.stages.simulate import simulate

FIELDS = ("pixel_size_m", "energy_eV", "detector_distance_m", "detector_pixel_m", "mask")
FROM = ["native", "cxi", "ptyd", "ptychodus", "npz"]


def file_of(thing, folder, name):
    return save(thing, folder / f"source{FORMATS[name].suffixes[0]}", name)


@pytest.mark.parametrize("source", FROM)
@pytest.mark.parametrize("target", FROM)
def test_counts_positions_mask_and_units_survive_every_pair(make_scan, tmp_path, source, target):
    scan = make_scan()
    if target == "ptychodus" and source == "ptyd":
        with pytest.raises(InputError, match="--probe"):
            convert(file_of(scan, tmp_path, source), tmp_path / "target.h5", target)
        return
    done = convert(file_of(scan, tmp_path, source), tmp_path / f"target{FORMATS[target].suffixes[0]}", target)
    assert (done.kind, done.source_format, done.format) == ("scan", source, target)
    other = load(done.path)
    np.testing.assert_array_equal(other.counts, scan.counts)
    np.testing.assert_array_equal(other.mask, scan.mask)
    steps = other.positions_px - other.positions_px[0]
    np.testing.assert_allclose(steps, scan.positions_px - scan.positions_px[0], atol=1e-9)
    for name in ("energy_eV", "detector_distance_m", "detector_pixel_m", "pixel_size_m"):
        assert getattr(other, name) == pytest.approx(getattr(scan, name), rel=1e-12)
    lossy = "ptyd" in (source, target)
    assert (other.probe is None) == lossy
    assert ("probe" in done.lost) == (target == "ptyd" and source != "ptyd")


@pytest.mark.parametrize("target", ["native", "ptychodus", "npz"])
@pytest.mark.parametrize("source", ["native", "ptychodus", "npz", "ptyr"])
def test_reconstructions_survive_every_pair(make_recon, by_hand, tmp_path, source, target):
    if source == "ptyr":
        scene = by_hand.Scene()
        path = tmp_path / "r.ptyr"
        by_hand.ptyr(path, scene)
        expected = load_reconstruction(path)
    else:
        expected = make_recon()
        path = file_of(expected, tmp_path, source)
    done = convert(path, tmp_path / f"target{FORMATS[target].suffixes[0]}", target)
    assert done.kind == "reconstruction"
    other = load_reconstruction(done.path)
    np.testing.assert_array_equal(other.object, expected.object)
    np.testing.assert_array_equal(other.probe, expected.probe)
    np.testing.assert_allclose(other.positions_px, expected.positions_px, atol=1e-9)
    assert other.pixel_size_m == expected.pixel_size_m
    assert "illumination" not in done.lost


def test_optics_of_a_reconstruction_are_kept_or_given(make_recon, tmp_path):
    product = convert(file_of(make_recon(), tmp_path, "native"), tmp_path / "p.h5", "ptychodus").path
    with h5py.File(product) as file:
        assert file.attrs["photon_energy_eV"] == 8765.4321
        assert file.attrs["detector_object_distance_m"] == 2 / 3
    bare = file_of(make_recon(provenance={}), tmp_path, "native")
    done = convert(bare, tmp_path / "q.h5", "ptychodus", LoadConfig(energy_eV=7000.0))
    assert "detector distance, which --detector-distance-m supplies" in done.lost
    assert not any("energy" in lost for lost in done.lost)
    with h5py.File(done.path) as file:
        assert file.attrs["photon_energy_eV"] == 7000.0
        assert file.attrs["detector_object_distance_m"] == 0.0


@pytest.mark.parametrize("source", ["native", "npz"])
def test_options_give_a_reconstruction_its_pixel(make_recon, tmp_path, source):
    bare = file_of(make_recon(provenance={}, pixel_size_m=None), tmp_path, source)
    with pytest.raises(InputError, match="object pixel: found none"):
        convert(bare, tmp_path / "a.cxi")
    optics = {"energy_eV": 8000.0, "detector_distance_m": 2.0, "detector_pixel_m": 5e-5}
    wavelength = compute_wavelength(8000.0)
    far_field = load_reconstruction(convert(bare, tmp_path / "b.cxi", config=LoadConfig(**optics)).path)
    assert far_field.pixel_size_m == pytest.approx(wavelength * 2.0 / (8 * 5e-5))
    arguments = load_reconstruction(bare, LoadConfig(pixel_size_m=1e-8, **optics))
    assert arguments.pixel_size_m == 1e-8
    whole = make_recon(provenance={"optics": {**optics, "energy_eV": 8000}}, pixel_size_m=None)
    recorded = load_reconstruction(save(whole, tmp_path / "whole.h5"))
    assert recorded.pixel_size_m == far_field.pixel_size_m


@pytest.mark.parametrize("suffix", [".h5", ".npz"])
def test_a_product_says_which_patterns_its_positions_belong_to(make_recon, tmp_path, suffix):
    index = np.array([0, 2, 3, 7, 8])
    path = save(make_recon(patterns=index), tmp_path / f"p{suffix}", "ptychodus")
    np.testing.assert_array_equal(load_reconstruction(path).patterns, index)
    assert load_reconstruction(save(make_recon(), tmp_path / f"q{suffix}", "ptychodus")).patterns is None


@pytest.mark.parametrize("source", ["cxi", "ptychodus", "npz"])
def test_an_object_that_was_not_asked_for_is_not_left_behind_in_silence(make_scan, tmp_path, source):
    name = {"cxi": "entry_1/image_1/data", "ptychodus": "object", "npz": "objectGuess"}[source]
    path = file_of(make_scan(), tmp_path, source)
    left = convert(path, tmp_path / "a.hdf5").lost
    assert left == [f"{name} of the source, unless --truth {name} reads it"]
    assert convert(tmp_path / "a.hdf5", tmp_path / "again.hdf5").lost == []
    taken = convert(path, tmp_path / "b.hdf5", config=LoadConfig(truth=name))
    assert taken.lost == []
    np.testing.assert_array_equal(load(taken.path).truth, make_scan().truth)


def test_the_suffix_says_the_format_where_the_option_does_not(tmp_path):
    wanted = {"a.h5": "native", "a.HDF5": "native", "a.cxi": "cxi", "a.ptyd": "ptyd", "a.npz": "npz"}
    assert {name: format_for(tmp_path / name) for name in wanted} == wanted
    assert format_for(tmp_path / "a.h5", "ptychodus") == "ptychodus"
    with pytest.raises(InputError, match="--to"):
        format_for(tmp_path / "a.xyz")
    with pytest.raises(InputError, match=r"--to: found ptylab, expected one of native"):
        format_for(tmp_path / "a.hdf5", "ptylab")


def test_a_relative_probe_stays_relative_unless_photons_are_given(make_scan, tmp_path):
    scan = make_scan(probe_gauge="relative")
    path = file_of(scan, tmp_path, "native")
    stored = FORMATS["npz"].read(convert(path, tmp_path / "a.npz").path, LoadConfig())
    assert stored.probe_gauge == "relative"
    np.testing.assert_array_equal(stored.probe, scan.probe)
    reference = FORMATS["npz"].read(
        convert(path, tmp_path / "b.npz", config=LoadConfig(photons=1e6)).path, LoadConfig()
    )
    assert reference.probe_gauge == "calibrated"
    assert np.sum(np.abs(reference.probe) ** 2) == pytest.approx(1e6, rel=1e-5)


def test_nothing_is_overwritten_unless_asked_and_nothing_is_half_written(make_scan, tmp_path):
    path = file_of(make_scan(), tmp_path, "native")
    (tmp_path / "b.cxi").write_text("precious")
    with pytest.raises(InputError, match=r"b\.cxi: found a file that exists, expected a new one, or --overwrite"):
        convert(path, tmp_path / "b.cxi")
    assert (tmp_path / "b.cxi").read_text() == "precious"
    assert detect_format(convert(path, tmp_path / "b.cxi", overwrite=True).path) == "cxi"
    with pytest.raises(
        InputError, match=r"energy: found none, expected one, which PtyPy data files need: --energy-eV and"
    ):
        convert(file_of(make_scan(energy_eV=None, pixel_size_m=None), tmp_path, "npz"), tmp_path / "c.ptyd")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.cxi", "source.h5", "source.npz"]


def test_a_file_may_be_converted_onto_itself(make_scan, tmp_path):
    scan = make_scan(truth=None)
    path = file_of(scan, tmp_path, "native")
    convert(path, path, config=LoadConfig(energy_eV=7000.0), overwrite=True)
    assert load(path).energy_eV == 7000.0
    np.testing.assert_array_equal(load(path).counts, scan.counts)


class Plenty:
    """Counts that would take 262 MB in memory."""

    shape, dtype = (2000, 256, 256), np.dtype("uint16")

    def __getitem__(self, key):
        n = len(range(*key.indices(self.shape[0]))) if isinstance(key, slice) else len(key)
        return np.zeros((n, 256, 256), np.uint16)


@pytest.mark.parametrize("target", ["t.cxi", "t.npz"])
def test_large_counts_are_copied_in_bounded_memory(make_scan, tmp_path, target):
    small = make_scan(n=4, size=256, truth=None)
    counts = Plenty()
    positions = np.zeros((counts.shape[0], 2))
    scan = ScanData(counts=counts, positions_px=positions, **{n: getattr(small, n) for n in FIELDS})
    source = save(scan, tmp_path / "source.h5")
    tracemalloc.start()
    convert(source, tmp_path / target)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 120e6


def test_the_command_line_says_what_is_lost(make_scan, tmp_path, capsys):
    path = file_of(make_scan(), tmp_path, "native")
    assert main(["convert", str(path), str(tmp_path / "b.ptyd")]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("scan in ") and out[0].endswith("b.ptyd (PtyPy data)")
    assert "! left out: probe" in out
    assert main(["convert", str(path), str(tmp_path / "b.ptyd")]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main(["convert", str(path), str(tmp_path / "c"), "--to", "npz", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["format"] == "npz"


def test_info_tells_of_reconstructions_too(make_recon, tmp_path, capsys):
    path = file_of(make_recon(), tmp_path, "ptychodus")
    assert main(["info", str(path), "--plot", str(tmp_path / "object.png")]) == 0
    assert (tmp_path / "object.png").read_bytes().startswith(b"\x89PNG")
    out = capsys.readouterr().out
    assert "20 x 17 pixels" in out and "2 modes of 8 x 8 pixels" in out
    assert main(["info", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pixel_size_m"] == 3.1e-8


@pytest.mark.parametrize("target", ["native", "cxi", "ptyd", "npz"])
def test_the_real_scan_survives(petra, tmp_path, target):
    scan = load(petra)
    other = load(convert(petra, tmp_path / f"petra{FORMATS[target].suffixes[0]}").path)
    np.testing.assert_array_equal(other.counts, scan.counts)
    np.testing.assert_array_equal(other.mask, scan.mask)
    np.testing.assert_allclose(other.positions_px, scan.positions_px, rtol=1e-12, atol=1e-9)
    assert other.wavelength_m == pytest.approx(9.794912e-11, rel=1e-6)
    assert other.pixel_size_m == pytest.approx(scan.pixel_size_m, rel=1e-12)


def test_a_product_of_our_own_reconstruction_knows_its_energy(tmp_path):
    scan = simulate(SimulateConfig(size=32, object_size=(64, 64), n_patterns=9))
    recon = refine(scan, RefineConfig(iterations=1, refine_probe=False))
    done = convert(recon.save(tmp_path / "r.h5"), tmp_path / "p.h5", "ptychodus")
    assert not any("energy" in lost or "distance" in lost for lost in done.lost)
    with h5py.File(done.path) as file:
        assert file.attrs["photon_energy_eV"] == scan.energy_eV
