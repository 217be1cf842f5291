"""Colours of pages and figures, light and dark: one table, from which styles and drawings take theirs."""

from __future__ import annotations

LIGHT: dict[str, str] = {
    "ink": "#1b1f24",
    "muted": "#57606a",
    "line": "#d9dde2",
    "page": "#f6f7f9",
    "card": "#ffffff",
    "soft": "#e9ecef",
    "rule": "#7d8691",
    "accent": "#0b6e99",
    "second": "#c4571b",
    "third": "#4d7a1f",
    "fourth": "#7a4fa3",
    "fifth": "#94651f",
    "warn-ink": "#7a3b00",
    "warn": "#fff3e0",
    "good-ink": "#1d5c2e",
    "good": "#e8f5ec",
    "open-ink": "#1f4e79",
    "open": "#e9f1f9",
}
"""Colours on a light page by their names in the style sheet."""

DARK: dict[str, str] = {
    "ink": "#e7eaee",
    "muted": "#a9b2bd",
    "line": "#363d47",
    "page": "#14171b",
    "card": "#1d2127",
    "soft": "#2c323a",
    "rule": "#8a939e",
    "accent": "#58b7e0",
    "second": "#f0935c",
    "third": "#a3cc6b",
    "fourth": "#c6a2e8",
    "fifth": "#d9b06a",
    "warn-ink": "#ffcf94",
    "warn": "#3a2a14",
    "good-ink": "#a8dfb8",
    "good": "#17301f",
    "open-ink": "#a9cdf0",
    "open": "#18293a",
}
"""The same on a dark page."""

VARIABLES: dict[str, str] = {
    LIGHT[name]: f"var(--{name})"
    for name in ("ink", "muted", "card", "soft", "rule", "accent", "second", "third", "fourth", "fifth")
} | {"#000000": "var(--ink)"}
"""What stands in a drawing on a page for the colours that figures are drawn in."""
