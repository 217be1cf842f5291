"""Reconstructions of PtychoShelves and fold_slice, and what scans of theirs have in common with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ptypinn.config.load import LoadConfig
from ptypinn.data.opr_modes import FrameProbes, from_opr_modes
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.errors import InputError
from ptypinn.io.arrays import as_positions, as_probe, foreign_reconstruction
from ptypinn.io.optics import require_square
from ptypinn.io.provenance import describe_source
from ptypinn.io.safe.hdf5 import limit_of
from ptypinn.io.safe.matlab import Variables, number, open_mat
from ptypinn.physics.optics import PLANCK_TIMES_C_EV_M

ANGSTROM = 1e-10
EVOLUTION = "outputs.probe_evolution"
"""Weights of the variations of the probe at every position."""


def read_shelves_reconstruction(path: Path, config: LoadConfig) -> Reconstruction:
    """Read object, probe and positions.

    Raises:
        InputError: Where one of them is missing, or the object has several layers.
    """
    source = str(path)
    with open_mat(path, ("object", "probe", "outputs", "p"), limit_of(config.memory_budget_gib)) as variables:
        image, probe = (variables.array(name) for name in ("object", "probe"))
        if image is None or probe is None or image.ndim not in (2, 3):
            raise InputError(source, "object", "no object with its probe", "both, in object and probe")
        probes, left_out = probes_of(source, probe, variables.array(EVOLUTION))
        modes = probes.probe
        optics = optics_of(variables, source, config)
        return foreign_reconstruction(
            source,
            image if image.ndim == 2 else np.moveaxis(image, -1, 0),
            modes,
            _corners(variables, source, image.shape[:2], modes.shape[-1]),
            pixel_size_m=optics.pop("pixel_size_m"),
            probe_variation=probes.variation,
            probe_weights=probes.weights,
            flux=probes.flux,
            provenance=describe_source(path, "ptychoshelves", config, left_out=left_out, optics=optics),
        )


def _corners(variables: Variables, source: str, shape: tuple[int, ...], size: int) -> np.ndarray:
    """Positions (y, x) of the probe's pixel (0, 0), pixels; fold_slice counts (x, y) from the middle of the object."""
    offsets, corners = variables.array("outputs.probe_positions"), variables.array("p.positions")
    if offsets is not None:
        middle = np.ceil((np.array(shape) - size) / 2) - 1
        return as_positions(source, "outputs.probe_positions", offsets, "x, y")[:, ::-1] + middle
    if corners is None:
        raise InputError(source, "p.positions", "nothing here", "positions, here or in outputs.probe_positions")
    return as_positions(source, "p.positions", corners)


def optics_of(variables: Variables, source: str, config: LoadConfig) -> dict[str, Any]:
    """Numbers of prepared data: SI units for photons; electrons have their object pixel in angstroms, and no more.

    Raises:
        InputError: Where object pixels are not square, unless an option gives their size.
    """
    pixel, keV = variables.array("p.dx_spec"), number(variables, "p.energy")
    if pixel is not None and config.pixel_size_m is None:
        require_square(source, "p.dx_spec", "object pixels", pixel.ravel(), "m or angstrom", "pixel_size_m")
    size = None if pixel is None or not pixel.flat[0] > 0 else float(pixel.flat[0])
    if "electron" in variables.text("p.beam_source"):
        size = None if size is None else size * ANGSTROM
        return {"particle": "electron", "pixel_size_m": size, "energy_eV": keV and 1e3 * keV}
    wavelength = number(variables, "p.lambda")
    return {
        "pixel_size_m": size,
        "energy_eV": PLANCK_TIMES_C_EV_M / wavelength if wavelength else keV and 1e3 * keV,
        "detector_distance_m": number(variables, "p.z"),
        "detector_pixel_m": number(variables, "p.ds"),
    }


def probes_of(source: str, values: np.ndarray, evolution: np.ndarray | None) -> tuple[FrameProbes, list[str]]:
    """Return the probes of all positions, and what is left out.

    Args:
        source: Name of the file for messages.
        values: Modes, (N, N), (N, N, modes) or (N, N, modes, variations), of whose first mode positions have a share.
        evolution: These shares, (M, variations); None where the file has none.
    """
    modes, left_out = modes_of(source, values)
    if evolution is None:
        return FrameProbes(modes), left_out
    images = values if values.ndim == 4 else values[..., None] if values.ndim == 3 else values[..., None, None]
    if evolution.ndim != 2 or evolution.shape[1] != images.shape[3] or not np.isfinite(evolution).all():
        actual = f"{evolution.dtype} of shape {evolution.shape}"
        raise InputError(source, EVOLUTION, actual, f"finite numbers of shape (M, {images.shape[3]})")
    return from_opr_modes(images.transpose(3, 2, 0, 1), evolution.astype(np.float64)), []


def modes_of(source: str, values: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Probe modes from (N, N, modes, variations): the mean probe; and that how it varies over the scan is left out."""
    if values.ndim not in (2, 3, 4):
        raise InputError(source, "probe", f"shape {values.shape}", "(N, N), (N, N, modes) or (N, N, modes, variations)")
    first, further = (values[..., 0], values.shape[-1] - 1) if values.ndim == 4 else (values, 0)
    left_out = [f"{further} variations of the probe over the scan"] if further else []
    return as_probe(source, "probe", first if first.ndim == 2 else np.moveaxis(first, -1, 0)), left_out
