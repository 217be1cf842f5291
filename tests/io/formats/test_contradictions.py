"""Foreign files that lack something or contradict themselves: one line that names file, place and way out."""

import h5py
import numpy as np
import pytest

from ptypinn.config.load import LoadConfig
from ptypinn.errors import InputError
from ptypinn.io.load_save import load, load_reconstruction, save
from ptypinn.report.text.scan import recon_lines
from ptypinn.stages.convert import convert

DETECTOR = "entry_1/instrument_1/detector_1"
BEAM = "entry_1/instrument_1/beam_1"


@pytest.fixture(scope="module")
def scene(by_hand):
    return by_hand.Scene()


def change(path, name, value=None, **attributes):
    """Replace a dataset, or remove it where no value is given; then set attributes."""
    with h5py.File(path, "r+") as file:
        if name in file and not attributes:
            del file[name]
        if value is not None:
            file[name] = value
        for key, content in attributes.items():
            file[name].attrs[key] = content
    return path


def assert_one_line(path, message, reader=load, **options):
    with pytest.raises(InputError, match=message) as caught:
        reader(path, LoadConfig(**options))
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("meta/energy", None, r"meta/energy: found nothing here, .*--energy-eV"),
        ("meta/distance", None, r"--detector-distance-m"),
        ("meta/psize", np.array([1e-5, 2e-5]), r"meta/psize: .*square pixels"),
        ("meta/energy", -1.0, r"meta/energy: found -1000.0, expected a positive"),
        ("meta/energy", np.bytes_("seven"), r"meta/energy"),
        ("chunks/1/positions", None, r"chunks/1/positions: found no such dataset"),
        ("chunks/1/positions", np.zeros((3, 3)), r"chunks/1/positions: .*y, x in metres"),
        ("chunks/0/weights", np.ones((4, 3, 3)), r"chunks/0/weights: .*the detector's"),
        ("chunks/1/data", np.ones((3, 5)), r"chunks/1/data: found shape \(3, 5\)"),
        ("chunks/1/data", np.ones((3, 14, 14)), r"chunks/1/data: found shape \(3, 14, 14\), expected .*16, 16"),
        ("chunks", None, r"content of no format"),
    ],
)
def test_ptyd(by_hand, scene, tmp_path, name, value, message):
    by_hand.ptyd(tmp_path / "scan.ptyd", scene)
    assert_one_line(change(tmp_path / "scan.ptyd", name, value), message)


def test_chunks_may_be_links_to_files_beside_the_first(by_hand, scene, tmp_path):
    by_hand.ptyd(tmp_path / "whole.ptyd", scene)
    with h5py.File(tmp_path / "whole.ptyd", "r") as whole, h5py.File(tmp_path / "linked.ptyd", "w") as linked:
        whole.copy("meta", linked)
        for number in "01":
            with h5py.File(tmp_path / f"linked.ptyd.part00{number}", "w") as part:
                for name in whole[f"chunks/{number}"]:
                    whole.copy(f"chunks/{number}/{name}", part)
            linked[f"chunks/{number}"] = h5py.ExternalLink(f"linked.ptyd.part00{number}", "/")
    for budget in (4096.0, 1e-9):
        scan = load(tmp_path / "linked.ptyd", LoadConfig(memory_budget_gib=budget))
        np.testing.assert_array_equal(scan.counts[:], scene.counts)
    (tmp_path / "linked.ptyd.part001").unlink()
    assert_one_line(tmp_path / "linked.ptyd", r"chunks/1: found a link to a file that is not there")


def test_weights_of_zero_hide_a_pixel_and_none_hide_nothing(by_hand, scene, tmp_path):
    path = tmp_path / "scan.ptyd"
    by_hand.ptyd(path, scene)
    for number in (0, 1):
        change(path, f"chunks/{number}/weights", np.zeros(0))
    good = load(path)
    assert good.good.all()
    change(path, "meta/weight2d", (~scene.bad).astype(float))
    np.testing.assert_array_equal(~load(path).good, scene.bad)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (f"{BEAM}/energy", None, r"beam_1/energy: found nothing here, .*--energy-eV"),
        (f"{DETECTOR}/distance", None, r"--detector-distance-m"),
        (f"{DETECTOR}/y_pixel_size", 2.0, r"square detector pixels"),
        (f"{DETECTOR}/translation", np.zeros((7, 2)), r"x, y, z"),
        (f"{DETECTOR}/pixel_mask", np.zeros((2, 2)), r"the detector's"),
    ],
)
def test_nxcxi(by_hand, scene, tmp_path, name, value, message):
    by_hand.nxcxi(tmp_path / "scan.nxs", scene)
    assert_one_line(change(tmp_path / "scan.nxs", name, value), message)


