"""`load`: options that hold for every format, and one line for every kind of bad input."""

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.config.load import LoadConfig
from ptypinn.data.positions import canvas_frame, canvas_positions
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.io.load_save import detect_format, load, save

DETECTOR = "entry_1/instrument_1/detector_1"
OWN = "entry_1/ptypinn_1"


def change(path, name, value):
    with h5py.File(path, "r+") as file:
        attributes = dict(file[name].attrs)
        del file[name]
        if value is not None:
            file[name] = value
            file[name].attrs.update(attributes)


def with_value(counts, value):
    changed = counts.astype(np.float32)
    changed[1, 2, 3] = value
    return changed


BAD_ENTRIES = {
    "missing dataset": (f"{DETECTOR}/data", lambda scan: None, "detector_1/data"),
    "missing positions": (f"{OWN}/positions_px", lambda scan: None, "positions_px"),
    "NaN counts": (f"{DETECTOR}/data", lambda scan: with_value(scan.counts, np.nan), r"counts: found nan at pattern 1"),
    "negative counts": (
        f"{DETECTOR}/data",
        lambda scan: with_value(scan.counts, -1),
        r"counts: found -1.0 at pattern 1",
    ),
    "fewer positions": (
        f"{OWN}/positions_px",
        lambda scan: scan.positions_px[:-1],
        "positions: found 4 positions for 5 patterns",
    ),
    "probe of another size": (f"{OWN}/probe", lambda scan: scan.probe[:, :-2, :-2], "probe: .*2, 6, 6"),
    "non-square patterns": (f"{DETECTOR}/data", lambda scan: scan.counts[:, :, :-2], "counts: .*8 x 6"),
    "giant canvas": (f"{OWN}/positions_px", lambda scan: scan.positions_px * 1e6, "positions: .*--max-canvas-pixels"),
    "mask hides everything": (f"{DETECTOR}/mask", lambda scan: np.ones((8, 8), np.uint32), "mask: found no good pixel"),
    "empty scan": (f"{DETECTOR}/data", lambda scan: scan.counts[:0], "counts: found 0 patterns"),
    "strings": (f"{DETECTOR}/data", lambda scan: "text", "counts"),
}


@pytest.mark.parametrize("case", BAD_ENTRIES)
@pytest.mark.parametrize("budget", [4096.0, 1e-9])
def test_bad_content_has_one_line_with_file_and_field(make_scan, tmp_path, case, budget):
    name, value, message = BAD_ENTRIES[case]
    scan = make_scan(mask=None, truth=None)
    path = save(scan, tmp_path / "scan.h5")
    change(path, name, value(scan))
    with pytest.raises(InputError, match=rf"scan\.h5: .*{message}") as caught:
        load(path, LoadConfig(memory_budget_gib=budget)).counts[:]
    assert "\n" not in str(caught.value)


def test_missing_foreign_and_truncated_files(make_scan, tmp_path):
    whole = save(make_scan(n=200), tmp_path / "scan.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "header.h5").write_bytes(whole[:100])
    (tmp_path / "text.h5").write_text("hello")
    (tmp_path / "empty.npz").write_bytes(b"")
    Reconstruction(
        np.ones((9, 9), np.complex64), np.ones((9, 9), np.float32), np.ones((1, 8, 8), np.complex64), np.zeros((2, 2))
    ).save(tmp_path / "recon.h5")
    for name in ("missing.h5", "cut.h5", "header.h5", "text.h5", "empty.npz", "recon.h5"):
        with pytest.raises(InputError) as caught:
            load(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="a folder"):
        load(tmp_path)


@given(st.sampled_from(["h5", "npz"]), st.floats(0, 0.999))
def test_a_file_cut_anywhere_is_refused(make_scan, tmp_path_factory, kind, fraction):
    folder, scan = tmp_path_factory.mktemp("cut"), make_scan(truth=None)
    path = folder / f"scan.{kind}"
    if kind == "npz":
        np.savez_compressed(path, diffraction=scan.counts, positions_px=scan.positions_px)
    else:
        save(scan, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(fraction * len(whole))])
    with pytest.raises(InputError, match=r"scan\.") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_damaged_chunks_are_reported(make_scan, tmp_path):
    path = save(make_scan(n=40, size=16), tmp_path / "scan.h5")
    with h5py.File(path) as file:
        chunk = file[f"{DETECTOR}/data"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + 200] = bytes(200)
    path.write_bytes(content)
    for budget in (4096.0, 1e-9):
        with pytest.raises(InputError, match=r"scan\.h5: "):
            load(path, LoadConfig(memory_budget_gib=budget)).counts[:]


def test_wrong_format_option_is_an_input_error(make_scan, star, tmp_path):
    native = save(make_scan(), tmp_path / "scan.h5")
    for path, name in ((native, "npz"), (star, "native"), (star, "cxi")):
        with pytest.raises(InputError):
            load(path, LoadConfig(format=name))


def test_format_is_found_by_content_not_by_name(make_scan, star, petra, tmp_path):
    assert detect_format(save(make_scan(), tmp_path / "scan.npz")) == "native"
    assert detect_format(star) == "npz"
    assert detect_format(petra) == "cxi"


def test_a_canvas_cap_can_be_raised(make_scan, tmp_path):
    path = save(make_scan(truth=None), tmp_path / "scan.h5")
    with pytest.raises(InputError, match="--max-canvas-pixels"):
        load(path, LoadConfig(max_canvas_pixels=100))
    change(path, f"{OWN}/positions_px", np.array([[0.0, 0.0]] * 4 + [[20000.0, 20000.0]]))
    assert load(path, LoadConfig(max_canvas_pixels=10**9)).n_patterns == 5


