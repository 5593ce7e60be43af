"""Text from outside, made safe to show."""

from __future__ import annotations

import unicodedata


def visible(text: str, *, keep: str = "") -> str:
    """``text`` with control and formatting characters replaced by U+FFFD, except those in ``keep``.

    Names come from devices and files: an escape sequence could rewrite a terminal, a bidirectional override the words
    behind it.
    """
    return "".join(
        "\ufffd" if unicodedata.category(char) in ("Cc", "Cf", "Co", "Cs") and char not in keep else char
        for char in text
    )


def number(value: float) -> str:
    """``0.1``, ``20``, ``3,000``; from 100 on without decimals: the side of 1024x2048 is 1,448."""
    return f"{round(value) if abs(value) >= 100 else value:,.10g}"
