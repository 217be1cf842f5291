"""Patterns that are cut: object pixels get larger, while metres, light and the place of everything stay.

Patterns that are padded with unmeasured pixels: object pixels get smaller, and nothing else changes.
"""

import h5py
import numpy as np
import pytest
import scipy.io
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ptypinn.config.load import LoadConfig
from ptypinn.config.refine import RefineConfig
from ptypinn.config.simulate import SimulateConfig
from ptypinn.data.positions import canvas_frame, canvas_positions
from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.io.load_save import load, read_scan, save
from ptypinn.io.padding import pad_scan
from ptypinn.metrics.data_fit import compute_data_fit
from ptypinn.physics.optics import PLANCK_TIMES_C_EV_M, compute_wavelength, far_field_intensity
from ptypinn.report.text.scan import info_lines
from ptypinn.stages.convert import convert
from ptypinn.stages.info import info
from ptypinn.stages.refine import refine
from ptypinn.stages.simulate import simulate

OPTICS = {"energy_eV": 9000.0, "detector_distance_m": 1.5, "detector_pixel_m": 6e-5}


def sample(y, x):
    """Transmission at any point, in object pixels of whole patterns; smooth, unlike itself in a mirror or shifted."""
    phase = 0.6 * np.sin(y / 9) * np.cos(x / 7) + 0.4 * np.exp(-(((y - 30) / 8) ** 2) - ((x - 22) / 10) ** 2)
    return (0.8 + 0.15 * np.cos(x / 8 + y / 11)) * np.exp(1j * phase)


