"""Solvers: quasi-Newton, unrolled, patch network, LSQ-ML; and the closing sequence that they share."""
