"""Reconstruction by a network that maps patterns to object patches."""
