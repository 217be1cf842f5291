"""Objects as TIFF images: float32 pages with the pixel size in their tags."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ptypinn.data.depth import project_phase
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.errors import InputError
from ptypinn.io.format import Entry, Format, recognise_none

CENTIMETRES_PER_METRE = 100.0
MIN_PIXEL_M = 1 / (CENTIMETRES_PER_METRE * (2**32 - 1))
"""Smallest pixel that the tags can hold, metres; smaller ones stand in the description alone."""


def write_tiff(recon: Reconstruction, path: Path) -> None:
    """Write amplitude and phase, pages of float32: of the object, of slices, and the projected phase of slices.

    Raises:
        InputError: Where the package tifffile is not installed.
    """
    try:
        from tifffile import RESUNIT, TiffWriter
    except ImportError as error:
        raise InputError(str(path), "format", "no package tifffile", "it; pip install 'ptypinn[tiff]'") from error
    pages = {"amplitude": (np.abs(recon.object), ""), "phase": (np.angle(recon.object), "rad")}
    for number, image in enumerate(() if recon.slices is None else recon.slices, 1):
        pages |= {f"amplitude of slice {number}": (np.abs(image), "")}
        pages |= {f"phase of slice {number}": (np.angle(image), "rad")}
    if recon.slices is not None:
        pages |= {"projected phase": (project_phase(recon.slices), "rad")}
    size = recon.pixel_size_m
    per_cm = None if size is None or size < MIN_PIXEL_M else (1 / (CENTIMETRES_PER_METRE * size),) * 2
    with TiffWriter(path, bigtiff=4 * len(pages) * recon.object.size >= 2**32 - 2**25) as file:
        for name, (image, unit) in pages.items():
            description = {"image": name, "unit": unit, "pixel_size_m": size, "origin_px": list(recon.origin_px)}
            file.write(
                np.asarray(image, np.float32),
                photometric="minisblack",
                software="ptypinn",
                description=json.dumps(description),
                resolution=per_cm,
                resolutionunit=None if per_cm is None else RESUNIT.CENTIMETER,
                metadata=None,
                contiguous=False,
            )


TIFF = Format(
    "TIFF images of the object",
    (".tif", ".tiff"),
    recognises=recognise_none,
    entries=(
        Entry("page 0", "object", "(H, W)", "", "amplitude of the transmission, float32"),
        Entry("page 1", "object", "(H, W)", "rad", "phase in [-pi, pi], float32"),
        Entry("pages 2, 3, ...", "slices", "(H, W)", "", "amplitude and phase of every slice of a thick sample", True),
        Entry("last page", "slices", "(H, W)", "rad", "projected phase of a thick sample: the sum over slices", True),
        Entry("XResolution, YResolution", "pixel_size_m", "", "pixels per cm", "of every page", True),
        Entry("ImageDescription", "pixel_size_m", "", "m", "JSON: image, unit, pixel_size_m, origin_px"),
    ),
    notes="Written, not read. Needs the extra `tiff`.",
    write_reconstruction=write_tiff,
    required=("object",),
)
