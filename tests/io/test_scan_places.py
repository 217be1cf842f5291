"""Every file that reading a scan depends on is listed, also where it is missing so far."""

import h5py
import numpy as np
import pytest

from ptypinn.config.load import LoadConfig
from ptypinn.io.load_save import list_scan_places
from ptypinn.viewer.folders import stamp_places


def link(file, folder):
    file["linked"] = h5py.ExternalLink("sub/other.h5", "data")


def map_virtual(file, folder):
    layout = h5py.VirtualLayout((4,), float)
    layout[:] = h5py.VirtualSource("sub/other.h5", "data", shape=(4,))
    file.create_virtual_dataset("mapped", layout)


def map_numbered(file, folder):
    space = h5py.h5s.create_simple((4, 4), (h5py.h5s.UNLIMITED, 4))
    space.select_hyperslab((0, 0), (h5py.h5s.UNLIMITED, 1), block=(1, 4))
    created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    created.set_virtual(space, b"sub/other%b.h5", b"data", h5py.h5s.create_simple((1, 4)))
    h5py.h5d.create(file.id, b"mapped", h5py.h5t.NATIVE_DOUBLE, space, created)


def store_outside(file, folder):
    (folder / "sub").mkdir(exist_ok=True)
    file.create_dataset("raw", (4,), float, external=[("sub/other.h5", 0, 32)])


def link_twice(file, folder):
    with h5py.File(folder / "between.h5", "w") as between:
        link(between, folder)
    file["linked"] = h5py.ExternalLink("between.h5", "linked")


@pytest.mark.parametrize("refer", [link, map_virtual, map_numbered, store_outside, link_twice])
@pytest.mark.parametrize("option", [False, True])
def test_whatever_a_file_refers_to_is_listed(tmp_path, refer, option):
    path, other = tmp_path / "scan.h5", tmp_path / "sub" / ("other0.h5" if refer is map_numbered else "other.h5")
    with h5py.File(path, "w") as file:
        refer(file, tmp_path)
    config = LoadConfig(mask=f"{path}:linked", mask_convention="good") if option else LoadConfig()
    scan = tmp_path / "other_scan.npz" if option else path
    other.parent.mkdir(exist_ok=True)
    other.unlink(missing_ok=True)
    places = list_scan_places(scan, config)
    assert {scan, path} <= set(places) and (other in places or other.parent in places)
    stamps = [stamp_places(places)]
    for content in (b"1", b"22"):
        other.write_bytes(content)
        places = list_scan_places(scan, config)
        assert other in places
        stamps.append(stamp_places(places))
    assert len(set(stamps)) == 3


def test_files_of_options_and_of_cameras_are_listed(tmp_path):
    (tmp_path / "scan.xml").write_text('<root><raw_file filename="scan.raw"/></root>')
    config = LoadConfig(mask="mask.npy", mask_convention="bad", dark=str(tmp_path / "dark.h5:entry/data"))
    places = {place.name for place in list_scan_places(tmp_path / "scan.xml", config)}
    assert {"scan.xml", "scan.raw", "mask.npy", "dark.h5"} <= places


def test_a_link_that_leads_elsewhere_counts(tmp_path):
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", np.zeros(3))
    place = tmp_path / "mask.npy"
    place.symlink_to("a.npy")
    stamps = [stamp_places([place])]
    np.save(tmp_path / "a.npy", np.zeros(4))
    stamps.append(stamp_places([place]))
    place.unlink()
    place.symlink_to("b.npy")
    stamps.append(stamp_places([place]))
    assert len(set(stamps)) == 3


def test_files_that_refer_to_each_other_end(tmp_path):
    for one, other in ("ab", "ba"):
        with h5py.File(tmp_path / f"{one}.h5", "w") as file:
            file["linked"] = h5py.ExternalLink(f"{other}.h5", "linked")
    assert {place.name for place in list_scan_places(tmp_path / "a.h5", LoadConfig())} == {"a.h5", "b.h5"}
