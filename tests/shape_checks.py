"""Checks of every jaxtyping annotation in the package, thinned out in loops.

In every test, the first calls of a function are checked, and one in some of those that follow: a solver calls the same
functions with the same shapes thousands of times, and checks would take half of the time of the suite.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable
from typing import Any

import jaxtyping

FIRST_CALLS, PERIOD = 20, 50
"""Calls of a function in a test that are all checked, and the period of checked ones behind them."""
Function = Callable[..., Any]
_test = 0
_counts: dict[types.CodeType, list[int]] = {}
"""Test and number of the last call of every function."""


def install() -> None:
    """Check annotations of the package from its import on."""
    whole = jaxtyping.jaxtyped

    @functools.wraps(whole)
    def jaxtyped(*args: Any, **kwargs: Any) -> Any:
        function = args[0] if args else None
        if inspect.isfunction(function):
            return thin_out(function, functools.partial(whole, **kwargs))
        return whole(*args, **kwargs)

    jaxtyping.jaxtyped = jaxtyping._decorator.jaxtyped = jaxtyped
    jaxtyping.install_import_hook("ptypinn", "beartype.beartype")


def thin_out(function: Function, check: Callable[[Function], Function]) -> Function:
    """Return a function that is checked at its first calls in every test, and at one in `PERIOD` of the others.

    `check` adds the checks, which takes milliseconds: where a call is checked for the first time. Functions within
    functions are counted as one, however often they are defined.
    """
    count, checked = _counts.setdefault(function.__code__, [-1, 0]), None

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal checked
        if count[0] != _test:
            count[:] = _test, 0
        count[1] += 1
        if count[1] <= FIRST_CALLS or count[1] % PERIOD == 0:
            checked = checked or check(function)
            return checked(*args, **kwargs)
        return function(*args, **kwargs)

    return call


def begin_test() -> None:
    """Begin to count calls anew."""
    global _test
    _test += 1