def wide_scan(size=32, n=30, seed=0, **changes):
    """A scan without noise whose light stays well inside the middle of the detector."""
    rng = np.random.default_rng(seed)
    v, u = np.mgrid[:size, :size] - size // 2
    probe = (200 * np.exp(-((v / 5) ** 2) - (u / 4) ** 2) * np.exp(0.02j * (v**2 + 0.5 * u * v)))[None]
    corners = rng.integers(0, 25, (n, 2)).astype(float)
    patches = np.stack([sample(v + size // 2 + y, u + size // 2 + x) for y, x in corners])
    waves = np.fft.fft2(np.fft.ifftshift(patches * probe, (1, 2)), norm="ortho")
    counts = np.abs(np.fft.fftshift(waves, (1, 2))) ** 2
    fields = {
        "counts": counts.astype(np.float32),
        "positions_px": corners,
        "probe": probe.astype(np.complex64),
        "probe_gauge": "calibrated",
        "pixel_size_m": compute_wavelength(OPTICS["energy_eV"]) * 1.5 / (size * 6e-5),
        **OPTICS,
    }
    return ScanData(**{**fields, **changes})


def own(name):
    return lambda scan, folder: save(scan, folder / f"scan_{name}.h5", name)


def flat(scan, folder, unit):
    """The PtychoPINN family: places of the probe's pixel N//2, in pixels or in metres, and no object pixel."""
    y, x = ((scan.positions_px + scan.size // 2) * (1 if unit == "px" else scan.pixel_size_m)).T
    numbers = {"photon_energy_eV": 9000.0, "detector_distance_m": 1.5, "detector_pixel_size_m": 6e-5}
    np.savez(folder / "flat.npz", diffraction=scan.counts, xcoords=x, ycoords=y, probeGuess=scan.probe, **numbers)
    return folder / "flat.npz"


def ptychonn(scan, folder, unit):
    places = scan.positions_px * (1 if unit == "px" else scan.pixel_size_m)
    np.savez(folder / "nn.npz", reciprocal=scan.counts, scan=places)
    return folder / "nn.npz"


def ptylab(scan, folder):
    with h5py.File(folder / "lab.hdf5", "w") as file:
        file["ptychogram"], file["encoder"] = scan.counts, scan.positions_px * scan.pixel_size_m
        file["wavelength"], file["zo"], file["dxd"] = PLANCK_TIMES_C_EV_M / 9000.0, 1.5, 6e-5
    return folder / "lab.hdf5"


def prepared(scan, folder):
    amplitudes = np.fft.ifftshift(np.sqrt(scan.counts), axes=(1, 2))
    p = {"fmag": np.moveaxis(amplitudes, 0, -1).astype(float), "renorm": 1.0, "positions": scan.positions_px}
    p |= {"dx_spec": np.full(2, scan.pixel_size_m), "lambda": PLANCK_TIMES_C_EV_M / 9000.0, "z": 1.5, "ds": 6e-5}
    scipy.io.savemat(folder / "p.mat", {"p": p, "probe": np.moveaxis(scan.probe, 0, -1)})
    return folder / "p.mat"


def stack(scan, folder):
    np.save(folder / "stack.npy", scan.counts)
    np.savetxt(folder / "table.txt", scan.positions_px, header="y_px x_px")
    return folder / "stack.npy"


SI = {"energy_eV": 9000.0, "detector_distance_m": 1.5, "detector_pixel_m": 6e-5}
FILES = {
    "native": (own("native"), {}),
    "cxi": (own("cxi"), {}),
    "ptyd": (own("ptyd"), {}),
    "ptychodus": (own("ptychodus"), {}),
    "npz": (lambda scan, folder: save(scan, folder / "scan.npz", "npz"), {}),
    "flat pixels": (lambda scan, folder: flat(scan, folder, "px"), {"domain": "counts"}),
    "flat metres": (lambda scan, folder: flat(scan, folder, "m"), {"domain": "counts", "positions_unit": "m"}),
    "ptychonn pixels": (
        lambda scan, folder: ptychonn(scan, folder, "px"),
        {"domain": "counts", "positions_unit": "px", **SI},
    ),
    "ptychonn metres": (
        lambda scan, folder: ptychonn(scan, folder, "m"),
        {"domain": "counts", "positions_unit": "m", **SI},
    ),
    "ptylab": (ptylab, {}),
    "ptychoshelves": (prepared, {}),
    "stack with a table": (stack, {"positions_file": "table.txt", "detector_gain": 1.0, "particle": "photon", **SI}),
}
WITH_PROBE = ("native", "cxi", "ptychodus", "npz", "flat pixels", "ptychoshelves")


def write(name, scan, folder):
    writer, options = FILES[name]
    path = writer(scan, folder)
    place = {"positions_file": str(folder / options["positions_file"])} if "positions_file" in options else {}
    return path, {**options, **place}


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=8)
@given(
    size=st.sampled_from([16, 20, 32]),
    kept=st.sampled_from([8, 12, 16]),
    off=st.tuples(st.integers(-2, 2), st.integers(-2, 2)),
    budget=st.sampled_from([1e-9, 1024.0]),
)
def test_metres_do_not_depend_on_the_cut(tmp_path_factory, name, size, kept, off, budget):
    assume(kept // 2 + 2 <= size // 2)
    scan = wide_scan(size, n=5)
    path, options = write(name, scan, tmp_path_factory.mktemp("cut"))
    whole = read_scan(path, LoadConfig(**options), calibrate=False)
    centre = (size // 2 + off[0], size // 2 + off[1])
    given_ = LoadConfig(**options, crop_px=kept, centre_px=centre, memory_budget_gib=budget)
    cut = read_scan(path, given_, calibrate=False)
    rows, columns = (slice(c - kept // 2, c + kept // 2) for c in centre)
    np.testing.assert_allclose(cut.counts[:], whole.counts[:, rows, columns], rtol=1e-6)
    np.testing.assert_allclose(
        cut.positions_px * cut.pixel_size_m, whole.positions_px * whole.pixel_size_m, 1e-9, 1e-15
    )
    assert cut.pixel_size_m == pytest.approx(whole.pixel_size_m * size / kept, rel=1e-9)
    assert cut.pixel_size_m == pytest.approx(scan.pixel_size_m * size / kept, rel=1e-6)


@pytest.mark.parametrize("name", WITH_PROBE)
def test_the_sample_explains_what_is_left_of_the_patterns(tmp_path, name):
    """Probe, positions and counts after the cut belong to the sample seen on larger pixels."""
    path, options = write(name, wide_scan(), tmp_path)
    cut = load(path, LoadConfig(**options, crop_px=16, calibration="none"))
    image, _ = on_canvas(cut)
    fit = compute_data_fit(cut, image, cut.probe, canvas_positions(cut))
    assert fit.amplitude_residual < 1e-4


def on_canvas(scan, ratio=2):
    """The sample on the canvas of a scan whose object pixels are `ratio` times as large."""
    (top, left), (height, width) = canvas_frame(scan)
    first = scan.positions_px.min(0)  # other programs count from elsewhere
    y, x = np.mgrid[:height, :width].astype(float)
    corner = wide_scan().positions_px.min(0)
    y, x = ratio * (y + top - first[0]) + corner[0], ratio * (x + left - first[1]) + corner[1]
    return sample(y, x).astype(np.complex64), (y, x)


def test_a_reconstruction_of_cut_patterns_lies_where_the_sample_is(tmp_path):
    path, _ = write("native", wide_scan(n=60), tmp_path)
    cut = load(path, LoadConfig(crop_px=16))
    result = refine(cut, RefineConfig(iterations=60, refine_probe=False))
    y, x = (2 * (np.arange(n) + start) for n, start in zip(result.object.shape, result.origin_px, strict=True))
    illuminated = result.well_illuminated(0.3)
    image, truth = result.object[illuminated], sample(y[:, None], x[None])[illuminated]
    factor = np.vdot(image, truth) / np.vdot(image, image)
    assert np.linalg.norm(factor * image - truth) / np.linalg.norm(truth) < 0.05
    aside = sample(y[:, None] + 4, x[None])[illuminated]
    assert np.linalg.norm(factor * image - aside) / np.linalg.norm(truth) > 0.1


def test_light_that_misses_the_window_leaves_the_probe(tmp_path):
    """What is left of a calibrated probe is the light that reaches the window through vacuum."""
    scan = wide_scan()
    path = save(scan, tmp_path / "scan.h5")
    cut = load(path, LoadConfig(crop_px=8))
    far = np.fft.fftshift(np.abs(np.fft.fft2(np.fft.ifftshift(scan.probe, (1, 2)), norm="ortho")) ** 2, (1, 2))
    inside = far[:, 12:20, 12:20].sum()
    assert inside < 0.998 * far.sum()
    assert np.sum(np.abs(cut.probe) ** 2) == pytest.approx(inside, rel=1e-5)
    assert cut.probe_gauge == "calibrated"


def test_a_probe_from_a_file_of_whole_patterns_is_cut_as_well(tmp_path):
    scan = wide_scan()
    path, own_file = save(scan, tmp_path / "scan.h5"), save(scan, tmp_path / "probe.h5")
    cut = load(path, LoadConfig(crop_px=16))
    given_ = load(path, LoadConfig(crop_px=16, probe=str(own_file)))
    np.testing.assert_array_equal(given_.probe, cut.probe)
    other = save(wide_scan(size=20), tmp_path / "other.h5")
    with pytest.raises(InputError, match=r"probe: found shape \(1, 20, 20\), expected \(modes, 16, 16\)"):
        load(path, LoadConfig(crop_px=16, probe=str(other)))


def test_a_true_object_on_smaller_pixels_is_left_out_and_that_is_told(tmp_path):
    y, x = np.mgrid[:60, :60]
    path = save(wide_scan(truth=sample(y, x).astype(np.complex64)), tmp_path / "scan.h5")
    cut = load(path, LoadConfig(crop_px=16))
    assert cut.truth is None
    assert any("left out: the true object" in warning for warning in info(cut).warnings)
    done = convert(path, tmp_path / "cut.h5", config=LoadConfig(crop_px=16))
    assert any("the true object" in lost for lost in done.lost)
    assert load(path, LoadConfig(crop_px=32)).truth is not None
    with pytest.raises(InputError, match="--truth: found object together with --crop-px"):
        LoadConfig(truth="object", crop_px=16)


def test_pixels_of_oblong_patterns_are_ambiguous(tmp_path):
    counts = np.ones((3, 16, 20), np.uint16)
    np.savez(tmp_path / "scan.npz", diffraction=counts, positions_px=np.zeros((3, 2)))
    with pytest.raises(InputError, match=r"positions: found object pixels of patterns of 16 x 20 pixels.*lengths"):
        load(tmp_path / "scan.npz", LoadConfig(crop_px=12))


def test_a_probe_too_small_for_the_window_is_refused(tmp_path):
    path = save(wide_scan(probe=None), tmp_path / "scan.cxi", "cxi")
    with h5py.File(path, "r+") as file:
        file["entry_1/instrument_1/source_1/illumination"] = np.ones((8, 8), np.complex64)
    with pytest.raises(InputError, match=r"probe: found shape \(1, 8, 8\), expected .* at least 16 pixels"):
        load(path, LoadConfig(crop_px=16))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("budget", [1e-9, 1024.0])
def test_metres_and_measured_pixels_do_not_depend_on_the_padding(tmp_path, name, budget):
    scan = wide_scan(16, n=5)
    path, options = write(name, scan, tmp_path)
    whole = read_scan(path, LoadConfig(**options), calibrate=False)
    padded = read_scan(path, LoadConfig(**options, pad_px=24, memory_budget_gib=budget), calibrate=False)
    assert isinstance(padded.counts, np.ndarray) == (budget > 1)
    assert (padded.size, padded.good.sum()) == (24, whole.good.sum())
    inside = slice(4, 20)
    assert padded.good[inside, inside].sum() == padded.good.sum()
    np.testing.assert_array_equal(padded.counts[[3, 1]][:, inside, inside], whole.counts[:][[3, 1]])
    np.testing.assert_allclose(padded.positions_px * 16 / 24, whole.positions_px, rtol=1e-12)
    assert padded.pixel_size_m == pytest.approx(whole.pixel_size_m * 16 / 24, rel=1e-12)
    assert padded.wavelength_m / (24 * padded.pixel_size_m) == pytest.approx(6e-5 / 1.5, rel=1e-6)
    assert padded.provenance["padded_from_px"] == [16, 16]


@pytest.mark.parametrize("name", WITH_PROBE)
def test_the_sample_on_finer_pixels_explains_the_measured_ones(tmp_path, name):
    """Cut patterns are padded back to the pixels of the whole: what is lost is masked, and no zero counts for one."""
    path, options = write(name, wide_scan(), tmp_path)
    padded = load(path, LoadConfig(**options, crop_px=16, pad_px=32, calibration="none"))
    image, _ = on_canvas(padded, ratio=1)
    fit = compute_data_fit(padded, image, padded.probe, canvas_positions(padded))
    assert fit.amplitude_residual < 1e-4
    counted = compute_data_fit(padded.replace(mask=None), image, padded.probe, canvas_positions(padded))
    assert counted.amplitude_residual > fit.amplitude_residual


@given(seed=st.integers(0, 99), size=st.sampled_from([8, 14, 16]), more=st.sampled_from([2, 6, 16]))
def test_vacuum_looks_alike_on_finer_pixels(seed, size, more):
    """A beam that is displaced by a wedge of vacuum as well: its phase is exact on both pixels."""
    rng = np.random.default_rng(seed)
    modes = (rng.normal(size=(2, size, size)) + 1j * rng.normal(size=(2, size, size))).astype(np.complex64)
    scan = ScanData(np.ones((1, size, size), np.float32), np.zeros((1, 2)), modes, probe_gauge="calibrated")
    padded = pad_scan(scan, LoadConfig(pad_px=size + more))
    inside = padded.good.reshape(-1)
    np.testing.assert_allclose(
        far_field_intensity(padded.probe).reshape(-1)[inside],
        far_field_intensity(modes).reshape(-1),
        rtol=1e-3,
        atol=1e-4,
    )
    assert far_field_intensity(padded.probe).reshape(-1)[~inside].max() < 1e-6


def test_padded_patterns_survive_a_round_trip(tmp_path):
    path = save(wide_scan(), tmp_path / "scan.h5")
    padded = load(path, LoadConfig(crop_px=16, pad_px=24))
    convert(path, tmp_path / "padded.h5", config=LoadConfig(crop_px=16, pad_px=24))
    back = load(tmp_path / "padded.h5")
    for field in ("mask", "positions_px", "probe"):
        np.testing.assert_array_equal(getattr(back, field), getattr(padded, field))
    np.testing.assert_array_equal(back.counts[:], padded.counts[:])
    assert back.pixel_size_m == padded.pixel_size_m
    assert back.provenance["converted_from"]["options"]["pad_px"] == 24
    assert back.provenance["padded_from_px"] == [16, 16]


def test_a_second_padding_is_one_of_the_measured_patterns(tmp_path):
    path = save(wide_scan(16), tmp_path / "scan.h5")
    convert(path, tmp_path / "padded.h5", config=LoadConfig(pad_px=24))
    twice, once = load(tmp_path / "padded.h5", LoadConfig(pad_px=32)), load(path, LoadConfig(pad_px=32))
    assert twice.provenance["padded_from_px"] == once.provenance["padded_from_px"] == [16, 16]
    np.testing.assert_array_equal(twice.counts[:], once.counts[:])
    np.testing.assert_array_equal(twice.mask, once.mask)
    np.testing.assert_allclose(twice.positions_px, once.positions_px, rtol=1e-12)
    assert twice.pixel_size_m == pytest.approx(once.pixel_size_m, rel=1e-12)
    assert "unmeasured around 16 x 16 pixels; object pixel 2 times finer" in "\n".join(info_lines(info(twice)))
    cut = load(tmp_path / "padded.h5", LoadConfig(crop_px=16))
    assert "padded_from_px" not in cut.provenance
    np.save(tmp_path / "probe.npy", load(tmp_path / "padded.h5").probe)
    given_probe = load(
        tmp_path / "padded.h5", LoadConfig(pad_px=32, probe=str(tmp_path / "probe.npy"), calibration="none")
    )
    np.testing.assert_allclose(given_probe.probe, twice.probe, atol=1e-3)


def test_info_tells_that_patterns_are_padded(tmp_path):
    path = save(wide_scan(16), tmp_path / "scan.h5")
    look = info(load(path, LoadConfig(pad_px=24)))
    assert look.to_dict()["padded_from_px"] == [16, 16]
    assert "unmeasured around 16 x 16 pixels; object pixel 1.5 times finer" in "\n".join(info_lines(look))
    assert "padding" not in "\n".join(info_lines(info(load(path))))


def test_padding_finds_what_is_scattered_beyond_the_detector(tmp_path):
    """Half of a detector, padded, is solved better than the half alone, which folds what leaves it into the picture."""
    config = SimulateConfig(size=32, object="dead_leaves", object_size=(72, 72), step_px=4.0, photons=1e6, seed=3)
    scan = simulate(config)
    path = save(scan, tmp_path / "scan.h5")
    padded, cut = (load(path, LoadConfig(crop_px=16, pad_px=pad)) for pad in (32, None))
    assert padded.pixel_size_m == pytest.approx(scan.pixel_size_m, rel=1e-9)
    options = RefineConfig(iterations=60, refine_probe=False)
    errors = [error_of(refine(part, options), scan) for part in (padded, cut)]
    assert errors[0] < 0.75 * errors[1]


def error_of(recon, scan):
    """Complex error against the truth of a scan, on its pixels: larger ones are interpolated by their spectrum."""
    spectrum = np.fft.fftshift(np.fft.fft2(recon.object), (0, 1))
    ratio = round(recon.pixel_size_m / scan.pixel_size_m)
    if ratio > 1:
        edge = (ratio - 1) * len(spectrum) // 2
        spectrum = np.pad(spectrum, edge) * ratio**2
    image = np.fft.ifft2(np.fft.ifftshift(spectrum))
    first = [ratio * start for start in recon.origin_px]
    truth = scan.truth[first[0] : first[0] + len(image), first[1] : first[1] + len(image)]
    inner = slice(16, -16)
    image, truth = image[: len(truth), : len(truth)][inner, inner], truth[inner, inner]
    return np.linalg.norm(image * np.exp(-1j * np.angle(np.vdot(truth, image))) - truth) / np.linalg.norm(truth)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pad_px": 33}, "--pad-px: found 33, expected an even number"),
        ({"pad_px": 64, "geometry": "near-field"}, "--pad-px: found 64 in a near field, expected a far field"),
        ({"pad_px": 64, "truth": "object"}, "--truth: found object together with --pad-px"),
    ],
)
def test_padding_that_has_no_meaning_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        LoadConfig(**options)


def test_patterns_as_large_as_their_padding_are_refused(tmp_path):
    path = save(wide_scan(), tmp_path / "scan.h5")
    with pytest.raises(InputError, match=r"--pad-px: found 32, expected more than 32, the edge of its patterns"):
        load(path, LoadConfig(pad_px=32))
    near = wide_scan(fresnel_number=0.1)
    with pytest.raises(InputError, match="--pad-px: found 64, expected patterns of a far field"):
        pad_scan(near, LoadConfig(pad_px=64))


def test_a_probe_of_the_measured_patterns_is_extended_like_them(tmp_path):
    path, own_file = save(wide_scan(), tmp_path / "scan.h5"), save(wide_scan(), tmp_path / "probe.h5")
    padded = load(path, LoadConfig(pad_px=40))
    np.testing.assert_array_equal(load(path, LoadConfig(pad_px=40, probe=str(own_file))).probe, padded.probe)
    whole = load(path, LoadConfig(crop_px=16, pad_px=32, probe=str(own_file)))
    np.testing.assert_array_equal(whole.probe, wide_scan().probe)
