"""Uncertainty of a reconstruction: an expected error per pixel, and the network's training domain."""

from ptypinn.uncertainty.error_map import Uncertainty, add_uncertainty, estimate_uncertainty, recorded_warnings
from ptypinn.uncertainty.training_domain import TRAITS, out_of_domain, scan_traits

__all__ = [
    "TRAITS",
    "Uncertainty",
    "add_uncertainty",
    "estimate_uncertainty",
    "out_of_domain",
    "recorded_warnings",
    "scan_traits",
]
