"""Uncertainty of a reconstruction: an expected error per pixel, and the network's training domain."""

from ptypinn.uncertainty.error_map import Uncertainty, add_uncertainty, estimate_uncertainty, recorded_warnings
from ptypinn.uncertainty.training_domain import TRAITS, out_of_domain, scan_traits

__all__ = ["TRAITS", "Uncertainty", "traits_of", "uncertainty_of", "unfamiliar", "warnings_of", "with_trust"]
