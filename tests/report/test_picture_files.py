"""Picture files show the panels with their scales; matplotlib is loaded for figures on request only."""

from __future__ import annotations

import dataclasses
import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ptypinn.cli.main import main
from ptypinn.report.figures.colours import AMPLITUDE_MAP, ColourScale
from ptypinn.report.figures.images import ScaledImage
from ptypinn.report.figures.object import write_figures
from ptypinn.report.figures.panels import make_panel, make_panels
from ptypinn.report.figures.pictures import compose_picture, write_pictures
from ptypinn.stages.evaluate import evaluate

NAMES = ["comparison", "object", "probe", "uncertainty"]


def pixels_of(content: bytes) -> np.ndarray:
    picture = Image.open(io.BytesIO(content))
    assert picture.format == "PNG" and picture.mode == "RGB"
    return np.asarray(picture)


def a_panel(height: int, width: int, title: str = "Noise", unit: str = "rad"):
    image = np.random.default_rng(0).uniform(size=(height, width)).astype(np.float32)
    return make_panel(ScaledImage(title, image, ColourScale(AMPLITUDE_MAP, 0.0, 1.0, unit)), 1e-8)


def test_every_colour_of_a_panel_is_in_its_picture_magnified_by_a_whole_number():
    panel = a_panel(50, 90)
    drawn = pixels_of(compose_picture([[panel]]))
    source = np.asarray(Image.open(io.BytesIO(panel.png)).convert("RGB"))
    magnified = source.repeat(4, axis=0).repeat(4, axis=1)
    top = next(
        row for row in range(drawn.shape[0] - 200) if (drawn[row : row + 60, 24:384] == magnified[:60, :360]).all()
    )
    assert 20 < top < 80
    bar = drawn[top + 200 :, 24:384].astype(int)
    colours = panel.scale.colours(255).astype(int)
    assert any(np.abs(line[[0, -1]] - colours[[0, -1]]).max() == 0 for line in bar)


def test_titles_units_and_ticks_are_drawn():
    plain = pixels_of(compose_picture([[a_panel(400, 400, "", "")]]))
    labelled = pixels_of(compose_picture([[a_panel(400, 400, "Phase", "rad")]], title="scaled by 2"))
    dark_plain, dark_labelled = (picture.max(-1) < 100 for picture in (plain, labelled))
    assert not dark_plain[:40].any()
    assert (
        dark_labelled[:40].any() and dark_labelled[50:70].any()
    )  # the text above all, then title and unit of the panel
    assert dark_plain[-55:].sum() > 100  # labels of ticks


@pytest.mark.parametrize("shapes", [[(1, 1)], [(3, 60), (3, 60)], [(1024, 700), (1024, 700)]])
def test_pictures_of_every_shape_are_drawn(shapes):
    drawn = pixels_of(compose_picture([[a_panel(*shape) for shape in shapes]]))
    assert drawn.shape[1] >= 360 * len(shapes)


@pytest.mark.parametrize("modes", [1, 3, 7])
def test_pictures_of_a_run_are_those_of_its_panels(recon, scan, modes, tmp_path):
    shown = dataclasses.replace(recon, probe=np.repeat(recon.probe[:1], modes, axis=0))
    panels = make_panels(shown, evaluate(recon, scan).comparison)
    paths = write_pictures(panels, shown, tmp_path)
    assert sorted(path.stem for path in paths) == NAMES == sorted(path.stem for path in tmp_path.iterdir())
    assert all(pixels_of(path.read_bytes()).size for path in paths)


def test_without_reference_or_uncertainty_pictures_are_fewer(recon, tmp_path):
    bare = dataclasses.replace(recon, uncertainty=None)
    paths = write_pictures(make_panels(bare), bare, tmp_path)
    assert sorted(path.stem for path in paths) == ["object", "probe", "uncertainty"]


def test_figures_for_publications_are_pdf_files(recon, scan, tmp_path):
    paths = write_figures(recon, evaluate(recon, scan).comparison, tmp_path / "figures")
    assert sorted(path.stem for path in paths) == NAMES
    assert all(path.read_bytes().startswith(b"%PDF") for path in paths)


@pytest.mark.parametrize("options", [[], ["--figures"]])
def test_the_command_line_writes_figures_on_request(recon, tmp_path, options):
    recon.save(tmp_path / "recon.h5")
    out = tmp_path / "out"
    assert main(["evaluate", str(tmp_path / "recon.h5"), "--output-dir", str(out), "--quiet", *options]) == 0
    assert (out / "object.png").exists()
    assert (out / "figures" / "object.pdf").exists() == bool(options)


def test_outputs_are_written_without_matplotlib(recon, scan, tmp_path):
    recon.save(tmp_path / "recon.h5")
    code = f"""
import sys
from pathlib import Path
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.report.figures.panels import make_panels
from ptypinn.report.figures.pictures import write_pictures
from ptypinn.report.html.report import write_report
recon = Reconstruction.load({str(tmp_path / "recon.h5")!r})
panels = make_panels(recon)
write_pictures(panels, recon, Path({str(tmp_path)!r}))
write_report(recon, Path({str(tmp_path / "report.html")!r}), panels=panels)
import ptypinn.cli.outputs
heavy = [name for name in ("matplotlib", "skimage") if name in sys.modules]
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.html").exists() and (tmp_path / "object.png").exists()
