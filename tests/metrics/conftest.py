"""Synthetic band-limited objects that the metric tests share."""

import numpy as np
import pytest


def smooth_object(shape, seed, phase_span=1.5, cutoff=0.12):
    """A random object of modest contrast, band-limited and periodic on its canvas."""
    rng = np.random.default_rng(seed)
    q = np.hypot(*np.meshgrid(np.fft.fftfreq(shape[0]), np.fft.fftfreq(shape[1]), indexing="ij"))
    fields = np.fft.ifft2(np.fft.fft2(rng.standard_normal((2, *shape))) * (q < cutoff) * (q > 0)).real
    fields /= np.abs(fields).max((1, 2), keepdims=True)
    return (0.8 + 0.2 * fields[0]) * np.exp(0.5j * phase_span * fields[1])


@pytest.fixture(scope="session")
def make_object():
    return smooth_object
