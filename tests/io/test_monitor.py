"""Beam monitors of scan files, of `--monitor`, and in files that are written."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

import ptypinn as pp
from ptypinn import LoadConfig, load, load_reconstruction, save
from ptypinn.config.simulate import SimulateConfig
from ptypinn.data.calibration import calibrate_probe
from ptypinn.errors import InputError
from ptypinn.stages.convert import list_lost_fields
from ptypinn.stages.info import info
from ptypinn.stages.refine import refine
from ptypinn.stages.simulate import simulate

SMALL = {"size": 32, "object_size": (72, 72), "n_patterns": 64, "object": "grf", "faults": ("flux:0.2",)}
READINGS = "entry/ion_chamber"


@pytest.fixture(scope="module")
def scan():
    return simulate(SimulateConfig(**SMALL))


@pytest.fixture(scope="module")
def flux(scan):
    return scan.experiment.flux


@pytest.fixture
def path(scan, tmp_path):
    return save(scan.replace(experiment=None), tmp_path / "scan.h5")


def write(place, values):
    """Write readings in the format of a suffix; return what `--monitor` takes for them."""
    kind = place.suffix
    if kind == ".npy":
        np.save(place, values)
    elif kind == ".npz":
        np.savez(place, monitor=values, other=values[:3])
    elif kind == ".h5":
        with h5py.File(place, "w") as file:
            file["a/i0"] = values.reshape(8, -1)
        return f"{place}:a/i0"
    elif kind == ".txt":
        place.write_text("".join(f"{value:.17g}\n" for value in values))
    else:
        lines = (f"{number};{value:.17g};9\n".replace(".", ",") for number, value in enumerate(values))
        place.write_text("frame;I0;ring\n" + "".join(lines))
        return f"{place}:I0"
    return str(place)


@pytest.mark.parametrize("kind", ["npy", "npz", "h5", "txt", "csv"])
def test_readings_of_every_kind_of_file_are_the_flux(path, flux, tmp_path, kind):
    read = load(path, LoadConfig(monitor=write(tmp_path / f"monitor.{kind}", 3e5 * flux)))
    assert np.allclose(read.flux, flux / flux.mean(), rtol=1e-12)
    assert read.provenance["monitor"]["from"].startswith("monitor.")


def test_a_dataset_of_the_scan_file_is_read_and_no_longer_among_the_unread(path, flux):
    with h5py.File(path, "r+") as file:
        file[READINGS] = flux
    assert any(READINGS in array for array in load(path).provenance["unread"])
    read = load(path, LoadConfig(monitor=READINGS))
    assert np.allclose(read.flux, flux)
    assert "unread" not in read.provenance
    assert read.provenance["monitor"]["from"] == READINGS


@pytest.mark.parametrize("whole", [True, False])
def test_selected_frames_have_their_readings(path, flux, tmp_path, whole):
    part = flux[::2]
    monitor = write(tmp_path / "monitor.npy", flux if whole else part)
    read = load(path, LoadConfig(monitor=monitor, select="0-:2"))
    assert np.allclose(read.flux, part / part.mean())


def test_frames_that_the_survey_leaves_out_need_no_reading(scan, flux, tmp_path):
    counts, readings = scan.counts.copy(), flux.copy()
    counts[7], readings[7] = 0, 0
    path = save(scan.replace(counts=counts, experiment=None), tmp_path / "scan.h5")
    read = load(path, LoadConfig(monitor=write(tmp_path / "monitor.npy", readings)))
    rest = np.delete(flux, 7)
    assert np.allclose(read.flux, rest / rest.mean())
    with pytest.raises(InputError, match="found 0 in frame 7"):
        load(path, LoadConfig(monitor=str(tmp_path / "monitor.npy"), survey=False))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda flux: flux[:-3], "found 61 readings, expected 64"),
        (lambda flux: np.where(np.arange(64) == 5, np.nan, flux), "found nan in frame 5"),
        (lambda flux: np.where(np.arange(64) < 2, 0, flux), "found 0 in frames 0 and 1"),
        (lambda flux: -flux, "found -"),
        (lambda flux: flux[:, None] * np.ones(3), r"readings of shape \(64, 3\)"),
        (lambda flux: flux.astype(str), "one number per frame"),
    ],
)
def test_readings_that_are_no_flux_are_refused_by_name(path, flux, tmp_path, change, message):
    np.save(tmp_path / "monitor.npy", change(flux))
    with pytest.raises(InputError, match=rf"monitor\.npy.*{message}"):
        load(path, LoadConfig(monitor=str(tmp_path / "monitor.npy")))


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("a;b\n1;2\n", "", "columns a, b, expected one column"),
        ("a;b\n1;2\n", ":c", "expected a column c"),
        ("1\nx\n", "", "line 2"),
        ("a;b\n1;2\n3\n", ":b", "line 3"),
    ],
)
def test_tables_at_fault_are_refused_by_their_line(path, tmp_path, text, column, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        load(path, LoadConfig(monitor=f"{tmp_path / 't.csv'}{column}"))


def test_what_is_neither_a_file_nor_a_dataset_is_refused(path, tmp_path):
    for monitor in ("entry/nothing", str(tmp_path / "none.npy"), f"{tmp_path / 'none.h5'}:a", str(path)):
        with pytest.raises(InputError, match="--monitor"):
            load(path, LoadConfig(monitor=monitor))


def test_a_known_flux_is_written_and_read_to_the_bit_and_left_aside_where_asked(scan, flux, tmp_path):
    known = simulate(SimulateConfig(**SMALL, monitor=True))
    assert np.array_equal(known.flux, flux / flux.mean())
    path = save(known, tmp_path / "known.h5")
    again = load(path)
    assert np.array_equal(again.flux, known.flux)
    assert again.provenance["monitor"]["from"] == "simulated"
    assert np.array_equal(load(path, LoadConfig(select="3-20")).flux, known.flux[3:21])
    bare = load(path, LoadConfig(monitor="none"))
    assert bare.flux is None
    assert "monitor" not in bare.provenance
    assert "flux of the frames" in list_lost_fields(known, "cxi")
    assert "flux of the frames" not in list_lost_fields(known, "native")


def test_monitor_without_flux_is_refused():
    with pytest.raises(InputError, match="flux-drift"):
        SimulateConfig(monitor=True)


def nexus_file(path, scan, monitors):
    """Write a scan as NXcxi_ptycho, with monitors by name in its instrument."""
    save(scan, path, "cxi")
    with h5py.File(path, "r+") as file:
        file["entry_1/definition"] = "NXcxi_ptycho"
        detector = file["entry_1/instrument_1/detector_1"]
        detector["translation"] = file["entry_1/sample_1/geometry_1/translation"][()]
        detector["translation"].attrs["units"] = "m"
        for name in ("distance", "x_pixel_size", "y_pixel_size"):
            detector[name].attrs["units"] = "m"
        energy = file["entry_1/instrument_1/source_1/energy"][()]
        file["entry_1/instrument_1/beam_1/energy"] = energy
        file["entry_1/instrument_1/beam_1/energy"].attrs["units"] = "J"
        for name, values in monitors.items():
            group = file.create_group(f"entry_1/instrument_1/{name}")
            group.attrs["NX_class"] = "NXmonitor"
            group["data"] = values
    return path


def test_the_monitor_of_nxcxi_is_recognised_by_its_class(scan, flux, tmp_path):
    path = nexus_file(tmp_path / "scan.nxs", scan.replace(experiment=None), {"ion_chamber": 1e-9 * flux.reshape(8, 8)})
    read = load(path)
    assert read.provenance["format"] == "nxcxi"
    assert np.allclose(read.flux, flux / flux.mean())
    assert not any("ion_chamber" in array for array in read.provenance.get("unread", []))
    assert load(path, LoadConfig(monitor="none")).flux is None


def test_several_of_them_are_named_and_none_is_taken(scan, flux, tmp_path):
    path = nexus_file(tmp_path / "scan.nxs", scan.replace(experiment=None), {"i0": flux, "i1": flux})
    read = load(path)
    assert read.flux is None
    assert any("2 beam monitors" in warning for warning in info(read).warnings)
    chosen = load(path, LoadConfig(monitor="entry_1/instrument_1/i1/data"))
    assert np.allclose(chosen.flux, flux / flux.mean())


def test_refine_has_the_flux_and_keeps_it(scan, flux, tmp_path):
    known = scan.replace(flux=flux / flux.mean(), experiment=None)
    errors = []
    for one in (known, scan):
        recon = refine(one, pp.RefineConfig(iterations=12, refine_probe=False, threads=1))
        errors.append(recon.metrics["amplitude_residual"] / recon.metrics["expected_residual"])
    assert errors[0] < 1.2 < 2 < errors[1]
    recon = refine(known, pp.RefineConfig(iterations=2, threads=1))
    again = load_reconstruction(save(recon, tmp_path / "recon.h5"))
    assert np.array_equal(again.flux, known.flux)


@pytest.mark.parametrize("rule", ["mean", "p99"])
def test_a_relative_probe_is_calibrated_at_the_flux_of_the_frames(scan, flux, rule):
    steady = simulate(SimulateConfig(**{**SMALL, "faults": ()}))
    photons = []
    for one in (steady, scan.replace(flux=flux)):
        relative = one.replace(probe_gauge="relative", experiment=None, provenance={})
        photons.append(np.sum(np.abs(calibrate_probe(relative, rule).probe) ** 2))
    assert photons[0] == pytest.approx(photons[1], rel=0.02)


def test_a_file_names_no_monitor_elsewhere(scan, flux, tmp_path):
    np.save(tmp_path / "secret.npy", flux)
    for place in (str(tmp_path / "secret.npy"), 3):
        stored = scan.replace(experiment=None, provenance={"monitor_at": place})
        read = load(save(stored, tmp_path / "scan.h5"))
        assert read.flux is None
        assert "monitor_at" not in read.provenance


@pytest.mark.parametrize(
    "values", [3.0, np.ones(5), np.zeros(64), np.full(64, np.nan), np.array([b"a"] * 64), np.ones((64, 2))]
)
def test_a_monitor_that_nobody_asked_for_and_is_no_flux_is_left_aside(scan, tmp_path, values):
    path = nexus_file(tmp_path / "scan.nxs", scan.replace(experiment=None), {"i0": values})
    read = load(path)
    assert read.flux is None
    assert any("i0/data is left aside" in doubt and "--monitor" in doubt for doubt in info(read).warnings)
    assert "doubts" not in load(path, LoadConfig(monitor="none")).provenance
    with pytest.raises(InputError):
        load(path, LoadConfig(monitor="entry_1/instrument_1/i0/data"))


def test_monitors_with_names_of_process_variables_and_loops_beside_them_are_read(scan, flux, tmp_path):
    path = nexus_file(tmp_path / "scan.nxs", scan.replace(experiment=None), {"26idc:I0": flux})
    with h5py.File(path, "r+") as file:
        instrument = file["entry_1/instrument_1"]
        instrument["loop"] = h5py.SoftLink("/entry_1/instrument_1/loop")
        instrument.create_group("two").attrs["NX_class"] = ["NXmonitor", "NXdata"]
    expected = flux / flux.mean()
    assert np.allclose(load(path).flux, expected)
    assert np.allclose(load(path, LoadConfig(monitor="entry_1/instrument_1/26idc:I0/data")).flux, expected)


def test_names_in_archives_are_honoured_and_refused_for_single_arrays(path, flux, tmp_path):
    np.savez(tmp_path / "all.npz", monitor=flux[::-1], I0=flux)
    assert np.allclose(load(path, LoadConfig(monitor=f"{tmp_path}/all.npz:I0")).flux, flux / flux.mean())
    np.save(tmp_path / "one.npy", flux)
    for monitor, message in (("all.npz:I1", "an array I1"), ("one.npy:I0", "the name I0")):
        with pytest.raises(InputError, match=message):
            load(path, LoadConfig(monitor=f"{tmp_path / monitor}"))


def test_readings_beyond_any_scan_are_refused_before_they_are_read(path, tmp_path, monkeypatch):
    monkeypatch.setattr("ptypinn.io.monitor.MAX_READINGS", 100)
    values = np.ones(101)
    np.savez(tmp_path / "m.npz", values)
    np.save(tmp_path / "m.npy", values)
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["a"] = values
    monkeypatch.setattr("ptypinn.io.counts.require_array", None)
    for name in ("m.npz", "m.npy", "m.h5:a"):
        with pytest.raises(InputError, match="at most 100 values"):
            load(path, LoadConfig(monitor=f"{tmp_path / name}"))


SPEC = "#F scan.spec\n#S 1  mesh  x 0 1  y 0 1\n#N 3\n#L  Stage X  y  I0\n"


@pytest.mark.parametrize(
    ("header", "row", "column"),
    [
        (SPEC, "1 2 {:.17g}\n", ":I0"),
        ("# ion chamber, in nA\n# of scan 5\n", "{:.17g}\n", ""),
        ("# of scan 5\n# frame, I0\n", "1, {:.17g}\n", ":I0"),
        ("# of scan 5\nframe, I0\n", "1, {:.17g}\n", ":I0"),
    ],
)
def test_the_last_comment_before_the_numbers_names_the_columns(path, flux, tmp_path, header, row, column):
    table = tmp_path / "table.txt"
    table.write_text(header + "".join(row.format(value) for value in flux) + "#C end of scan\n")
    assert np.allclose(load(path, LoadConfig(monitor=f"{table}{column}")).flux, flux / flux.mean())


def test_a_column_of_another_file_marks_no_array_of_the_scan_as_read(path, flux, tmp_path):
    with h5py.File(path, "r+") as file:
        file["I0"] = flux
    (tmp_path / "ion.csv").write_text("I0\n" + "".join(f"{value}\n" for value in flux))
    read = load(path, LoadConfig(monitor=f"{tmp_path / 'ion.csv'}:I0"))
    assert any("I0" in array for array in read.provenance["unread"])
    assert "unread" not in load(path, LoadConfig(monitor=f"{path}:I0")).provenance


def test_a_contradicted_monitor_leaves_the_flux_of_the_file_and_its_record_stays(scan, flux, tmp_path):
    known = simulate(SimulateConfig(**SMALL, monitor=True))
    path = save(known, tmp_path / "known.h5")
    np.save(tmp_path / "wrong.npy", flux[::-1])
    for place, kept in ((path, known.flux), (save(scan.replace(experiment=None), tmp_path / "scan.h5"), None)):
        with pytest.warns(UserWarning, match="do not follow it"):
            read = load(place, LoadConfig(monitor=str(tmp_path / "wrong.npy")))
        again = load(save(read, tmp_path / "again.h5"))
        for one in (read, again):
            assert np.array_equal(one.flux, kept) if kept is not None else one.flux is None
            assert one.provenance["monitor"]["applied"] is False
