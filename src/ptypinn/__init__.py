"""Quantitative ptychography with a physics-informed network."""

__version__ = "0.1.0"
