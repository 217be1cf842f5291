"""The viewer shows the slices of a thick sample one by one, and predicts its patterns with all of them."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from tests.viewer.conftest import Viewer, write_finished_run

from ptypinn.errors import InputError
from ptypinn.io.load_save import save
from ptypinn.io.provenance import file_hash
from ptypinn.viewer.picture_file import OBJECT, open_picture
from thick_scans import SLICE_COUNT, make_thick_scan

ALL = slice(None)


@pytest.fixture(scope="module")
def made():
    return make_thick_scan()


@pytest.fixture(scope="module")
def viewer(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("thick") / "runs"
    path = save(made.scan, folder.parent / "scan.h5")
    scan = {"file": path.name, "format": "native", "sha256": file_hash(path), "options": {}}
    inputs = {"scan": {"path": str(path), **scan}}
    write_finished_run(folder / "thick", replace(made.recon, provenance={"scan": scan}), inputs, [])
    thin = replace(made.recon, slices=None, gap_fresnel_numbers=None, provenance={"scan": scan})
    write_finished_run(folder / "thin", thin, inputs, [])
    viewer = Viewer(folder)
    yield viewer
    viewer.stop()


def describe(viewer, name="thick", query=""):
    return viewer.get(f"/api/runs/{viewer.ids[name]}{query}").json["picture"]


def test_a_picture_file_shows_the_slice_that_is_asked_for(made, tmp_path):
    path = made.recon.save(tmp_path / "r.h5")
    for number, image in enumerate((made.recon.object, *made.recon.slices)):
        file = open_picture(path, number)
        assert (file.slices, file.shown_slice) == (SLICE_COUNT, number)
        np.testing.assert_array_equal(file.read(OBJECT, ALL, slice(3, 9)), image[:, 3:9])
    assert len({open_picture(path, number).key for number in range(SLICE_COUNT + 1)}) == SLICE_COUNT + 1
    with pytest.raises(InputError, match=f"slice: found 4, expected 0 to {SLICE_COUNT}"):
        open_picture(path, 4)


def test_every_slice_has_its_own_values_and_tiles(viewer, made):
    height, width = made.recon.object.shape
    tiles = set()
    for number in range(SLICE_COUNT + 1):
        picture = describe(viewer, query=f"?slice={number}")
        assert (picture["slices"], picture["slice"]) == (SLICE_COUNT, number)
        block = np.frombuffer(viewer.get(f"{picture['base']}/blocks/0/0").body, np.complex64)
        image = made.recon.slices[number - 1] if number else made.recon.object
        np.testing.assert_allclose(block.reshape(64, 64), image[:64, :64], rtol=1e-6)
        tile = viewer.get(f"{picture['base']}/tiles/phase/0/0/0.png?low=-1&high=1&map=gray")
        assert Image.open(io.BytesIO(tile.body)).size == (width, height)
        tiles.add(tile.body)
    assert len(tiles) == SLICE_COUNT + 1


@pytest.mark.parametrize("query", ["?slice=9", "?slice=-1", "?slice=x", "?slice=", "?slice=%C2%B2"])
def test_a_slice_that_does_not_exist_is_all_of_them(viewer, query):
    assert describe(viewer, query=query)["slice"] == 0


def test_a_thin_sample_has_none(viewer):
    picture = describe(viewer, "thin", "?slice=1")
    assert (picture["slices"], picture["slice"]) == (0, 0)


@pytest.mark.parametrize("gaps", [[0.2], [0.2, 0.0], np.full(50, 0.2)])
def test_gaps_that_do_not_fit_are_refused_in_one_line(made, tmp_path, gaps):
    folder = tmp_path / "runs"
    write_finished_run(folder / "odd", replace(made.recon, gap_fresnel_numbers=np.asarray(gaps)), {}, [])
    odd = Viewer(folder)
    try:
        picture = describe(odd, "odd")
        reply = odd.get(f"{picture['base']}/patterns/7")
        assert reply.status == 400
        assert "expected positive numbers, one for every gap between 3 slices" in reply.json["error"]
    finally:
        odd.stop()


def test_patterns_are_predicted_with_all_slices(viewer):
    figures = {}
    for name in ("thick", "thin"):
        picture = describe(viewer, name, "?slice=2")
        figures[name] = viewer.get(f"{picture['base']}/patterns/7").json
        assert viewer.get(f"{picture['base']}/patterns/7/predicted.png").status == 200
    thick, thin = (one["residual"] / one["expected_residual"] for one in figures.values())
    assert thick < 1.4
    assert thin > 3
