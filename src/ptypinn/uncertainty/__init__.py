"""How far a reconstruction can be trusted: an uncertainty per pixel, and whether the network knows such scans."""

from ptypinn.uncertainty.error_map import Uncertainty, uncertainty_of, warnings_of, with_trust
from ptypinn.uncertainty.training_domain import TRAITS, traits_of, unfamiliar

__all__ = ["TRAITS", "Uncertainty", "traits_of", "uncertainty_of", "unfamiliar", "warnings_of", "with_trust"]
