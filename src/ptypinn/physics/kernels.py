"""Loops over the pixels of patches on a CPU, each of which reads and writes memory once.

Between its two Fourier transforms, a pass over the data takes products and sums of every pixel. Done one by one on
whole batches, they take several times as long as the transforms, most of it to move memory. These loops are compiled at
their first call, for the processor at hand, and the result is kept beside this file or in the user's cache. Arrays are
real and contiguous: complex pixels are pairs (real, imaginary) along the last axis.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

Array = np.ndarray
CHUNK = 1024
"""Pixels whose intermediate results stay in the fastest cache."""
PARTS: dict[np.dtype[Any], type[np.floating[Any]]] = {
    np.dtype(np.complex64): np.float32,
    np.dtype(np.complex128): np.float64,
}
"""Types of the parts of complex numbers."""
OUTSIDE = "a patch reaches beyond its canvas"


def are_usable(*tensors: Tensor, written: Tensor | None = None) -> bool:
    """Return True where loops on arrays may take the place of operations on tensors: on a CPU, without derivatives.

    Args:
        tensors: Tensors that the loop reads.
        written: Tensor of the caller that it writes to, which has to be contiguous for that.
    """
    if written is not None:
        tensors = *tensors, written
        if not written.is_contiguous():
            return False
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        return False
    return all(tensor.is_cpu for tensor in tensors)


def as_reals(tensor: Shaped[Tensor, "*axes"], *, writes: bool = False) -> Array:
    """Return a tensor of the CPU as an array of reals, with pairs of them along the last axis for complex numbers.

    Args:
        tensor: Real or complex.
        writes: The loop writes to it, so that a copy will not do.

    Raises:
        ValueError: Where it is to be written to and is not contiguous.
    """
    if writes and not tensor.is_contiguous():
        raise ValueError("only contiguous tensors are written to")
    if tensor.is_conj() or tensor.requires_grad:
        tensor = tensor.detach().resolve_conj()
    array: Array = tensor.contiguous().numpy()
    part = PARTS.get(array.dtype)
    return array if part is None else array.view(part)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a loop on arrays when it is first called; several threads may then run it at a time.

    It may call other compiled functions of its module.
    """

    @functools.cache
    def compile_loop() -> Callable[..., Any]:
        from numba import njit

        loop, rules = inspect.unwrap(function), {"contract", "nsz", "reassoc"}
        names = {name: loop.__globals__.get(name) for name in loop.__code__.co_names}
        called = {name: value.compile_loop() for name, value in names.items() if hasattr(value, "compile_loop")}
        if called:
            loop = types.FunctionType(loop.__code__, {**loop.__globals__, **called}, loop.__name__)
        try:
            return njit(loop, cache=True, nogil=True, error_model="numpy", fastmath=rules)
        except RuntimeError:  # no folder may be written to
            return njit(loop, nogil=True, error_model="numpy", fastmath=rules)

    @functools.wraps(function)
    def call(*arguments: object) -> Any:
        return compile_loop()(*arguments)

    call.compile_loop = compile_loop  # type: ignore[attr-defined]
    return call


@compiled
def _require_inside(y: int, x: int, size: int, reals: int, canvas: Array) -> None:
    """Raise `IndexError` where a patch of some edge at (y, x) reaches beyond a canvas with so many reals per pixel."""
    if y < 0 or x < 0 or y + size > canvas.shape[0] or reals * (x + size) > canvas.shape[1]:
        raise IndexError(OUTSIDE)


@compiled
def cut(canvases: Array, corners: Array, out: Array) -> None:
    """Copy patches out of every window.

    Args:
        canvases: (window, height, reals of a row).
        corners: Integer (y, x) of each patch's pixel (0, 0), (window, batch, 2).
        out: (window, batch, y, reals of a row).
    """
    size, length = out.shape[2:]
    reals = length // size
    for window in range(out.shape[0]):
        for number in range(out.shape[1]):
            y, x = corners[window, number]
            _require_inside(y, x, size, reals, canvases[window])
            for row in range(size):
                line = canvases[window, y + row, reals * x : reals * x + length]
                for column in range(length):
                    out[window, number, row, column] = line[column]


