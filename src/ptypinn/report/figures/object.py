"""Matplotlib figures of a reconstruction: object, probe, illumination, uncertainty, comparison with a reference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.metrics.comparison import Comparison
from ptypinn.physics.optics import mode_photons
from ptypinn.report.figures.display import find_visible_region, view_object
from ptypinn.report.figures.images import (
    ScaledImage,
    comparison_images,
    illumination_image,
    object_images,
    probe_images,
    uncertainty_image,
)
from ptypinn.report.figures.style import escape_mathtext, new_figure, show_image
from ptypinn.report.text.scan import name_quanta
from ptypinn.utils.atomic_files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def object_figure(recon: Reconstruction, title: str = "") -> Figure:
    """Draw amplitude and phase of the illuminated part of the object; the title names a prediction scaling.

    The phase is shown relative to its mean over the well-illuminated pixels.
    """
    images = object_images(view_object(recon, find_visible_region(recon)))
    figure = new_figure(10.0, 0.6 + 4.4 * _aspect(images[0]))
    if title := ", ".join(text for text in (title, recon.scale_note) if text):
        figure.suptitle(escape_mathtext(title), fontsize=11)
    _show(figure.subplots(1, 2), images, recon.pixel_size_m)
    return figure


def uncertainty_figure(recon: Reconstruction) -> Figure:
    """Draw the photons on every object pixel, and the expected error of its transmission where it was estimated."""
    region = find_visible_region(recon)
    maps = [illumination_image(recon, region), uncertainty_image(recon, region)]
    images = [image for image in maps if image is not None]
    figure = new_figure(5.2 * len(images), 0.6 + 4.4 * _aspect(images[0]))
    _show(figure.subplots(1, len(images), squeeze=False)[0], images, recon.pixel_size_m)
    return figure


def probe_figure(recon: Reconstruction) -> Figure:
    """Draw amplitude and phase of the strongest probe modes, with the fraction of the photons in each."""
    pairs, photons = probe_images(recon.probe, name_quanta(recon)), mode_photons(recon.probe)
    columns = len(pairs)
    figure = new_figure(max(3.1 * columns, 6.2), 5.6) if columns > 1 else new_figure(7.0, 3.2)
    axes = figure.subplots(2, columns) if columns > 1 else figure.subplots(1, 2).reshape(2, 1)
    title = f"{len(photons)} mode{'s' * (len(photons) > 1)}, {photons.sum():.4g} {name_quanta(recon)} per pattern"
    figure.suptitle(title, fontsize=11)
    for column, pair in zip(axes.T, pairs, strict=True):
        _show(column, pair, recon.pixel_size_m)
    return figure


def comparison_figure(comparison: Comparison, pixel_size_m: float | None = None, note: str = "") -> Figure:
    """Draw reference, reconstruction and difference, amplitude above phase; the first two share one colour scale.

    Args:
        comparison: The aligned object beside its reference.
        pixel_size_m: Pixel, metres; None draws scale bars in pixels.
        note: Remark on the reconstruction for the title, such as its prediction scaling.
    """
    rows = comparison_images(comparison)
    figure = new_figure(12.5, 0.8 + 6.6 * _aspect(rows[0][0]))
    if note:
        figure.suptitle(f"Reconstruction: {escape_mathtext(note)}", fontsize=11)
    for axes, images in zip(figure.subplots(2, 3), rows, strict=True):
        _show(axes, images, pixel_size_m)
    return figure


def write_figures(recon: Reconstruction, comparison: Comparison | None, folder: Path) -> list[Path]:
    """Write every figure as a PDF with text and vector axes, for publications.

    Args:
        recon: The reconstruction.
        comparison: The object beside its reference, where there is one.
        folder: Folder to write to; it is made where it does not exist.
    """
    figures = {"object": object_figure(recon), "probe": probe_figure(recon), "uncertainty": uncertainty_figure(recon)}
    if comparison is not None:
        figures["comparison"] = comparison_figure(comparison, recon.pixel_size_m, recon.scale_note)
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        with atomic_path(folder / f"{name}.pdf") as path, path.open("wb") as file:
            figure.savefig(file, format="pdf", dpi=300)
    return [folder / f"{name}.pdf" for name in figures]


def _show(axes: Sequence[Axes] | np.ndarray, images: Sequence[ScaledImage], pixel_size_m: float | None) -> None:
    for panel, drawn in zip(axes, images, strict=True):
        show_image(panel, drawn.image, drawn.title, drawn.scale, pixel_size_m, binning=drawn.binning)


def _aspect(drawn: ScaledImage) -> float:
    height, width = drawn.image.shape
    return float(np.clip(height / width, 0.4, 1.6))
