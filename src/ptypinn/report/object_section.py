"""The pictures at the top of a report: amplitude and phase of the object, with the region that figures are taken on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.metrics.masks import bounding_box
from ptypinn.report.blocks import Figures
from ptypinn.report.images import object_images
from ptypinn.report.outline import outline_path
from ptypinn.report.told import extent, panels_of
from ptypinn.report.view import MOST_PX, Frame, View, view_of


def object_panels(recon: Reconstruction, frame: Frame) -> Figures:
    """Amplitude and phase, large, with what is to be seen in words."""
    view = view_of(recon, frame)
    outline = outline_path(view.well_lit)
    panels = panels_of(
        object_images(view), recon.pixel_size_m, where=f"of the object, {_field(view, recon)}", most_px=MOST_PX
    )
    return Figures([replace(panel, outline=outline) for panel in panels], _caption(view, recon), 2)


def _caption(view: View, recon: Reconstruction) -> str:
    parts = [_seen(view, recon)]
    if view.well_lit.any() and not view.well_lit.all():
        parts.append("Inside the line the sample was well lit: figures of merit are taken there.")
    if view.step > 1:
        parts.append(f"Each pixel is the mean of {view.step} × {view.step}; `reconstruction.h5` holds all.")  # noqa: RUF001
    if recon.scale_note:
        parts.append(f"The {recon.scale_note}.")
    return " ".join(parts)


def _seen(view: View, recon: Reconstruction) -> str:
    """Field, amplitude and phase in one sentence."""
    lit = view.well_lit if view.well_lit.any() else np.isfinite(view.amplitude)
    if not np.isfinite(view.amplitude[lit]).any():
        return "The object has no finite pixel."
    low, high = np.nanpercentile(view.amplitude[lit], [5, 95])
    first, last = np.nanpercentile(view.phase[lit], [5, 95])
    return (
        f"Transmission over {_field(view, recon)}: amplitude {low:.3g} to {high:.3g} and a phase that spans "
        f"{last - first:.2g} rad, for nine pixels in ten."
    )


def _field(view: View, recon: Reconstruction) -> str:
    lit = view.well_lit if view.well_lit.any() else np.isfinite(view.amplitude)
    rows, columns = bounding_box(lit if lit.any() else np.ones_like(lit))
    height, width = (float(part.stop - part.start) for part in (rows, columns))
    return extent(height * view.step, width * view.step, recon.pixel_size_m)
