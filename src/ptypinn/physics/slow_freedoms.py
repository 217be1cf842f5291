"""Freedoms of flux and beam that follow the position: object and probe explain them too, and no count tells.

Flux `exp(2 g r)` at centres r of the patches gives the counts of an object `exp(g r)` and a probe `exp(-g q)`, q being
coordinates within a patch. With a symmetric matrix S, motion `S r` of the beam, detector pixels, gives those of an
object `exp(i pi r' S r / N)` and a probe `exp(-i pi q' S q / N)`, for patterns of N pixels. What is slow in time along
a scan, or flat over most of an object, is expected; that alone decides.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Complex, Float64
from torch import Tensor

from ptypinn.types import Object

SLOW_TERMS = 8
"""Terms of the polynomials in time that slow functions are."""
MIN_FAST_FRACTION = 0.3
"""Norm of the part of a motion beside slow functions, over all of it, from which it is none itself."""
REWEIGHTINGS, MIN_RESIDUAL = 60, 1e-3
"""Steps of the fit of least absolute residuals, and the residual, radians, below which all weigh the same."""

Positions = Float64[Tensor, "frames 2"]
Motions = Float64[Tensor, "motion frames 2"]
ENTRIES = ((0, 0), (1, 1), (0, 1))
"""Entries of a symmetric matrix in the order of its motions."""


def linear_motions(positions: Positions) -> Motions:
    """Return the motions of unit symmetric matrices, see `ENTRIES`, around the mean position.

    >>> linear_motions(torch.tensor([[1.0, 2.0], [3.0, 6.0]]).double())[2].tolist()
    [[-2.0, -1.0], [2.0, 1.0]]
    """
    y, x = (positions - positions.mean(0)).unbind(1)
    zero = torch.zeros_like(y)
    return torch.stack([torch.stack(pair, 1) for pair in ((y, zero), (zero, x), (x, y))])


def subtract_slow(motions: Motions) -> Motions:
    """Return what of motions, one row per frame in order of time, is no slow function of it."""
    time = torch.linspace(-1, 1, motions.shape[1], dtype=motions.dtype, device=motions.device)
    powers = time[:, None] ** torch.arange(min(SLOW_TERMS, len(time)), device=motions.device)
    slow = torch.linalg.qr(powers)[0]
    return motions - slow @ (slow.T @ motions)


def is_slow(motions: Motions) -> Bool[Tensor, " motion"]:
    """Return True for the motions that are slow functions of time."""
    fast = torch.linalg.vector_norm(subtract_slow(motions), dim=(1, 2))
    return fast <= MIN_FAST_FRACTION * torch.linalg.vector_norm(motions, dim=(1, 2))


def held_motions(positions: Positions) -> Float64[Tensor, "coordinates held"]:
    """Return motions of the beam that a solve has to hold, as orthonormal columns.

    The mean over the frames is a phase ramp of the object; linear motion is a curvature of it. Where that is no slow
    function of time, motion without it is: then its part beside slow functions is held, and else all of it.

    Rows are the coordinates of the frames one after the other (y, x, y, x, ...).

    Args:
        positions: Positions (y, x) in order of time, pixels.
    """
    motions = linear_motions(positions)
    held = torch.where(is_slow(motions)[:, None, None], motions, subtract_slow(motions))
    means = torch.eye(2, dtype=positions.dtype, device=positions.device)[:, None].expand(2, len(positions), 2)
    return torch.linalg.qr(torch.cat([means, held]).flatten(1).T)[0]


def fit_curvature(
    canvas: Object, mask: Bool[Tensor, "height width"], free: Bool[Tensor, 3], size: int
) -> Float64[Tensor, "2 2"]:
    """Return the symmetric matrix whose curvature leaves the least absolute slopes of an object's phase.

    Objects are flat, or nearly so, in most places, with steps and edges: the median slope tells of a curvature over all
    of them, the mean does not.

    Args:
        canvas: Object, transmission.
        mask: Pixels to take.
        free: Entries of the matrix, see `ENTRIES`, to fit; others are 0.
        size: Edge N of a pattern, pixels.
    """
    matrix = torch.zeros((2, 2), dtype=torch.float64)
    if not free.any():
        return matrix
    design, slopes = _slope_equations(canvas.to(torch.complex128), mask, size)
    chosen = torch.cat([torch.ones(2, dtype=torch.bool), free.cpu()])
    values = _least_absolute(design[:, chosen], slopes)[2:]
    for (row, column), value in zip([e for e, f in zip(ENTRIES, free.tolist(), strict=True) if f], values, strict=True):
        matrix[row, column] = matrix[column, row] = value
    return matrix


def curved_phase(
    matrix: Float64[Tensor, "2 2"], shape: tuple[int, int], centre: tuple[float, float], size: int
) -> Complex[Tensor, "height width"]:
    """Return `exp(i pi r' S r / N)` on a canvas.

    Args:
        matrix: S, detector pixels per object pixel.
        shape: Height and width of the canvas, pixels.
        centre: Place (y, x) of r = 0, pixels.
        size: Edge N of a pattern, pixels.

    >>> curved_phase(torch.eye(2).double(), (1, 3), (0.0, 1.0), 2).angle().abs().tolist()[0][1:]
    [0.0, 1.5707963267948966]
    """
    y, x = (torch.arange(n, dtype=torch.float64) - c for n, c in zip(shape, centre, strict=True))
    y = y[:, None]
    angle = torch.pi / size * (matrix[0, 0] * y**2 + 2 * matrix[0, 1] * y * x + matrix[1, 1] * x**2)
    return torch.polar(torch.ones_like(angle), angle)


def fit_amplitude_slope(
    canvas: Object, mask: Bool[Tensor, "height width"], free: Bool[Tensor, 2]
) -> Float64[Tensor, 2]:
    """Return the slope (y, x) of an object's logarithmic amplitude that leaves the least absolute slopes, per pixel.

    Args:
        canvas: Object, transmission.
        mask: Pixels to take.
        free: Axes to fit; the slope along the other is 0.

    >>> steps = torch.exp(0.01 * torch.arange(40.0)) * (1 + (torch.arange(40) > 20))
    >>> slope = fit_amplitude_slope(steps[None] + 0j, torch.ones(1, 40, dtype=torch.bool), torch.tensor([False, True]))
    >>> [round(value, 4) for value in slope.tolist()]
    [0.0, 0.01]
    """
    ratios = _neighbour_ratios(canvas, mask)
    slopes = [
        _least_absolute(torch.ones_like(ratio.real)[:, None], ratio.abs().log())[0]
        if chosen
        else torch.zeros(()).double()
        for (ratio, _), chosen in zip(ratios, free.tolist(), strict=True)
    ]
    return torch.stack(slopes)


def _neighbour_ratios(canvas: Object, mask: Bool[Tensor, "height width"]) -> list[tuple[Tensor, Bool[Tensor, "y x"]]]:
    """Return every pixel of an object over the one before it along y, then along x, and where both are chosen."""
    image, ratios = canvas.to(torch.complex128), list[tuple[Tensor, Tensor]]()
    for axis in (0, 1):
        length = canvas.shape[axis] - 1
        pairs = mask.narrow(axis, 1, length) & mask.narrow(axis, 0, length)
        before, after = image.narrow(axis, 0, length)[pairs], image.narrow(axis, 1, length)[pairs]
        lit = before.abs() > 0
        ratios.append((torch.where(lit, after, 1.0) / torch.where(lit, before, 1.0), pairs))
    return ratios


def _slope_equations(
    canvas: Object, mask: Bool[Tensor, "height width"], size: int
) -> tuple[Float64[Tensor, "slopes 5"], Float64[Tensor, " slopes"]]:
    """Return the slopes of the phase along both axes, and their parts: two means, and the entries of the matrix."""
    grids = torch.meshgrid(*(torch.arange(n).double() * 2 * torch.pi / size for n in canvas.shape), indexing="ij")
    rows, slopes = list[Tensor](), list[Tensor]()
    for axis, (ratio, pairs) in enumerate(_neighbour_ratios(canvas, mask)):
        own, other = (grid.narrow(axis, 1, canvas.shape[axis] - 1)[pairs] for grid in (grids[axis], grids[1 - axis]))
        part = torch.zeros((len(ratio), 5), dtype=torch.float64)
        part[:, axis], part[:, 2 + axis], part[:, 4] = 1, own, other
        rows.append(part)
        slopes.append(ratio.angle())
    return torch.cat(rows), torch.cat(slopes)


def _least_absolute(
    design: Float64[Tensor, "rows terms"], values: Float64[Tensor, " rows"]
) -> Float64[Tensor, " terms"]:
    """Fit by least absolute residuals: least squares, reweighted over and over."""
    weights = torch.ones_like(values)
    for _ in range(REWEIGHTINGS):
        weighted = design * weights[:, None]
        fit = torch.linalg.solve(weighted.T @ design, weighted.T @ values)
        weights = 1 / (values - design @ fit).abs().clamp(min=MIN_RESIDUAL)
    return fit
