"""Registry of networks: those of the package, and those of other packages by entry point.

A network is an `nn.Module` that is built as `Network(size=N, gridsize=G, **options)` and maps `(centred amplitudes,
probe, offsets, centred mask)` to one complex patch per pattern, relative to the transmitted amplitude of its group. Its
constructor declares its options; `train` takes them by name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any, cast

from torch import nn

from ptypinn.errors import InputError
from ptypinn.models.cnn import PtychoCNN
from ptypinn.utils.plug_ins import load_plug_in

Network = Callable[..., nn.Module]

MODELS: dict[str, Network] = {"cnn": PtychoCNN}
"""Networks of this package by the name that `--model` takes and the model file records."""
ENTRY_POINTS = "ptypinn.models"
"""Entry point group under which other packages register networks."""


def list_models() -> list[str]:
    """Return the names of all networks, plug-ins included.

    >>> "cnn" in list_models()
    True
    """
    return sorted({*MODELS, *(entry.name for entry in entry_points(group=ENTRY_POINTS))})


def find_model(name: str, source: str = "--model", field: str = "") -> Network:
    """Return the network class of a name.

    Args:
        name: Name of a network in `MODELS`, or of an entry point.
        source: Option or file that names it, for messages.
        field: Its field there.

    Raises:
        InputError: If there is none of that name, two packages provide it, or its package cannot be imported.
    """
    if name in MODELS:
        return MODELS[name]
    entries = list(entry_points(group=ENTRY_POINTS, name=name))
    if not entries:
        expected = f"one of {', '.join(list_models())}; is the package installed that provides it?"
        raise InputError(source, field, repr(name), expected)
    if len({entry.value for entry in entries}) > 1:
        values = ", ".join(sorted(entry.value for entry in entries))
        raise InputError(source, field, f"{name!r} in several packages ({values})", "one of them installed")
    return _load(entries[0], source, field)


def _load(entry: Any, source: str, field: str) -> Network:
    network = load_plug_in(entry, source, field)
    if not callable(network):
        raise InputError(source, field, f"{entry.value}, which is no class", "a network class")
    return cast("Network", network)


def list_options(name: str) -> dict[str, Any]:
    """Return the options that a network's constructor declares, with their defaults, beside `size` and `gridsize`.

    >>> sorted(list_options("cnn"))
    ['steps', 'width']
    """
    parameters = inspect.signature(find_model(name)).parameters.values()
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return {p.name: p.default for p in named if p.name not in ("size", "gridsize")}


def complete_hyperparameters(name: str, size: int, gridsize: int, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return all arguments of a network, defaults included: what the model file records, so that it can be rebuilt.

    Args:
        name: Name of the network.
        size: Edge N of a pattern, pixels.
        gridsize: Groups hold `gridsize**2` patterns.
        options: Options that were set, by name.

    Raises:
        InputError: If the network does not declare an option, or needs one that is not set; names it.
    """
    declared = list_options(name)
    unknown = [option for option in options if option not in declared]
    if unknown:
        expected = f"options of the network {name}: {', '.join(sorted(declared)) or 'it has none'}"
        raise InputError("--model-options", unknown[0], repr(options[unknown[0]]), expected)
    values = {**declared, **options}
    missing = [option for option, value in values.items() if value is inspect.Parameter.empty]
    if missing:
        raise InputError("--model-options", missing[0], "nothing", f"a value, which the network {name} needs")
    return {"size": size, "gridsize": gridsize, **values}


def build_network(name: str, hyperparameters: Mapping[str, Any], source: str = "--model") -> nn.Module:
    """Return a new network.

    Args:
        name: Name of the network.
        hyperparameters: All arguments of its constructor.
        source: Option or file that names it, for messages.

    Raises:
        InputError: If the network refuses a value.
    """
    network = find_model(name, source)
    try:
        return network(**hyperparameters)
    except (TypeError, ValueError) as error:
        raise InputError(source, name, str(error).splitlines()[0], "values that the network takes") from None
