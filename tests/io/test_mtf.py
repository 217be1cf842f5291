"""A measured modulation transfer function of the detector: read safely, part of every prediction, held fixed."""

import dataclasses

import numpy as np
import pytest
import torch

import ptypinn as pp
from ptypinn.config.load import LoadConfig
from ptypinn.config.reconstruct import ReconstructConfig
from ptypinn.config.refine import RefineConfig
from ptypinn.config.train import TrainConfig
from ptypinn.data.detector_mtf import gaussian_mtf, interpolate_mtf, transfer_image
from ptypinn.errors import InputError
from ptypinn.io.load_save import load, load_reconstruction, save
from ptypinn.io.mtf import read_mtf
from ptypinn.metrics.data_fit import predict_batches
from ptypinn.physics.detector import MeasuredBlur, point_spread
from ptypinn.report.text.experiment import experiment_sentences
from ptypinn.report.text.scan import info_lines
from ptypinn.stages.evaluate import experiment_warnings
from ptypinn.stages.info import info
from ptypinn.stages.refine import refine
from ptypinn.stages.train import train

FREQUENCY = np.linspace(0, 1, 21)


def scintillator(frequency):
    """A core and a wide tail: no Gaussian."""
    return 0.9 * np.exp(-0.5 * frequency**2) + 0.1 / (1 + (frequency / 0.3) ** 2)


@pytest.fixture(scope="module")
def sharp():
    config = {"size": 64, "object": "dead_leaves", "object_size": (128, 128), "step_px": 6.0, "photons": 1e5, "seed": 3}
    return pp.simulate(pp.SimulateConfig(**config)).replace(experiment=None)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("mtf") / "camera.csv"
    np.savetxt(path, np.column_stack([FREQUENCY, scintillator(FREQUENCY)]), delimiter=",", header="frequency,mtf")
    return path


@pytest.fixture(scope="module")
def blurred(sharp):
    """Patterns that such a camera blurs, with the counting noise after it."""
    size, rng, frames = sharp.size, np.random.default_rng(0), []
    spectrum = np.hypot(2 * np.fft.fftfreq(2 * size)[:, None], 2 * np.fft.rfftfreq(2 * size))
    for _, _, predicted in predict_batches(sharp, sharp.truth, sharp.probe, sharp.positions_px, 64, "cpu"):
        centred = np.fft.fftshift(predicted.numpy().astype(float), (1, 2))
        wide = np.fft.rfft2(centred, (2 * size, 2 * size)) * scintillator(spectrum)
        frames.append(np.fft.irfft2(wide, (2 * size, 2 * size))[:, :size, :size])
    counts = rng.poisson(np.maximum(np.concatenate(frames), 0))
    return sharp.replace(counts=counts.astype(np.uint32))


def error_of(recon, scan):
    first = recon.origin_px
    truth = scan.truth[first[0] :, first[1] :][: recon.object.shape[0], : recon.object.shape[1]]
    inner = slice(16, -16)
    image, truth = recon.object[: len(truth), : truth.shape[1]][inner, inner], truth[inner, inner]
    return np.linalg.norm(image * np.exp(-1j * np.angle(np.vdot(truth, image))) - truth) / np.linalg.norm(truth)


def test_a_blurred_scan_is_solved_with_its_transfer_function(sharp, blurred, table, tmp_path):
    path = save(blurred, tmp_path / "scan.h5")
    known = load(path, LoadConfig(mtf=str(table)))
    options = ReconstructConfig(refine_probe=False, assume="ideal", threads=1)
    errors = [error_of(pp.reconstruct(scan, config=options), sharp) for scan in (sharp, known, blurred)]
    assert errors[1] < 1.3 * errors[0]
    assert errors[1] < 0.6 * errors[2]


def test_it_is_on_record_and_survives_files(blurred, table, tmp_path):
    path = save(blurred, tmp_path / "scan.h5")
    known = load(path, LoadConfig(mtf=str(table)))
    assert known.provenance["mtf"]["file"] == "camera.csv"
    assert known.provenance["mtf"]["half_nyquist"] == pytest.approx(scintillator(0.5), abs=1e-3)
    again = load(save(known, tmp_path / "known.h5"))
    np.testing.assert_array_equal(again.mtf, known.mtf)
    assert any("MTF 0.82 at half Nyquist" in line for line in info_lines(info(again)))
    recon = refine(known, RefineConfig(iterations=2, refine_probe=False))
    back = load_reconstruction(save(recon, tmp_path / "recon.h5"))
    np.testing.assert_array_equal(back.mtf, known.mtf)
    assert any("camera.csv" in sentence for sentence in experiment_sentences(back))


def test_refine_goes_on_with_that_of_a_reconstruction(blurred, table, tmp_path):
    scan = load(save(blurred, tmp_path / "scan.h5"))
    known = load(tmp_path / "scan.h5", LoadConfig(mtf=str(table)))
    recon = refine(known, RefineConfig(iterations=2, refine_probe=False))
    again = refine(scan, RefineConfig(iterations=1, refine_probe=False), initial=recon)
    np.testing.assert_array_equal(again.mtf, known.mtf)
    assert again.provenance["scan"]["mtf"]["file"] == "camera.csv"
    other = load(tmp_path / "scan.h5", LoadConfig(mtf="0.7"))
    with pytest.raises(InputError, match="another one than that of --initial"):
        refine(other, RefineConfig(iterations=1), initial=recon)


