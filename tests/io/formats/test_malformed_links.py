"""No HDF5 file makes its reader open anything outside its folder; the kernel is asked what was opened."""

import ctypes
import os
import re

import h5py
import numpy as np
import pytest

from ptypinn.config.load import LoadConfig
from ptypinn.errors import InputError
from ptypinn.io.load_save import load
from ptypinn.io.safe.hdf5 import read_array
from ptypinn.io.safe.hdf5_open import open_hdf5

N, M = 16, 6
IN_OPEN, IN_NONBLOCK = 0x20, 0x800
SECRET = np.full((M, N, N), 3, np.uint16)


class Opened:
    """Whether a file was opened since, by anybody (Linux)."""

    def __init__(self, path):
        library = ctypes.CDLL(None, use_errno=True)
        self._handle = library.inotify_init1(IN_NONBLOCK)
        assert library.inotify_add_watch(self._handle, os.fsencode(path), IN_OPEN) >= 0

    def __bool__(self):
        try:
            return len(os.read(self._handle, 4096)) > 0
        except BlockingIOError:
            return False


@pytest.fixture
def outside(tmp_path):
    folder = tmp_path / "outside"
    folder.mkdir()
    with h5py.File(folder / "secret.h5", "w") as file:
        file["data"] = SECRET
    (folder / "secret.raw").write_bytes(SECRET.tobytes())
    return folder


@pytest.fixture
def inside(tmp_path):
    folder = tmp_path / "inside"
    folder.mkdir()
    return folder


def scan_with(folder, link):
    """A PtyLab scan whose patterns come about as `link` says."""
    path = folder / "scan.h5"
    with h5py.File(path, "w") as file:
        file["encoder"] = np.arange(2.0 * M).reshape(M, 2) * 1e-8
        for name, value in {"wavelength": 1e-10, "zo": 1.0, "dxd": 1e-4}.items():
            file[name] = value
        link(file, folder)
    return path


def external(target):
    def link(file, folder):
        file["ptychogram"] = h5py.ExternalLink(target, "/data")

    return link


def symlinked(file, folder):
    (folder / "near.h5").symlink_to("../outside/secret.h5")
    file["ptychogram"] = h5py.ExternalLink("near.h5", "/data")


def folder_symlinked(file, folder):
    (folder / "near").symlink_to("../outside")
    file["ptychogram"] = h5py.ExternalLink("near/secret.h5", "/data")


def second_hand(file, folder):
    with h5py.File(folder / "middle.h5", "w") as middle:
        middle["data"] = h5py.ExternalLink("../outside/secret.h5", "/data")
    file["ptychogram"] = h5py.ExternalLink("middle.h5", "/data")


def virtual(target):
    def link(file, folder):
        layout = h5py.VirtualLayout((M, N, N), "u2")
        layout[:] = h5py.VirtualSource(target, "data", (M, N, N))
        file.create_virtual_dataset("ptychogram", layout)

    return link


def raw(target):
    def link(file, folder):
        file.create_dataset("ptychogram", (M, N, N), "u2", external=[(str(target), 0, SECRET.nbytes)])

    return link


WAYS = {
    "upwards": lambda outside: external("../outside/secret.h5"),
    "absolute": lambda outside: external(str(outside / "secret.h5")),
    "relative to the working folder": lambda outside: external(os.path.relpath(outside / "secret.h5")),
    "down and up again": lambda outside: external("sub/../../outside/secret.h5"),
    "a symbolic link": lambda outside: symlinked,
    "a linked folder": lambda outside: folder_symlinked,
    "second hand": lambda outside: second_hand,
    "a virtual dataset": lambda outside: virtual("../outside/secret.h5"),
    "an absolute virtual dataset": lambda outside: virtual(str(outside / "secret.h5")),
    "raw data": lambda outside: raw(outside / "secret.raw"),
}


@pytest.mark.parametrize("way", WAYS)
def test_nothing_outside_is_opened_without_the_option(inside, outside, refused, way):
    (inside / "sub").mkdir()
    path = scan_with(inside, WAYS[way](outside))
    watches = [Opened(outside / name) for name in ("secret.h5", "secret.raw")]
    line = refused(path)
    assert re.search(r"outside the folder of the file, expected files in it, or --allow-external", line)
    assert not any(watches)


