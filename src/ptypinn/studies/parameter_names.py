"""Parameters of a study, the fields of the stages that they set, and the translation of error messages."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping

from ptypinn.config.checks import option_name
from ptypinn.errors import InputError

SIMULATE = {
    "sim_seed": "seed",
    **{name: name for name in ("size", "amplitude_mean", "amplitude_range", "feature_px", "object_seed", "buffer_px")},
    **{name: name for name in ("scan", "probe_diameter_px", "defocus_waves", "probe_file")},
}
TRAIN = {
    "group_count": "n_groups",
    "nepochs": "epochs",
    "train_seed": "seed",
    **{
        name: name
        for name in ("model", "width", "gridsize", "neighbour_count", "learning_rate", "loss", "cluster_size")
    },
    **{name: name for name in ("trainable_log_scale", "split_fraction")},
}
RECONSTRUCT = {"neighbour_count": "neighbour_count", "groups_per_pattern": "groups_per_pattern", "train_seed": "seed"}
"""Fields of the stages by the names of the parameters."""


@contextlib.contextmanager
def rename_errors(fields: Mapping[str, str]) -> Iterator[None]:
    """Translate the options in errors of a stage to those of the study.

    Args:
        fields: Fields of the stage by the names of the parameters.
    """
    options = {option_name(field): option_name(name) for name, field in fields.items()}

    def rename(flag: re.Match[str]) -> str:
        return options.get(flag[0], flag[0])

    try:
        yield
    except InputError as error:
        words = (error.source, error.field, error.actual, error.expected)
        renamed = [re.sub(r"--[\w-]+", rename, word) for word in words]
        raise InputError(*renamed) from None