def test_an_unknown_unit_is_not_guessed(by_hand, scene, tmp_path):
    by_hand.nxcxi(tmp_path / "scan.nxs", scene)
    assert_one_line(change(tmp_path / "scan.nxs", f"{BEAM}/energy", units="furlong"), r"energy@units: found 'furlong'")
    by_hand.nxcxi(tmp_path / "scan.nxs", scene)
    assert_one_line(change(tmp_path / "scan.nxs", f"{DETECTOR}/translation", units="furlong"), r"furlong")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("content/obj/SS00G00/_origin", None, r"_psize: found no pixel size or origin"),
        ("content/obj/SS00G00/_psize", np.array([1e-8, 2e-8]), r"square pixels"),
        ("content/obj/SECOND/data", np.ones((1, 4, 4)), r"content/obj: found 2 storages"),
        ("content/positions/SS00G00", None, r"content/positions/SS00G00"),
        ("content/positions/SS00G00", np.zeros((7, 3)), r"content/positions/SS00G00: .*y, x"),
        ("content/positions/SS00G00", np.zeros((0, 2)), r"positions: found none"),
        ("content/obj/SS00G00/data", np.ones((2, 40, 40)), r"object: .*one layer"),
        ("content/probe/SP00/data", np.full((1, 16, 16), np.nan + 0j), r"probe: .*not finite"),
        ("content/probe/SP00/data", np.ones((1, 16, 14), complex), r"probe: .*square"),
    ],
)
def test_ptyr(by_hand, scene, tmp_path, name, value, message):
    by_hand.ptyr(tmp_path / "r.ptyr", scene)
    assert_one_line(change(tmp_path / "r.ptyr", name, value), message, load_reconstruction)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("probe_position_indexes", np.zeros(7, int) + 10, r"--patterns-file"),
        ("object", np.ones((3, 40, 40), complex), r"center_y_m: found nothing here"),
        ("probe", np.ones((1, 2, 16, 14), complex), r"probe: .*square modes"),
        ("probe_position_x_m", np.zeros(3), r"3 values for 7 of y"),
        ("probe_position_x_m", np.full(7, np.nan), r"positions: .*not finite"),
        ("probe_position_x_m", np.ones(7, complex), r"probe_position_x_m: found complex128"),
        ("probe_position_indexes", np.full(7, 0.5), r"probe_position_indexes: .*7 whole numbers"),
    ],
)
def test_products(by_hand, scene, tmp_path, name, value, message):
    by_hand.product_hdf5(tmp_path / "p.h5", scene)
    path = change(tmp_path / "p.h5", name, value)
    assert_one_line(path, message, load if "patterns" in message else load_reconstruction)


def test_numbers_of_a_product_are_single_and_sane(by_hand, scene, tmp_path):
    by_hand.product_hdf5(tmp_path / "p.h5", scene)
    path = change(tmp_path / "p.h5", "object", center_y_m=np.ones(3))
    assert_one_line(path, r"object_center_y_m: .*one number", load_reconstruction)
    by_hand.product_hdf5(tmp_path / "q.h5", scene)
    path = change(tmp_path / "q.h5", "/", probe_photon_count=-5.0)
    assert_one_line(path, r"probe_photon_count: found -5, expected photons", load_reconstruction)


def add_coherent_mode(path):
    if path.suffix == ".hdf5":
        change(path, "probe", np.ones((2, 2, 16, 16), complex))
        return
    with np.load(path) as file:
        arrays = {**file, "probe": np.ones((2, 2, 16, 16), complex)}
    np.savez(path, **arrays)


