"""Amplitude scale: input scaling, entries of the scale ledger, statistics of a network run, prediction scaling."""

from ptypinn.scale.input_scaling import IntensityScaler, compute_input_scale
from ptypinn.scale.ledger_entry import LedgerEntry, Stats, compute_stats, multiply_discrepancies
from ptypinn.scale.prediction_scale import (
    PredictionScale,
    ScaleSource,
    estimate_flux_scale,
    estimate_least_squares_scale,
    load_recorded_scale,
)
from ptypinn.scale.stats_recorder import StatsRecorder

__all__ = [
    "IntensityScaler",
    "LedgerEntry",
    "PredictionScale",
    "ScaleSource",
    "Stats",
    "StatsRecorder",
    "compute_input_scale",
    "compute_stats",
    "estimate_flux_scale",
    "estimate_least_squares_scale",
    "load_recorded_scale",
    "multiply_discrepancies",
]
