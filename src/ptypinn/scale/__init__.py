"""The amplitude scale: its contract, the ledger of every factor between counts and object, and what fills it."""

from ptypinn.scale.input_scaling import IntensityScaler, flux_factor, input_scale
from ptypinn.scale.ledger import LedgerEntry, Stats, product, stats_of
from ptypinn.scale.prediction_scale import PredictionScale, ScaleSource, flux_scale, least_squares_scale, recorded_scale
from ptypinn.scale.stats_recorder import Tape

__all__ = [
    "IntensityScaler",
    "LedgerEntry",
    "PredictionScale",
    "ScaleSource",
    "Stats",
    "Tape",
    "flux_factor",
    "flux_scale",
    "input_scale",
    "least_squares_scale",
    "product",
    "recorded_scale",
    "stats_of",
]