@compiled
def add(patches: Array, corners: Array, canvases: Array) -> None:
    """Add patches onto the canvas of every window: the adjoint of `cut`, with arrays of the same shapes."""
    size, length = patches.shape[2:]
    reals = length // size
    for window in range(patches.shape[0]):
        for number in range(patches.shape[1]):
            y, x = corners[window, number]
            _require_inside(y, x, size, reals, canvases[window])
            for row in range(size):
                line = canvases[window, y + row, reals * x : reals * x + length]
                for column in range(length):
                    line[column] += patches[window, number, row, column]


@compiled
def illuminate(canvas: Array, corners: Array, probes: Array, out: Array) -> None:
    """Multiply the patches of a canvas by probe modes.

    Args:
        canvas: Complex, (height, 2 width).
        corners: Integer (y, x) of each patch's pixel (0, 0), (batch, 2).
        probes: Complex, (batch or 1, mode, y, 2 x).
        out: Complex, (batch, mode, y, 2 x).
    """
    modes, size = out.shape[1:3]
    for number in range(out.shape[0]):
        y, x = corners[number]
        _require_inside(y, x, size, 2, canvas)
        for mode in range(modes):
            for row in range(size):
                line = canvas[y + row, 2 * x : 2 * (x + size)]
                probe = probes[number % probes.shape[0], mode, row]
                wave = out[number, mode, row]
                for column in range(size):
                    re, im = line[2 * column], line[2 * column + 1]
                    p_re, p_im = probe[2 * column], probe[2 * column + 1]
                    wave[2 * column] = re * p_re - im * p_im
                    wave[2 * column + 1] = re * p_im + im * p_re


@compiled
def add_illuminated(waves: Array, corners: Array, probes: Array, canvas: Array) -> None:
    """Add waves times conjugate probe modes onto a canvas: the adjoint of `illuminate` in the canvas."""
    modes, size = waves.shape[1:3]
    for number in range(waves.shape[0]):
        y, x = corners[number]
        _require_inside(y, x, size, 2, canvas)
        for mode in range(modes):
            for row in range(size):
                line = canvas[y + row, 2 * x : 2 * (x + size)]
                probe = probes[number % probes.shape[0], mode, row]
                wave = waves[number, mode, row]
                for column in range(size):
                    re, im = wave[2 * column], wave[2 * column + 1]
                    p_re, p_im = probe[2 * column], probe[2 * column + 1]
                    line[2 * column] += re * p_re + im * p_im
                    line[2 * column + 1] += im * p_re - re * p_im


@compiled
def multiply_conjugates(waves: Array, corners: Array, canvas: Array) -> None:
    """Multiply waves by the conjugate patches of a canvas in place: the adjoint of `illuminate` in the probes."""
    modes, size = waves.shape[1:3]
    for number in range(waves.shape[0]):
        y, x = corners[number]
        _require_inside(y, x, size, 2, canvas)
        for mode in range(modes):
            for row in range(size):
                line = canvas[y + row, 2 * x : 2 * (x + size)]
                wave = waves[number, mode, row]
                for column in range(size):
                    re, im = wave[2 * column], wave[2 * column + 1]
                    o_re, o_im = line[2 * column], line[2 * column + 1]
                    wave[2 * column] = re * o_re + im * o_im
                    wave[2 * column + 1] = im * o_re - re * o_im


