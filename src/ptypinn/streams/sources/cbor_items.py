"""Count the items of a CBOR message before it is decoded: a few bytes may stand for a list of millions.

Source: RFC 8949, section 3. Byte strings, which hold the arrays, count as one item each and are skipped.
"""

from __future__ import annotations

from ptypinn.streams.sources.decode import MalformedError

HARMLESS_BYTES = 1 << 16
"""Messages below this size are not counted."""
MAX_ITEMS = 20_000
"""Maximum number of items of a message."""
BREAK = 0xFF
"""Byte that ends a container of unstated length."""
STRINGS, LISTS, MAPS, TAGS = (2, 3), 4, 5, 6
"""Major types."""
OPEN_ENDED = 31
"""Additional information of a container of unstated length."""


def require_few_items(part: bytes) -> None:
    """Raise `MalformedError` where a large message holds more items than any of a detector, or ends within one."""
    if len(part) <= HARMLESS_BYTES:
        return
    place, remaining = 0, [1]
    for _ in range(MAX_ITEMS):
        while remaining and remaining[-1] == 0:
            remaining.pop()
        if not remaining:
            return
        if place >= len(part):
            raise MalformedError("CBOR that ends early")
        place = _step(part, place, remaining)
    raise MalformedError(f"CBOR of more than {MAX_ITEMS} items")


def _step(part: bytes, place: int, remaining: list[int]) -> int:
    """Pass one item, or the beginning of a container.

    Args:
        part: The message.
        place: Where the item begins.
        remaining: Items that are left of every container around it, -1 for an unstated number; changed in place.

    Returns:
        Where the next one begins.
    """
    if part[place] == BREAK:
        remaining[-1] = 0
        return place + 1
    major, info = part[place] >> 5, part[place] & 31
    place += 1
    remaining[-1] -= remaining[-1] > 0
    if info == OPEN_ENDED:
        remaining.append(-1)
        return place
    value, place = _read_value(part, place, info)
    if major in STRINGS:
        return place + value
    if major in (LISTS, MAPS, TAGS):
        remaining.append({LISTS: value, MAPS: 2 * value, TAGS: 1}[major])
    return place


def _read_value(part: bytes, place: int, info: int) -> tuple[int, int]:
    """Return the number in the head of an item, and where the head ends."""
    if info < 24:
        return info, place
    width = 1 << (info - 24)
    if width > 8:
        raise MalformedError("CBOR with a reserved head")
    return int.from_bytes(part[place : place + width], "big"), place + width
