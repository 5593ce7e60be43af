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