@pytest.mark.parametrize("way", WAYS)
def test_the_option_opens_it(inside, outside, way):
    (inside / "sub").mkdir()
    path = scan_with(inside, WAYS[way](outside))
    watches = [Opened(outside / name) for name in ("secret.h5", "secret.raw")]
    np.testing.assert_array_equal(load(path, LoadConfig(allow_external=True)).counts, SECRET)
    assert any(watches)


@pytest.mark.parametrize("link", [external("near.h5"), external("sub/near.h5"), virtual("near.h5")])
def test_the_folder_and_what_lies_below_are_inside(inside, link):
    (inside / "sub").mkdir()
    for place in (inside, inside / "sub"):
        with h5py.File(place / "near.h5", "w") as file:
            file["data"] = SECRET
    np.testing.assert_array_equal(load(scan_with(inside, link)).counts, SECRET)


def test_a_scan_that_is_itself_a_symbolic_link_is_where_it_leads_to(inside, outside):
    with h5py.File(inside / "near.h5", "w") as file:
        file["data"] = SECRET
    scan_with(inside, external("near.h5"))
    (outside / "scan.h5").symlink_to(inside / "scan.h5")
    assert load(outside / "scan.h5").n_patterns == M


def circle(file, folder):
    file["ptychogram"] = h5py.ExternalLink("other.h5", "/data")
    with h5py.File(folder / "other.h5", "w") as other:
        other["data"] = h5py.ExternalLink("scan.h5", "/ptychogram")


def own_tail(file, folder):
    file["ptychogram"] = h5py.ExternalLink("scan.h5", "/ptychogram")


def nowhere(file, folder):
    file["ptychogram"] = h5py.ExternalLink("/nowhere/at/all.h5", "/data")


def no_hdf5(file, folder):
    (folder / "near.h5").write_text("hello")
    file["ptychogram"] = h5py.ExternalLink("near.h5", "/data")


def group_circle(file, folder):
    file["ptychogram"] = file["/"]


@pytest.mark.parametrize("link", [circle, own_tail, nowhere, no_hdf5, group_circle])
def test_links_that_lead_to_nothing_end_in_one_line(inside, refused, link):
    refused(scan_with(inside, link), "--format=ptylab")


def test_too_many_objects_end_in_one_line(inside, refused, monkeypatch):
    monkeypatch.setattr("ptypinn.io.safe.hdf5_open.MAX_OBJECTS", 3)
    assert "more than 3 objects" in refused(scan_with(inside, lambda file, folder: None))


def test_probe_files_are_held_to_the_same(inside, outside, refused):
    path = scan_with(inside, lambda file, folder: file.create_dataset("ptychogram", data=SECRET))
    with h5py.File(inside / "probe.h5", "w") as file:
        file["entry_1/ptypinn_1/probe"] = h5py.ExternalLink("../outside/secret.h5", "/data")
    assert "outside the folder" in refused(path, f"--probe={inside / 'probe.h5'}")


def test_arrays_that_are_really_there_are_read_however_well_they_pack(tmp_path, monkeypatch):
    monkeypatch.setattr("ptypinn.io.safe.hdf5.HARMLESS_BYTES", 1e6)
    with h5py.File(tmp_path / "zeros.h5", "w") as file:
        file.create_dataset("zeros", (2**22,), "u2", chunks=(2**20,), compression="gzip", data=np.zeros(2**22, "u2"))
        assert not read_array(file["zeros"]).any()


def test_a_file_of_the_same_name_in_the_current_folder_does_not_matter(tmp_path, monkeypatch):
    measured, current = tmp_path / "measured", tmp_path / "current"
    for folder, value in ((measured, 1.0), (current, 2.0)):
        folder.mkdir()
        with h5py.File(folder / "data.h5", "w") as file:
            file["x"] = np.full(4, value)
    with h5py.File(measured / "master.h5", "w") as file:
        file["link"] = h5py.ExternalLink("data.h5", "x")
        layout = h5py.VirtualLayout((4,), float)
        layout[:] = h5py.VirtualSource("data.h5", "x", (4,))
        file.create_virtual_dataset("virtual", layout)
    monkeypatch.chdir(current)
    with open_hdf5(measured / "master.h5") as file:
        assert [file[name][0] for name in ("link", "virtual")] == [1.0, 1.0]
    (measured / "data.h5").unlink()
    with pytest.raises(InputError, match="outside the folder of the file"):
        open_hdf5(measured / "master.h5").__enter__()
