"""Checks that the configurations share: a value out of bounds, or an option that nothing reads, is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

from ptypinn.errors import InputError


def option_name(field: str) -> str:
    """Return a field as it is written on the command line.

    >>> option_name("probe_modes")
    '--probe-modes'
    """
    return "--" + field.replace("_", "-")


def format_option(field: str, value: object) -> str:
    """Return a field and its value as they are written on the command line.

    >>> format_option("probe_modes", 3), format_option("refine_probe", False)
    ('--probe-modes 3', '--no-refine-probe')
    """
    if isinstance(value, bool):
        return option_name(field) if value else "--no" + option_name(field)[1:]
    return f"{option_name(field)} {','.join(map(str, value)) if isinstance(value, tuple) else value}"


@dataclass(frozen=True)
class Config:
    """Base of the configurations: checks itself when it is made."""

    def __post_init__(self) -> None:
        for name, companion in self.unread().items():
            if (value := getattr(self, name)) != default_of(type(self), name):
                raise InputError(option_name(name), "", show_value(value), f"{companion} as well, which reads it")

    def unread(self) -> Mapping[str, str]:
        """Return the fields that nothing reads with the values of the others, and the option that would read each."""
        return {}


def default_of(kind: type, name: str) -> Any:
    """Return the default of a configuration's field."""
    field = next(field for field in fields(kind) if field.name == name)
    if field.default_factory is not MISSING:
        return field.default_factory()
    return None if field.default is MISSING else field.default


def read_values(config: Any) -> dict[str, Any]:
    """Return the fields of a configuration that are read, for the record.

    >>> from ptypinn.config.train import TrainConfig
    >>> "split_fraction" in read_values(TrainConfig(split_axis="none"))
    False
    """
    unread = config.unread() if isinstance(config, Config) else {}
    return {field.name: getattr(config, field.name) for field in fields(config) if field.name not in unread}


def require(config: object, name: str, condition: object, expected: str) -> None:
    """Raise `InputError` for a field where a condition does not hold.

    Args:
        config: The configuration.
        name: Name of the field.
        condition: True if the value is allowed.
        expected: Description of the allowed values.

    >>> from ptypinn.config.refine import RefineConfig
    >>> RefineConfig(probe_modes=0)
    Traceback (most recent call last):
        ...
    ptypinn.errors.InputError: --probe-modes: found 0, expected at least 1
    """
    if not condition:
        raise InputError(option_name(name), "", show_value(getattr(config, name)), expected)


def require_min(config: object, minimum: int | float, *names: str) -> None:
    """Raise `InputError` where a field is below a minimum; None passes."""
    for name in names:
        value = getattr(config, name)
        require(config, name, value is None or value >= minimum, f"at least {minimum:g}")


def require_positive(config: object, *names: str) -> None:
    """Raise `InputError` where a field is not a finite number above 0; None passes."""
    for name in names:
        value = getattr(config, name)
        require(config, name, value is None or 0 < value < float("inf"), "a positive number")


def require_fraction(config: object, *names: str) -> None:
    """Raise `InputError` where a field is not between 0 and 1, both excluded; None passes."""
    for name in names:
        value = getattr(config, name)
        require(config, name, value is None or 0 < value < 1, "a fraction between 0 and 1")


def show_value(value: object) -> str:
    """Return a value as it is written on the command line or in an error.

    >>> show_value(True), show_value((128, 128)), show_value("")
    ('true', '(128, 128)', "''")
    """
    return str(value).lower() if isinstance(value, bool) else repr(value) if value == "" else str(value)
