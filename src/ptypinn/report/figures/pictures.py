"""Picture files of a run: the panels of its report with titles, colour bars and scale bars, drawn by Pillow.

They take a tenth of the time of matplotlib figures. `figures.object` draws those, for publications.
"""

from __future__ import annotations

import functools
import importlib.util
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.physics.optics import mode_photons
from ptypinn.report.figures.colours import LIGHT_THEME
from ptypinn.report.figures.panels import Panel, ReconstructionPanels
from ptypinn.report.text.scan import name_quanta
from ptypinn.utils.atomic_files import atomic_path
from ptypinn.utils.number_format import format_number

MIN_PX = 360
"""Shortest width of a panel in a picture: smaller ones are magnified by a whole number."""
MARGIN_PX = 24
BAR_COLOURS = 255
BAR_INTERVALS = 6
FONT = "mpl-data/fonts/ttf/DejaVuSans.ttf"
"""Font with every sign of units and exponents, which comes with matplotlib."""
COMPRESSION = 3
INK, SOFT, PAPER = LIGHT_THEME["ink"], LIGHT_THEME["soft"], LIGHT_THEME["card"]


def write_pictures(panels: ReconstructionPanels, recon: Reconstruction, folder: Path) -> list[Path]:
    """Write `object.png`, `probe.png`, `uncertainty.png` and, with a reference, `comparison.png`, each atomically.

    Args:
        panels: Panels of the reconstruction.
        recon: The reconstruction, for the titles.
        folder: Folder to write to.
    """
    photons = mode_photons(recon.probe)
    modes = f"{len(photons)} mode{'s' * (len(photons) != 1)}"
    probe_title = f"{modes}, {format_number(float(photons.sum()))} {name_quanta(recon)} per pattern"
    maps = [panels.illumination] if panels.uncertainty is None else [panels.illumination, panels.uncertainty]
    columns = [list(row) for row in zip(*panels.probe, strict=True)] if len(panels.probe) > 1 else panels.probe
    pictures = {
        "object": compose_picture([panels.object], recon.scale_note),
        "probe": compose_picture(columns, probe_title),
        "uncertainty": compose_picture([maps]),
    }
    if panels.comparison:
        title = f"Reconstruction: {recon.scale_note}" if recon.scale_note else ""
        pictures["comparison"] = compose_picture(panels.comparison, title)
    paths = []
    for name, content in pictures.items():
        with atomic_path(folder / f"{name}.png") as path:
            path.write_bytes(content)
        paths.append(folder / f"{name}.png")
    return paths


def compose_picture(rows: Sequence[Sequence[Panel]], title: str = "") -> bytes:
    """Return panels in rows as one PNG file, each with its title, colour bar and scale bar.

    Args:
        rows: The panels.
        title: Text above all.
    """
    widest = max(panel.width for row in rows for panel in row)
    magnification = max(1, -(-MIN_PX // widest))
    width = max(widest * magnification, MIN_PX)
    line = int(np.clip(width // 26, 14, 26))
    top = MARGIN_PX + (2 * line if title else 0)
    heights = [max(panel.height for panel in row) * magnification + 5 * line for row in rows]
    size = MARGIN_PX + max(map(len, rows)) * (width + MARGIN_PX), top + sum(heights) + MARGIN_PX // 2
    canvas = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(canvas, "RGBA")
    if title:
        draw.text((MARGIN_PX, MARGIN_PX), title, INK, font(line))
    for row, height in zip(rows, heights, strict=True):
        for column, panel in enumerate(row):
            _draw_panel(canvas, draw, panel, (MARGIN_PX + column * (width + MARGIN_PX), top), magnification, line)
        top += height
    return _png_of(canvas)


def _draw_panel(
    canvas: Image.Image, draw: ImageDraw.ImageDraw, panel: Panel, corner: tuple[int, int], magnification: int, line: int
) -> None:
    """Draw title, pixels, scale bar and colour bar below each other."""
    left, top = corner
    unit = f", {panel.scale.unit}" if panel.scale.unit else ""
    draw.text((left, top), f"{panel.title}{unit}", INK, font(line))
    size = panel.width * magnification, panel.height * magnification
    pixels = Image.open(io.BytesIO(panel.png)).convert("RGBA").resize(size, Image.Resampling.NEAREST)
    top += int(1.5 * line)
    draw.rectangle((left, top, left + size[0] - 1, top + size[1] - 1), SOFT)
    canvas.paste(pixels, (left, top), pixels)
    if panel.bar is not None:
        _draw_scale_bar(draw, panel.bar, (left, top + size[1]), size[0], line)
    _draw_colour_bar(canvas, draw, panel, (left, top + size[1] + line // 2), size[0], line)


def _draw_scale_bar(
    draw: ImageDraw.ImageDraw, bar: tuple[float, str], corner: tuple[int, int], width: int, line: int
) -> None:
    """Draw a white bar with its label on a dark ground into the lower left corner."""
    fraction, label = bar
    pad, length = line // 2, round(fraction * width)
    text = round(draw.textlength(label, font(line)))
    left, bottom = corner[0] + pad, corner[1] - pad
    right = left + max(length, text) + 2 * pad
    draw.rectangle((left, bottom - 2 * line - pad, right, bottom), (0, 0, 0, 140))
    start = (left + right - length) // 2
    draw.rectangle((start, bottom - pad, start + length, bottom - pad // 2), "white")
    draw.text(((left + right) / 2, bottom - pad - line // 4), label, "white", font(line), anchor="ms")


def _draw_colour_bar(
    canvas: Image.Image, draw: ImageDraw.ImageDraw, panel: Panel, corner: tuple[int, int], width: int, line: int
) -> None:
    """Draw the colours from the lowest to the highest value with ticks below."""
    left, top = corner
    thickness = max(line // 2, 8)
    ramp = Image.fromarray(panel.scale.colours(BAR_COLOURS)[None]).resize((width, thickness), Image.Resampling.NEAREST)
    canvas.paste(ramp, (left, top))
    for percent, label in panel.scale.tick_marks(BAR_INTERVALS):
        place = left + percent / 100 * (width - 1)
        draw.line((place, top + thickness, place, top + thickness + line // 3), INK)
        half = draw.textlength(label, font(line - 2)) / 2
        middle = min(max(place, left + half), left + width - half)
        draw.text((middle, top + thickness + line // 2), label, INK, font(line - 2), anchor="mt")


@functools.cache
def font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the font of pictures at a size; matplotlib is found, but not loaded."""
    spec = importlib.util.find_spec("matplotlib")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (Path(folder) / FONT).is_file():
            return ImageFont.truetype(str(Path(folder) / FONT), size_px)
    return ImageFont.load_default(size_px)


def _png_of(canvas: Image.Image) -> bytes:
    buffer = io.BytesIO()
    canvas.save(buffer, "PNG", compress_level=COMPRESSION)
    return buffer.getvalue()
