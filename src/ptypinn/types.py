"""Named tensor types: one name per physical meaning, with its axes.

Axes are `(..., y, x)`. The names are checked at run time in the tests and cost nothing otherwise.
"""

from jaxtyping import Bool, Complex, Float, Float64, Int
from torch import Tensor

Scalar = float | Float64[Tensor, ""]
"""A number, or one that the device may still be computing: reading it waits for the device."""

Patterns = Float[Tensor, "batch y x"]
"""Detector counts or expected counts, photons per pixel, FFT order (zero frequency at [0, 0])."""

Waves = Complex[Tensor, "batch mode y x"]
"""Exit waves or detector fields, sqrt(photons)."""

Patches = Complex[Tensor, "window batch y x"]
"""Object patches, dimensionless transmission, grouped by the window they come from."""

Probe = Complex[Tensor, "mode y x"]
"""Incoherent probe modes, sqrt(photons)."""

Probes = Complex[Tensor, "#batch mode y x"]
"""Probe modes at each position, for example after a sub-pixel shift; batch is 1 where they are all the same."""

Object = Complex[Tensor, "height width"]
"""Object on its canvas, dimensionless transmission."""

Sample = Complex[Tensor, "*slice height width"]
"""Thin object, or the slices of a thick one in the order that the beam meets them, dimensionless transmission."""

Canvases = Complex[Tensor, "window height width"]
"""Objects on several windows."""

Corners = Int[Tensor, "window batch 2"]
"""Integer canvas index (y, x) of each patch's pixel (0, 0)."""

Fractions = Float[Tensor, "batch 2"]
"""Sub-pixel rest (y, x) of each position, in [-0.5, 0.5]."""

Positions = Float[Tensor, "batch 2"]
"""Canvas coordinates (y, x) of the probe array's pixel (0, 0), object pixels."""

Mask = Bool[Tensor, "y x"]
"""Detector mask in FFT order, True = good pixel."""