@compiled
def multiply_ramps(spectra: Array, rows: Array, columns: Array, out: Array) -> None:
    """Multiply modes by one factor per row and one per column.

    Args:
        spectra: Complex, (batch or 1, mode, y, 2 x).
        rows: Complex, (batch, 2 y).
        columns: Complex, (batch, 2 x).
        out: Complex, (batch, mode, y, 2 x).
    """
    for number in range(out.shape[0]):
        across = columns[number]
        for mode in range(out.shape[1]):
            for row in range(out.shape[2]):
                line, moved = spectra[number % spectra.shape[0], mode, row], out[number, mode, row]
                r_re, r_im = rows[number, 2 * row], rows[number, 2 * row + 1]
                for column in range(moved.size // 2):
                    c_re, c_im = across[2 * column], across[2 * column + 1]
                    f_re, f_im = r_re * c_re - r_im * c_im, r_re * c_im + r_im * c_re
                    re, im = line[2 * column], line[2 * column + 1]
                    moved[2 * column] = re * f_re - im * f_im
                    moved[2 * column + 1] = re * f_im + im * f_re


@compiled
def add_unramped(spectra: Array, rows: Array, columns: Array, total: Array) -> None:
    """Add modes times the conjugate factors of `multiply_ramps` onto one set of modes, (mode, y, 2 x)."""
    for number in range(spectra.shape[0]):
        across = columns[number]
        for mode in range(spectra.shape[1]):
            for row in range(spectra.shape[2]):
                line, sums = spectra[number, mode, row], total[mode, row]
                r_re, r_im = rows[number, 2 * row], rows[number, 2 * row + 1]
                for column in range(sums.size // 2):
                    c_re, c_im = across[2 * column], across[2 * column + 1]
                    f_re, f_im = r_re * c_re - r_im * c_im, r_re * c_im + r_im * c_re
                    re, im = line[2 * column], line[2 * column + 1]
                    sums[2 * column] += re * f_re + im * f_im
                    sums[2 * column + 1] += im * f_re - re * f_im


@compiled
def sum_intensities(fields: Array, out: Array) -> None:
    """Sum the squared moduli of modes.

    Args:
        fields: Complex, (batch, mode, y, 2 x).
        out: (batch, y, x).
    """
    for number in range(fields.shape[0]):
        for row in range(fields.shape[2]):
            total = out[number, row]
            for mode in range(fields.shape[1]):
                field = fields[number, mode, row]
                for column in range(total.size):
                    intensity = field[2 * column] * field[2 * column] + field[2 * column + 1] * field[2 * column + 1]
                    total[column] = intensity if mode == 0 else total[column] + intensity


@compiled
def multiply_modes(fields: Array, factors: Array) -> None:
    """Multiply all modes by real factors in place.

    Args:
        fields: Complex, (batch, mode, y, 2 x).
        factors: (batch, y, x).
    """
    for number in range(fields.shape[0]):
        for mode in range(fields.shape[1]):
            for row in range(fields.shape[2]):
                field, factor = fields[number, mode, row], factors[number, row]
                for column in range(factor.size):
                    field[2 * column] *= factor[column]
                    field[2 * column + 1] *= factor[column]


@compiled
def compare_counts(expected: Array, counts: Array, offset: float, minimum: float, out: Array) -> None:
    """Compute `(I - J) / (J + offset)`, at least `minimum`, of every pixel; scalars are of the arrays' type."""
    for pixel in range(out.size):
        residual = (counts[pixel] - expected[pixel]) / (expected[pixel] + offset)
        out[pixel] = minimum if residual < minimum else residual  # NaN stays


@compiled
def compare_roots(expected: Array, counts: Array, offset: float, out: Array) -> None:
    """Compute `2 (sqrt(I + offset) / sqrt(J + offset) - 1)` of every pixel; `offset` is of the arrays' type."""
    for pixel in range(out.size):
        ratio = np.sqrt(counts[pixel] + offset) / np.sqrt(expected[pixel] + offset)
        out[pixel] = ratio + ratio - out.dtype.type(2)


@compiled
def weigh_fields(
    fields: Array, counts: Array, good: Array, offset: float, minimum: float, roots: bool, with_loss: bool, loss: Array
) -> None:
    """Do the work of `sum_intensities`, of a comparison of counts, of `multiply_modes`, and sum the loss, in one loop.

    Args:
        fields: Complex, (batch, mode, 2 pixel); multiplied by the residual.
        counts: (batch, pixel).
        good: 1 for good pixels, else 0, (pixel,); the residual is 0 at the others.
        offset: As in `compare_counts`.
        minimum: As in `compare_counts`; of no use for roots.
        roots: Compare as `compare_roots` does, not as `compare_counts`.
        with_loss: Sum the loss up: deviances of float32 counts, or squared differences of roots.
        loss: The sum, which is added to, float64, (1,).
    """
    modes, pixels = fields.shape[1], good.size
    intensity, factor = np.empty(CHUNK, good.dtype), np.empty(CHUNK, good.dtype)
    for number in range(counts.shape[0]):
        for start in range(0, pixels, CHUNK):
            stop = min(start + CHUNK, pixels)
            for mode in range(modes):
                field = fields[number, mode, 2 * start : 2 * stop]
                for pixel in range(stop - start):
                    power = field[2 * pixel] ** 2 + field[2 * pixel + 1] ** 2
                    intensity[pixel] = power if mode == 0 else intensity[pixel] + power
            photons, expected, residual = counts[number, start:stop], intensity[: stop - start], factor[: stop - start]
            _compare_good(expected, photons, good[start:stop], offset, minimum, roots, residual)
            for mode in range(modes):
                field = fields[number, mode, 2 * start : 2 * stop]
                for pixel in range(stop - start):
                    field[2 * pixel] *= factor[pixel]
                    field[2 * pixel + 1] *= factor[pixel]
            if with_loss:
                loss[0] += (
                    _sum_squares(expected, residual, offset) if roots else _sum_deviances(expected, residual, offset)
                )


@compiled
def _compare_good(
    expected: Array, counts: Array, good: Array, offset: float, minimum: float, roots: bool, residual: Array
) -> None:
    """Compare roots or counts, pixel by pixel; the residual is 0 where `good` is."""
    if roots:
        compare_roots(expected, counts, offset, residual)
    else:
        compare_counts(expected, counts, offset, minimum, residual)
    for pixel in range(residual.size):
        residual[pixel] *= good[pixel]


@compiled
def sum_deviances(expected: Array, residual: Array, offset: float, loss: Array) -> None:
    """Add the Poisson deviance of every pixel, `(J + offset) ((1 + r) log(1 + r) - r)`, to one sum in double precision.

    Args:
        expected: Expected counts J, (pixel,), float32.
        residual: Relative residuals r, as `compare_counts` computes them, float32.
        offset: Photons per pixel, float32.
        loss: The sum, float64, (1,).
    """
    for start in range(0, expected.size, CHUNK):
        loss[0] += _sum_deviances(expected[start : start + CHUNK], residual[start : start + CHUNK], offset)


@compiled
def _sum_deviances(expected: Array, residual: Array, offset: float) -> np.float32:
    """Return the sum of `sum_deviances` over a few pixels, in single precision.

    Where r is small, the terms of its series are added, which do not cancel each other. Elsewhere `1 + r` is a power of
    two times m, and `log(m) = 2 artanh((m - 1) / (m + 1))`, as a series.
    """
    real, whole = np.float32, np.int32
    one, two, limit, log_two = real(1), real(2), real(0.125), real(np.log(2.0))
    a3, a5, a7, a9 = real(1 / 3), real(1 / 5), real(1 / 7), real(1 / 9)
    d2, d3, d4, d5 = real(1 / 2), real(-1 / 6), real(1 / 12), real(-1 / 20)
    d6, d7, d8, d9 = real(1 / 30), real(-1 / 42), real(1 / 56), real(-1 / 72)
    root_half, mantissa_bits, total = whole(real(np.sqrt(0.5)).view(whole)), whole(23), real(0)
    for pixel in range(expected.size):
        r = residual[pixel]
        bits = real(one + r).view(whole)
        power = whole(whole(bits - root_half) >> mantissa_bits)
        m = whole(bits - whole(power << mantissa_bits)).view(real)
        t = (m - one) / (m + one)
        t2 = t * t
        logarithm = real(power) * log_two + two * t * (one + t2 * (a3 + t2 * (a5 + t2 * (a7 + t2 * a9))))
        series = d2 + r * (d3 + r * (d4 + r * (d5 + r * (d6 + r * (d7 + r * (d8 + r * d9))))))
        relative = r * r * series if abs(r) < limit else (one + r) * logarithm - r
        total += relative * (expected[pixel] + offset)
    return total


@compiled
def _sum_squares(expected: Array, residual: Array, offset: float) -> np.float32:
    """Return the sum of `(J + offset) r^2 / 2` over a few pixels, in single precision."""
    total = expected.dtype.type(0)
    for pixel in range(expected.size):
        total += residual[pixel] * residual[pixel] * (expected[pixel] + offset)
    return total / expected.dtype.type(2)