@pytest.mark.parametrize("kind", ["hdf5", "npz"])
def test_coherent_modes_are_not_left_out_in_silence(by_hand, scene, tmp_path, kind):
    """A product may hold modes that vary the probe over the scan without the weights that say how."""
    path, data = tmp_path / f"p.{kind}", tmp_path / "d.h5"
    getattr(by_hand, f"product_{kind}")(path, scene)
    add_coherent_mode(path)
    by_hand.patterns_hdf5(data, scene)
    reports = ["1 further coherent modes without weights"]
    assert load(path, LoadConfig(patterns_file=str(data))).provenance["left_out"] == reports
    assert reports[0] in convert(path, tmp_path / "r.cxi").lost
    assert f"! left out: {reports[0]}" in recon_lines(load_reconstruction(path))


def test_patterns_that_do_not_belong_to_a_product(by_hand, scene, tmp_path):
    by_hand.product_hdf5(tmp_path / "p.h5", scene)
    by_hand.patterns_hdf5(tmp_path / "d.h5", scene)
    other = str(tmp_path / "d.h5")
    change(tmp_path / "d.h5", "indexes", np.arange(100, 108))
    assert_one_line(tmp_path / "p.h5", r"none that a pattern has", patterns_file=other)
    change(tmp_path / "d.h5", "indexes", np.zeros(8, int))
    assert_one_line(tmp_path / "p.h5", r"several patterns of one index", patterns_file=other)
    change(tmp_path / "d.h5", "indexes", np.array([b"a"] * 8))
    with pytest.raises(InputError, match=r"d\.h5: indexes: .*8 whole numbers"):
        load(tmp_path / "p.h5", LoadConfig(patterns_file=other))
    with pytest.raises(InputError, match=r"none\.h5: file: found nothing"):
        load(tmp_path / "p.h5", LoadConfig(patterns_file=str(tmp_path / "none.h5")))


@pytest.mark.parametrize("kind", ["hdf5", "npz"])
def test_patterns_without_their_product(by_hand, scene, tmp_path, kind):
    getattr(by_hand, f"patterns_{kind}")(tmp_path / f"d.{kind}", scene)
    assert_one_line(tmp_path / f"d.{kind}", r"patterns alone go with a product, by --patterns-file")


def test_two_objects_in_one_archive(by_hand, scene, tmp_path):
    by_hand.ptychopinn(tmp_path / "scan.npz", scene)
    with np.load(tmp_path / "scan.npz") as file:
        arrays = {**file, "scan_index": np.arange(by_hand.M) % 2}
    np.savez(tmp_path / "scan.npz", **arrays)
    assert_one_line(tmp_path / "scan.npz", r"scan_index: found patterns of 2 objects", domain="amplitude")


def test_counts_are_no_amplitudes(make_scan, tmp_path):
    path = save(make_scan(), tmp_path / "scan.h5")
    assert_one_line(path, r"--domain: found amplitude", domain="amplitude")


def test_a_scan_is_no_reconstruction_and_the_other_way_round(by_hand, scene, make_scan, tmp_path):
    by_hand.ptyd(tmp_path / "scan.ptyd", scene)
    assert_one_line(tmp_path / "scan.ptyd", r"found a scan \(PtyPy data\)", load_reconstruction)
    by_hand.ptyr(tmp_path / "r.ptyr", scene)
    assert_one_line(tmp_path / "r.ptyr", r"found a reconstruction \(PtyPy reconstruction\)")


def test_metres_in_the_file_are_positions_times_the_object_pixel(make_scan, tmp_path):
    scan = make_scan()
    metres = scan.positions_px * scan.pixel_size_m
    with h5py.File(save(scan, tmp_path / "a.cxi", "cxi")) as file:
        np.testing.assert_array_equal(file["entry_1/data_1/translation"][()][:, 1::-1], metres)
    with h5py.File(save(scan, tmp_path / "a.ptyd", "ptyd")) as file:
        np.testing.assert_array_equal(file["chunks/0/positions"], metres)
    with h5py.File(save(scan, tmp_path / "a.h5", "ptychodus")) as file:
        np.testing.assert_array_equal(file["probe_position_y_m"], metres[:, 0])
        np.testing.assert_array_equal(file["probe_position_x_m"], metres[:, 1])
