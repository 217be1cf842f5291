"""Orthogonal probe relaxation (OPR) as other programs store it, and as reconstructions hold it.

Other programs store images and a weight of each in every frame, `P_j = sum_k w_jk Q_k` (Odstrcil et al., Opt. Express
24 (2016) 8360); of several incoherent modes the first alone varies. Here frames add images to a mean probe, by weights
of mean 0, and what changes of their power is the flux.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Complex64, Complex128, Float64

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.physics.optics import mode_photons

NEGLIGIBLE = 1e-10
"""Power of an image over that of the probe below which it is left out: float32 holds no more."""
BLOCK = 2**18
"""Numbers of all frames that are taken in double precision at a time."""
CONSTANT = 1e-6
"""Standard deviation of a flux that is the same in all frames."""


class FrameProbes(NamedTuple):
    """A probe that varies from frame to frame, as a reconstruction holds it."""

    probe: Complex64[np.ndarray, "mode y x"]
    """Mean modes, with the mean power of the frames."""
    variation: Complex64[np.ndarray, "order mode y x"] | None = None
    """Images that every frame adds; None for none."""
    weights: Float64[np.ndarray, "patterns order"] | None = None
    """Their weights: mean 0, mean square 1, orthogonal over the frames."""
    flux: Float64[np.ndarray, " patterns"] | None = None
    """Power of the frames over the mean; None where it is constant."""


def measure_variation(recon: Reconstruction) -> float:
    """Return the fraction of the photons that lie beside the mean probe."""
    if recon.probe_variation is None:
        return 0.0
    added = float(np.square(np.abs(recon.probe_variation)).sum())
    return added / (added + float(mode_photons(recon.probe).sum()))


def from_opr_modes(
    images: Complex[np.ndarray, "order mode y x"], weights: Float64[np.ndarray, "patterns order"]
) -> FrameProbes:
    """Return the probes of frames from the images and weights of another program.

    Args:
        images: Images, strongest first; of all but the first image the first mode counts.
        weights: Weight of every image in the frames.
    """
    images = np.asarray(images, np.complex128)
    factor = np.ones(len(weights))
    if images.shape[1] == 1 and (weights[:, 0] > 0).all():
        factor = weights[:, 0]
    shares = weights / factor[:, None]
    flat, mean = images[:, 0].reshape(len(images), -1), shares.mean(0)
    probe = images[0].copy()
    probe[0] = (mean @ flat).reshape(probe.shape[1:])
    columns, strengths, rows = np.linalg.svd(shares - mean, full_matrices=False)
    added = (strengths / len(weights) ** 0.5)[:, None] * (rows @ flat)
    power, powers = float(np.sum(np.abs(probe) ** 2)), np.sum(np.abs(added) ** 2, 1)
    strong = powers > NEGLIGIBLE * power
    added, columns = added[strong], columns[:, strong] * len(weights) ** 0.5
    others = float(np.sum(np.abs(probe[1:]) ** 2))
    frames = factor**2 * (_first_powers(probe[0].ravel(), added, columns) + others)
    if not power * frames.mean() > 0:
        return FrameProbes(images[0].astype(np.complex64))
    flux, scale = frames / frames.mean(), np.sqrt(frames.mean() / power)
    variation = np.zeros((len(added), *probe.shape), np.complex64)
    variation[:, 0] = (scale * added).reshape(len(added), *probe.shape[1:])
    varies = len(added) > 0
    return FrameProbes(
        (scale * probe).astype(np.complex64),
        variation if varies else None,
        columns if varies else None,
        flux if flux.std() > CONSTANT else None,
    )


def from_frames(frames: Complex[np.ndarray, "patterns mode y x"]) -> FrameProbes:
    """Return the probes of frames from the modes of every frame, whose phase is free.

    Args:
        frames: Modes in every frame, in the order of the scan.
    """
    count, shape = len(frames), frames.shape[1:]
    waves = frames.reshape(count, -1)
    products = sum((part @ part.conj().T for part in _pixel_blocks(waves)), np.zeros((count, count), np.complex128))
    powers = np.diagonal(products).real.copy()
    shares = 1 / np.sqrt(powers)
    products *= shares * shares[:, None]
    shares = shares * np.exp(-1j * np.angle(np.linalg.eigh(products)[1][:, -1]))
    products *= np.exp(1j * (np.angle(shares)[:, None] - np.angle(shares)))
    rest = products.real - products.real.mean(0)
    strengths, columns = np.linalg.eigh(rest - rest.mean(1)[:, None])
    strong = strengths > NEGLIGIBLE * count
    columns = columns[:, strong][:, ::-1] * count**0.5
    weights = np.vstack([np.ones(count), columns.T]) * shares / count
    every = np.concatenate([(weights @ part).astype(np.complex64) for part in _pixel_blocks(waves)], 1)
    flux, scale = powers / powers.mean(), np.float32(np.sqrt(powers.mean()) / np.linalg.norm(every[0]))
    every *= scale
    varies = len(every) > 1
    return FrameProbes(
        every[0].reshape(shape),
        every[1:].reshape(-1, *shape) if varies else None,
        columns if varies else None,
        flux if flux.std() > CONSTANT else None,
    )


def _pixel_blocks(waves: Complex[np.ndarray, "patterns pixel"]) -> Iterator[Complex128[np.ndarray, "patterns block"]]:
    """Yield waves a few pixels at a time, in double precision."""
    step = max(1, BLOCK // len(waves))
    for start in range(0, waves.shape[1], step):
        yield waves[:, start : start + step].astype(np.complex128)


def to_opr_modes(
    probes: FrameProbes, patterns: int
) -> tuple[Complex64[np.ndarray, "order mode y x"], Float64[np.ndarray, "patterns order"]]:
    """Return images and weights as other programs store them; changes of further modes are left out.

    Args:
        probes: Probes of the frames.
        patterns: Number of frames.
    """
    probe, variation, weights, flux = probes
    added = np.zeros((0, *probe.shape), np.complex64) if variation is None else variation.copy()
    added[:, 1:] = 0
    shares = np.zeros((patterns, 0)) if weights is None else np.asarray(weights, np.float64)
    whole = np.zeros((0, probe.size), np.complex128) if variation is None else variation.reshape(len(added), -1)
    powers = _first_powers(probe.ravel().astype(np.complex128), whole.astype(np.complex128), shares)
    factor = np.sqrt((1.0 if flux is None else flux) * np.sum(np.abs(probe.astype(np.complex128)) ** 2) / powers)
    images = np.concatenate([probe[None], added]).astype(np.complex64)
    return images, factor[:, None] * np.column_stack([np.ones(patterns), shares])


def _first_powers(
    mean: Complex[np.ndarray, " pixel"],
    added: Complex[np.ndarray, "order pixel"],
    weights: Float64[np.ndarray, "patterns order"],
) -> Float64[np.ndarray, " patterns"]:
    """Return the power of a mode in every frame, which adds weighted images to its mean."""
    every = np.concatenate([mean[None], added])
    products = (every.conj() @ every.T).real
    columns = np.column_stack([np.ones(len(weights)), weights])
    return np.sum((columns @ products) * columns, 1)
