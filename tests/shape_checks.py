"""Checks of every jaxtyping annotation in the package, thinned out in loops.

In every test, the first calls of a function are checked, and one in some of those that follow: a solver calls the same
functions with the same shapes thousands of times, and checks would take half of the time of the suite.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jaxtyping

FIRST_CALLS, PERIOD = 20, 50
"""Calls of a function in a test that are all checked, and the period of checked ones behind them."""
_test = 0


def install() -> None:
    """Check annotations of the package from its import on."""
    whole = jaxtyping.jaxtyped

    @functools.wraps(whole)
    def jaxtyped(*args: Any, **kwargs: Any) -> Any:
        checked = whole(*args, **kwargs)
        function = args[0] if args else None
        return thin_out(function, checked) if inspect.isfunction(function) else checked

    jaxtyping.jaxtyped = jaxtyping._decorator.jaxtyped = jaxtyped
    jaxtyping.install_import_hook("ptypinn", "beartype.beartype")


def thin_out(function: Callable[..., Any], checked: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that is checked at its first calls in every test, and at one in `PERIOD` of the others."""
    test, calls = -1, 0

    @functools.wraps(checked)
    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal test, calls
        if test != _test:
            test, calls = _test, 0
        calls += 1
        if calls <= FIRST_CALLS or calls % PERIOD == 0:
            return checked(*args, **kwargs)
        return function(*args, **kwargs)

    return call


def begin_test() -> None:
    """Begin to count calls anew."""
    global _test
    _test += 1