@pytest.mark.parametrize("kind", ["npy", "npz", "native", "reconstruction"])
def test_a_probe_from_another_file(make_scan, tmp_path, kind):
    donor = make_scan(seed=5)
    writers = {
        "npy": lambda p: np.save(p, donor.probe[0]),
        "npz": lambda p: np.savez(p, probeGuess=donor.probe),
        "native": lambda p: save(donor, p),
        "reconstruction": lambda p: Reconstruction(
            donor.truth, np.abs(donor.truth), donor.probe, donor.positions_px
        ).save(p),
    }
    probe_file = tmp_path / f"probe.{'npy' if kind == 'npy' else 'npz' if kind == 'npz' else 'h5'}"
    writers[kind](probe_file)
    scan = load(save(make_scan(probe=None), tmp_path / "scan.h5"), LoadConfig(probe=str(probe_file)))
    assert scan.probe_gauge == "calibrated"
    if kind in ("native", "reconstruction"):
        np.testing.assert_array_equal(scan.probe, donor.probe)
    else:
        sums = np.where(scan.good, scan.counts, 0).sum((1, 2), dtype=float)
        vacuum = np.fft.fftshift(np.abs(np.fft.fft2(scan.probe, norm="ortho")) ** 2, axes=(1, 2)).sum(0)
        assert vacuum[scan.good].sum() == pytest.approx(sums.mean(), rel=1e-5)


def test_a_probe_of_another_size_names_its_own_file(make_scan, tmp_path):
    np.save(tmp_path / "small.npy", np.ones((6, 6)))
    with pytest.raises(InputError, match=r"small\.npy: probe: .*8, 8"):
        load(save(make_scan(), tmp_path / "scan.h5"), LoadConfig(probe=str(tmp_path / "small.npy")))


@pytest.mark.parametrize("content", [np.array([{}], object), "text"])
def test_unusable_probe_files(make_scan, tmp_path, content):
    path = tmp_path / "probe.npy"
    if isinstance(content, str):
        path.write_text(content)
    else:
        np.save(path, content)
    with pytest.raises(InputError, match=r"probe\.npy: probe"):
        load(save(make_scan(), tmp_path / "scan.h5"), LoadConfig(probe=str(path)))


def test_calibration_rules(make_scan, tmp_path):
    path = save(make_scan(probe_gauge="relative", mask=None), tmp_path / "scan.h5")

    def power(**options):
        return np.sum(np.abs(load(path, LoadConfig(**options)).probe) ** 2)

    sums = make_scan().counts.sum((1, 2), dtype=float)
    assert power() == pytest.approx(sums.mean(), rel=1e-5)
    assert power(calibration="p99") == pytest.approx(np.percentile(sums, 99), rel=1e-5)
    assert power(photons=1e6) == pytest.approx(1e6, rel=1e-5)
    assert power(calibration="none") == pytest.approx(np.sum(np.abs(make_scan().probe) ** 2), rel=1e-6)


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({"photons": 0.0}, "--photons"),
        ({"energy_eV": -1.0}, "--energy-eV"),
        ({"memory_budget_gib": 0.0}, "--memory-budget-gib"),
        ({"photons": 1.0, "calibration": "none"}, "--calibration"),
    ],
)
def test_contradicting_options_name_the_flag(options, flag):
    with pytest.raises(InputError, match=flag):
        LoadConfig(**options)


def test_the_canvas_is_the_truth_where_there_is_one(make_scan):
    scan = make_scan()
    assert canvas_frame(scan, margin=3) == ((0, 0), scan.truth.shape)
    np.testing.assert_array_equal(canvas_positions(scan), scan.positions_px)


def test_the_canvas_holds_every_probe_and_no_more(make_scan):
    scan = make_scan(truth=None, positions_px=np.array([[-3.4, 2.0], [5.6, 9.4], [0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]))
    origin, shape = canvas_frame(scan)
    assert (origin, shape) == ((-3, 0), (6 + 8 + 3, 9 + 8))
    wide_origin, wide = canvas_frame(scan, margin=4)
    assert wide_origin == (-7, -4)
    assert wide == (shape[0] + 8, shape[1] + 8)
    np.testing.assert_allclose(canvas_positions(scan, 4)[0], [3.6, 6.0])


def test_a_mask_of_another_size_is_named_whatever_the_counts():
    for dtype in (np.uint16, np.float32):
        with pytest.raises(InputError, match=r"mask: found bool of shape \(4, 4\)"):
            ScanData(np.ones((3, 8, 8), dtype), np.zeros((3, 2)), mask=np.ones((4, 4), bool))


def test_another_energy_rescales_the_pixel_and_keeps_the_metres_of_the_positions(tmp_path, make_scan):
    scan = make_scan(truth=None, pixel_size_m=1.0e-8, energy_eV=8000.0)
    save(scan, tmp_path / "scan.h5")
    first = load(tmp_path / "scan.h5", LoadConfig(energy_eV=8000.0))
    second = load(tmp_path / "scan.h5", LoadConfig(energy_eV=16000.0))
    assert second.pixel_size_m == pytest.approx(first.pixel_size_m / 2)
    np.testing.assert_allclose(
        second.positions_px * second.pixel_size_m, first.positions_px * first.pixel_size_m, rtol=1e-12
    )