def test_a_strong_blur_is_a_warning_on_the_uncertainty(blurred):
    scans = [blurred.replace(mtf=gaussian_mtf(half)) for half in (0.9, 0.4)]
    recons = [refine(scan, RefineConfig(iterations=1, refine_probe=False)) for scan in scans]
    warned = [any("MTF" in warning for warning in experiment_warnings(recon)) for recon in recons]
    assert warned == [False, True]


@pytest.mark.parametrize("table", [[[0.0, 1.0]], [[0.0, 1.0], [0.5, 0.9], [0.2, 0.5]], [[0.0, np.nan], [1.0, 0.5]]])
def test_damaged_tables_of_reconstructions_are_refused_in_a_line(blurred, table, tmp_path):
    recon = refine(blurred, RefineConfig(iterations=1, refine_probe=False))
    path = save(dataclasses.replace(recon, mtf=np.array(table)), tmp_path / "recon.h5")
    with pytest.raises(InputError, match=r"mtf: found values of shape .*, expected frequencies that increase"):
        load_reconstruction(path)


@pytest.mark.parametrize("edge", [8, 32])
def test_the_blur_is_its_own_adjoint_and_keeps_light(edge):
    blur = MeasuredBlur(torch.from_numpy(transfer_image(gaussian_mtf(0.6), edge)))
    one, other = torch.randn(2, 3, edge, edge, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close((blur.adjoint(one) * other).sum(), (one * blur.adjoint(other)).sum())
    spot = torch.zeros(1, edge, edge, dtype=torch.float64)
    spot[0, 0, 0] = 100.0  # in the middle of the detector
    assert float(blur.adjoint(spot).sum()) == pytest.approx(100.0, rel=3e-3)
    assert float(blur.spread(spot).min()) >= 0


def test_a_number_at_half_nyquist_is_a_gaussian():
    width = np.sqrt(-np.log(0.4) / (2 * np.pi**2 * 0.25**2))
    matrix = point_spread(32, float(np.sqrt(width**2 - 1 / 12)))  # pixels integrate
    spot = torch.zeros(1, 32, 32, dtype=torch.float64)
    spot[0, 0, 0] = 1.0
    blur = MeasuredBlur(torch.from_numpy(transfer_image(gaussian_mtf(0.4), 32)))
    assert float((blur.adjoint(spot) - matrix @ spot @ matrix).abs().max()) < 3e-3


def test_a_curve_goes_on_beyond_its_table_as_it_falls():
    table = np.column_stack([FREQUENCY, scintillator(FREQUENCY)])
    beyond = interpolate_mtf(table, np.array([1.0, 1.2, 1.41]))
    assert (np.diff(beyond) < 0).all()
    assert beyond[-1] > 0


@pytest.mark.parametrize(
    "text",
    [
        "0 1\n0.5 0.7\n1 0.3\n",
        "# f, MTF\n1, 0.3\n0, 1.0\n0.5, 0.7\n",
        "f;MTF\n0,0;1,0\n0,5;0,7\n1,0;0,3\n",
        "f\tMTF\n0.5\t0.7\n1.0\t0.3\n0.25\t0.9\n",
    ],
)
def test_tables_of_any_writing_are_read(tmp_path, text):
    path = tmp_path / "mtf.txt"
    path.write_text(text)
    table = read_mtf(path)
    assert table[0].tolist() == [0.0, 1.0]
    assert interpolate_mtf(table, np.array([0.5, 1.0])).tolist() == pytest.approx([0.7, 0.3])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 1\n0.5 0.7 3\n1 0.3\n", "line 2: found '0.5 0.7 3', expected two numbers"),
        ("0 1\n0.5 abc\n1 0.3\n", "line 2: found '0.5 abc'"),
        ("0 1\n50 0.7\n100 0.3\n", "line 2: found 50, expected a frequency in units of Nyquist"),
        ("0 100\n0.5 70\n1 30\n", "line 1: found an MTF of 100, expected a value from 0 to 1"),
        ("0 1\n0.1 0.9\n0.2 0.8\n", "MTF: found 3 values up to 0.2 times Nyquist"),
        ("0 1\n0.5 0.7\n0.5 0.6\n1 0.2\n", "MTF: found a frequency twice"),
        ("0 0.5\n0.5 0.4\n1 0.2\n", "MTF: found 0.5 at frequency 0"),
        ("f mtf\n", "MTF: found 0 values"),
    ],
)
def test_faulty_tables_are_refused_in_a_line(tmp_path, text, message):
    path = tmp_path / "mtf.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as refusal:
        read_mtf(path)
    assert str(refusal.value).count("\n") == 0


def test_numbers_out_of_bounds_and_missing_files_are_refused(sharp, tmp_path):
    path = save(sharp, tmp_path / "scan.h5")
    with pytest.raises(InputError, match=r"--mtf: found 1\.5, expected a number at half Nyquist"):
        load(path, LoadConfig(mtf="1.5"))
    with pytest.raises(InputError, match=r"absent\.csv"):
        load(path, LoadConfig(mtf=str(tmp_path / "absent.csv")))


def test_what_does_not_have_it_in_its_model_refuses_it(sharp, tmp_path):
    known = sharp.replace(mtf=gaussian_mtf(0.6))
    with pytest.raises(InputError, match="--mtf: found a point spread of the detector"):
        train(known, TrainConfig(), output_dir=tmp_path / "model")
    config = ReconstructConfig(point_spread="solve", rounds=1, probe_rounds=1)
    with pytest.raises(InputError, match="--point-spread: found solve together with --mtf"):
        pp.reconstruct(known, config=config)
    with pytest.raises(InputError, match=r"mtf: found values of shape"):
        dataclasses.replace(known, mtf=np.ones((3, 2)))
