"""Amplitude scale: input scaling, entries of the scale ledger, statistics of a network run, prediction scaling.

Every name is imported when it is first used, so that what needs no tensors starts without them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptypinn.utils.lazy_names import import_lazily

if TYPE_CHECKING:
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

if not TYPE_CHECKING:
    __getattr__ = import_lazily(
        __name__,
        {
            "IntensityScaler": "scale.input_scaling",
            "compute_input_scale": "scale.input_scaling",
            "LedgerEntry": "scale.ledger_entry",
            "Stats": "scale.ledger_entry",
            "compute_stats": "scale.ledger_entry",
            "multiply_discrepancies": "scale.ledger_entry",
            "PredictionScale": "scale.prediction_scale",
            "ScaleSource": "scale.prediction_scale",
            "estimate_flux_scale": "scale.prediction_scale",
            "estimate_least_squares_scale": "scale.prediction_scale",
            "load_recorded_scale": "scale.prediction_scale",
            "StatsRecorder": "scale.stats_recorder",
        },
    )
