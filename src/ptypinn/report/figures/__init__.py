"""Figures and colour maps."""
