"""Snapdragon names: the part numbers that Android reports, and the names on the box."""

from __future__ import annotations

import re

#: By part number, from Qualcomm's product pages.
NAMES = {
    "MSM8998": "Snapdragon 835", "SDM660": "Snapdragon 660", "SDM670": "Snapdragon 670", "SDM710": "Snapdragon 710",
    "SDM845": "Snapdragon 845", "SM4350": "Snapdragon 480", "SM4375": "Snapdragon 4 Gen 1",
    "SM4450": "Snapdragon 4 Gen 2", "SM6115": "Snapdragon 662", "SM6125": "Snapdragon 665", "SM6150": "Snapdragon 675",
    "SM6225": "Snapdragon 680", "SM6350": "Snapdragon 690", "SM6375": "Snapdragon 695", "SM6450": "Snapdragon 6 Gen 1",
    "SM7125": "Snapdragon 720G", "SM7150": "Snapdragon 730", "SM7225": "Snapdragon 750G", "SM7250": "Snapdragon 765",
    "SM7325": "Snapdragon 778G", "SM7350": "Snapdragon 780G", "SM7450": "Snapdragon 7 Gen 1",
    "SM7475": "Snapdragon 7+ Gen 2", "SM7550": "Snapdragon 7 Gen 3", "SM7675": "Snapdragon 7+ Gen 3",
    "SM8150": "Snapdragon 855", "SM8250": "Snapdragon 865", "SM8350": "Snapdragon 888", "SM8450": "Snapdragon 8 Gen 1",
    "SM8475": "Snapdragon 8+ Gen 1", "SM8550": "Snapdragon 8 Gen 2", "SM8635": "Snapdragon 8s Gen 3",
    "SM8650": "Snapdragon 8 Gen 3", "SM8735": "Snapdragon 8s Gen 4", "SM8750": "Snapdragon 8 Elite",
    "SM8850": "Snapdragon 8 Elite Gen 5",
}  # fmt: skip
#: Part numbers by Qualcomm's platform name, where one platform is one part: phones before Android 12 report no part
#: number.
PLATFORMS = {
    "msm8998": "MSM8998", "sdm845": "SDM845", "msmnile": "SM8150", "kona": "SM8250", "lahaina": "SM8350",
    "kalama": "SM8550", "pineapple": "SM8650", "sun": "SM8750",
}  # fmt: skip


def soc_name(model: str, platform: str) -> str:
    """E.g. ``Snapdragon 855 (SM8150)``; what the device reports of itself if its Snapdragon is not known here.

    Args:
        model: ``ro.soc.model``, e.g. ``SM8150`` or ``SM8150-AC``; empty before Android 12.
        platform: ``ro.board.platform``, e.g. ``msmnile``.
    """
    part = model or PLATFORMS.get(platform, "")
    match = re.match(r"[A-Z]+\d+", part.upper())
    name = NAMES.get(match[0]) if match else None
    if name is not None:
        return f"{name} ({part})"
    return part or platform or "unknown"


def soc_of(text: str) -> str:
    """What ``soc_name`` says of a part number, ``SM8150``, or of a name that one part has, ``Snapdragon 855``."""
    parts = {f"{name} ({part})".lower(): part for part, name in NAMES.items()}
    parts |= {name.lower(): part for part, name in NAMES.items()}
    return soc_name(parts.get(text.strip().lower(), text.strip()), "")
