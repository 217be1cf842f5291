"""File formats of other packages by entry point, and files that more than one format recognises."""

import h5py
import numpy as np
import pytest

from plug_ins import install_plug_in
from ptypinn.cli.main import main
from ptypinn.config.load import LoadConfig
from ptypinn.errors import InputError
from ptypinn.io.load_save import detect_format, find_format, list_formats, load, save

MODULE = """
from pathlib import Path

import h5py
import numpy as np

from ptypinn.config.load import LoadConfig
from ptypinn.data.scan import ScanData
from ptypinn.io.format import Entry, Format, recognise_hdf5


def read(path: Path, config: LoadConfig) -> ScanData:
    with h5py.File(path) as file:
        return ScanData(file["dp"][()], file["where"][()], provenance={"file": path.name, "format": "toy"})


TOY = Format(
    "toy file",
    (".toy",),
    recognises=recognise_hdf5(lambda file: "where" in file),
    entries=(Entry("dp", "counts", "(M, N, N)"), Entry("where", "positions_px", "(M, 2)")),
    read=read,
)
"""


@pytest.fixture
def toy(tmp_path):
    rng = np.random.default_rng(1)
    path = tmp_path / "scan.toy"
    with h5py.File(path, "w") as file:
        file["dp"] = rng.poisson(5.0, (4, 8, 8)).astype(np.uint16)
        file["where"] = rng.uniform(0, 9, (4, 2))
        file["dark"] = np.ones((8, 8), np.uint16)
    return path


def test_a_format_of_an_installed_package_is_detected_read_and_described(site, toy, capsys):
    install_plug_in(site, "ptypinn.formats", "toy_formats", MODULE, "toy = toy_formats:TOY")
    assert detect_format(toy) == "toy"
    scan = load(toy)
    assert scan.n_patterns == 4
    assert scan.provenance["unread"] == ["dark: uint16 (8, 8)"]
    assert main(["info", str(toy)]) == 0
    assert "dark: uint16 (8, 8)" in capsys.readouterr().out


def test_without_the_package_the_file_is_no_known_format_and_never_one_that_shares_a_name(toy):
    with pytest.raises(InputError, match="content of no format"):
        detect_format(toy)
    with pytest.raises(InputError, match=r"--format: found 'toy', expected one of .*is the package installed"):
        find_format("toy")


def test_two_formats_that_recognise_a_file_are_both_named(site, toy):
    install_plug_in(site, "ptypinn.formats", "toy_formats", MODULE, "toy = toy_formats:TOY", "tame = toy_formats:TOY")
    with pytest.raises(InputError, match=r"toy file and of toy file.*--format toy or --format tame") as error:
        detect_format(toy)
    assert "\n" not in str(error.value)
    assert load(toy, LoadConfig(format="tame")).n_patterns == 4


@pytest.mark.parametrize(
    ("text", "reason"), [("raise OSError('no libfoo')", "OSError: no libfoo"), ("TOY = 3", "a int, expected")]
)
def test_a_broken_plug_in_is_one_line_and_hides_no_other_format(site, text, reason, make_scan, tmp_path):
    install_plug_in(site, "ptypinn.formats", "broken_formats", text, "broken = broken_formats:TOY")
    with pytest.raises(InputError, match=f"the plug-in broken .*{reason}"):
        find_format("broken")
    path = save(make_scan(), tmp_path / "scan.h5")
    with pytest.warns(UserWarning, match=reason):
        assert detect_format(path) == "native"
    with pytest.warns(UserWarning, match=reason):
        assert "broken" not in list_formats()


def test_a_recogniser_that_fails_and_a_name_that_is_taken_are_warned_of(site, make_scan, tmp_path):
    failing = MODULE.replace('recognise_hdf5(lambda file: "where" in file)', "lambda path: 1 / 0")
    install_plug_in(site, "ptypinn.formats", "toy_formats", failing, "toy = toy_formats:TOY", "cxi = toy_formats:TOY")
    path = save(make_scan(), tmp_path / "scan.cxi", "cxi")
    with pytest.warns(UserWarning, match="plug-in") as warned:
        assert detect_format(path) == "cxi"
    messages = [str(warning.message) for warning in warned]
    assert any("cxi (toy_formats:TOY) has the name of a format of ptypinn" in message for message in messages)
    assert any("the plug-in toy fails to recognise it with ZeroDivisionError" in message for message in messages)
