"""Looks at a solution while it is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ptypinn.data.reconstruction import Reconstruction

Part = TypeVar("Part")
Whole = TypeVar("Whole")

WatchOf = Callable[[Callable[[], Part]], None]
"""Called after every step with a function that gives the solution as it is then, so that only who asks pays for it."""
Watch = WatchOf[Reconstruction]
"""Called after every round, iteration or window with a function that gives the reconstruction as it is then."""


def relayed(watch: WatchOf[Whole] | None, make: Callable[[Part], Whole]) -> WatchOf[Part] | None:
    """A watch of what a solver has, for one of what is made of that.

    Args:
        watch: Who watches; None where nobody does.
        make: From the solver's solution to what is watched.
    """
    if watch is None:
        return None

    def told(look: Callable[[], Part]) -> None:
        watch(lambda: make(look()))

    return told
