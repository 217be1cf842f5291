"""How far a reconstruction can be trusted: an uncertainty per pixel, and whether the network knows such scans."""

from ptypinn.trust.attach import warnings_of, with_trust
from ptypinn.trust.familiar import TRAITS, traits_of, unfamiliar
from ptypinn.trust.uncertainty import Uncertainty, uncertainty_of

__all__ = ["TRAITS", "Uncertainty", "traits_of", "uncertainty_of", "unfamiliar", "warnings_of", "with_trust"]
