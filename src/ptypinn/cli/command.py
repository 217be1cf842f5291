"""A command of the command line: a function, and the options that its parameters and configurations make.

Its docstring and its parameters make the command line: strings are positional arguments, keyword arguments are options,
and every field of a configuration is an option too.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, is_dataclass
from typing import Any, get_type_hints

READING = ("domain", "probe", "photons")
"""Options of reading that most scans from other programs need."""


@dataclass(frozen=True)
class Parameter:
    """A parameter of a command that is no configuration."""

    name: str
    """Its name."""
    kind: Any
    """Its type."""
    positional: bool
    """True for an argument without a dash."""
    default: Any
    """Its default; None for a positional argument."""
    text: str
    """The sentence that documents it."""


@dataclass(frozen=True)
class Command:
    """One command.

    >>> from ptypinn.cli.solve import REFINE
    >>> REFINE.summary
    'Solve a scan iteratively for object, probe and positions.'
    """

    run: Callable[..., None]
    """Function behind it."""
    common: tuple[str, ...]
    """Options that `--help` shows; `--help-all` shows all."""
    choices: tuple[type, ...] = ()
    """Configurations that the function chooses between, depending on its other arguments."""

    @property
    def summary(self) -> str:
        """First line of the function's docstring."""
        return (self.run.__doc__ or "").strip().splitlines()[0]

    @property
    def configs(self) -> list[type]:
        """Dataclasses whose fields are options."""
        return [kind for kind in self._hints().values() if is_dataclass(kind) and isinstance(kind, type)] + [
            *self.choices
        ]

    def parameters(self) -> Iterator[Parameter]:
        """Yield the parameters that are no configurations; the first parameter, the session, is left out."""
        hints, texts = self._hints(), self._sentences()
        for parameter in list(inspect.signature(self.run).parameters.values())[1:]:
            if not is_dataclass(hints[parameter.name]):
                positional = parameter.kind is parameter.POSITIONAL_OR_KEYWORD
                default = None if parameter.default is parameter.empty else parameter.default
                yield Parameter(parameter.name, hints[parameter.name], positional, default, texts[parameter.name])

    def arguments(self, session: Any) -> dict[str, Any]:
        """Return the arguments of the function: plain values, and configurations made of them."""
        arguments: dict[str, Any] = {parameter.name: session.options[parameter.name] for parameter in self.parameters()}
        for name, kind in self._hints().items():
            if is_dataclass(kind) and isinstance(kind, type):
                arguments[name] = session.config(kind)
        return arguments

    def _sentences(self) -> dict[str, str]:
        """Return the sentences that document the parameters."""
        from docstring_parser import parse

        documented = parse(self.run.__doc__ or "").params
        return {each.arg_name: " ".join((each.description or "").split()) for each in documented}

    def _hints(self) -> dict[str, Any]:
        """Return the types of the function's parameters after the session."""
        names = list(inspect.signature(self.run).parameters)[1:]
        hints = get_type_hints(self.run)
        return {name: hints[name] for name in names}
