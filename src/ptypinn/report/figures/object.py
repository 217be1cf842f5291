"""Figures of a reconstruction: the object, the probe, its light, and how it compares with a reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.metrics.comparison import Comparison
from ptypinn.report.figures.display import frame_of, view_of
from ptypinn.report.figures.images import (
    ScaledImage,
    comparison_images,
    light_images,
    mode_photons,
    object_images,
    probe_images,
)
from ptypinn.report.figures.style import literal, new_figure, show_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def object_figure(recon: Reconstruction, title: str = "") -> Figure:
    """Amplitude and phase of the object where it was lit, with scale bars; the title tells of prediction scaling.

    The phase is shown relative to its mean over the well-lit pixels.
    """
    images = object_images(view_of(recon, frame_of(recon)))
    figure = new_figure(10.0, 0.6 + 4.4 * _aspect(images[0]))
    if title := ", ".join(text for text in (title, recon.scale_note) if text):
        figure.suptitle(literal(title), fontsize=11)
    _show(figure.subplots(1, 2), images, recon.pixel_size_m)
    return figure


def uncertainty_figure(recon: Reconstruction) -> Figure:
    """Photons on every object pixel, and beside them the expected error of its transmission where it is known."""
    images = light_images(recon, frame_of(recon))
    figure = new_figure(5.2 * len(images), 0.6 + 4.4 * _aspect(images[0]))
    _show(figure.subplots(1, len(images), squeeze=False)[0], images, recon.pixel_size_m)
    return figure


def probe_figure(recon: Reconstruction) -> Figure:
    """Amplitude and phase of the strongest probe modes, with the share of the power in each."""
    pairs, powers = probe_images(recon.probe), mode_photons(recon.probe)
    columns = len(pairs)
    figure = new_figure(max(3.1 * columns, 6.2), 5.6) if columns > 1 else new_figure(7.0, 3.2)
    axes = figure.subplots(2, columns) if columns > 1 else figure.subplots(1, 2).reshape(2, 1)
    photons = f"{powers.sum():.4g} photons per pattern"
    figure.suptitle(f"{len(powers)} mode{'s' * (len(powers) > 1)}, {photons}", fontsize=11)
    for column, pair in zip(axes.T, pairs, strict=True):
        _show(column, pair, recon.pixel_size_m)
    return figure


def comparison_figure(comparison: Comparison, pixel_size_m: float | None = None, note: str = "") -> Figure:
    """Reference, reconstruction and difference, amplitude above phase; each row's two images share one colour scale.

    Args:
        comparison: The aligned object beside its reference.
        pixel_size_m: Pixel, metres; None draws scale bars in pixels.
        note: Remark on the reconstruction for the title, such as its prediction scaling.
    """
    rows = comparison_images(comparison)
    figure = new_figure(12.5, 0.8 + 6.6 * _aspect(rows[0][0]))
    if note:
        figure.suptitle(f"Reconstruction: {literal(note)}", fontsize=11)
    for axes, images in zip(figure.subplots(2, 3), rows, strict=True):
        _show(axes, images, pixel_size_m)
    return figure


def _show(axes: Sequence[Axes] | np.ndarray, images: Sequence[ScaledImage], pixel_size_m: float | None) -> None:
    for panel, drawn in zip(axes, images, strict=True):
        show_image(panel, drawn.image, drawn.title, drawn.scale, pixel_size_m, step=drawn.step)


def _aspect(drawn: ScaledImage) -> float:
    height, width = drawn.image.shape
    return float(np.clip(height / width, 0.4, 1.6))
