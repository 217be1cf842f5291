"""A small picture of an object for the list of runs."""

from __future__ import annotations

import numpy as np

from ptypinn.metrics.masks import bounding_box
from ptypinn.view.layers import COMPLEX
from ptypinn.view.picture import WHOLE, Picture

PIXELS = 2 * 256**2
"""A thumbnail is drawn on a level of at most so many pixels."""


def thumbnail(picture: Picture) -> bytes:
    """The well-lit part of an object as a PNG, phase as hue and amplitude as brightness."""
    level, look = picture.pyramid.fitting(PIXELS), picture.require(COMPLEX).look
    shown = picture.shown(level, WHOLE, WHOLE)
    if shown is None or not shown.any():
        shown = np.ones(picture.pyramid.shape(level), bool)
    return picture.drawn(COMPLEX, level, *bounding_box(shown), look)
