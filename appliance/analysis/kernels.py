"""Reconstruction kernels: which are made for lung and bone, and so unfit for plaque and lumen, and which are merely sharp.

From the makers' DICOM conformance statements and the names seen on their scanners. A kernel that no rule knows is let pass: a noisy
image shows itself in the quality stage, a wrongly refused study helps nobody.
"""

from __future__ import annotations

import re
from typing import Literal

Sharpness = Literal["fit", "sharp", "unfit"]

_RULES: tuple[tuple[str, str, Sharpness], ...] = (
    # maker, pattern of the kernel (whole, case ignored), what it is; the first match counts
    ("SIEMENS", r"[A-Z]*V\d{2}.*", "fit"),  # Bv36..Bv72: vascular; the sharp ones are looked at below
    ("SIEMENS", r"[A-Z]{1,2}(5[7-9]|[6-9]\d)[A-Z]*\b.*", "unfit"),  # B60f, B70s, Bl57, Br64, Hr68, Ur77
    ("SIEMENS", r"[A-Z]{1,2}(4[6-9]|5[0-6])[A-Z]*\b.*", "sharp"),  # B46f (stents), I46f, B50f
    ("GE", r".*\b(LUNG|BONE|BONEPLUS|EDGE|ULTRA)\b.*", "unfit"),
    ("GE", r".*\b(DETAIL|DTL|CHEST)\b.*", "sharp"),
    ("PHILIPS", r"(L|D|E|EB|EC|YC|YD|YE|YL|F)", "unfit"),
    ("PHILIPS", r"(C|CD|XCD|XCE|XCF|YB)", "sharp"),
    ("TOSHIBA", r"FC(3|5|8)\d.*", "unfit"),
    ("TOSHIBA", r"FC(05|45|15|19).*", "sharp"),
    ("CANON", r"FC(3|5|8)\d.*", "unfit"),
    ("CANON", r"FC(05|45|15|19).*", "sharp"),
    ("UIH", r".*(VSHARP|LUNG|BONE).*", "unfit"),
    ("UIH", r".*SHARP.*", "sharp"),
    ("", r".*(LUNG|BONE|HRCT).*", "unfit"),
    ("", r".*(SHARP|STENT).*", "sharp"),
)
_SHARP_VASCULAR = 48
"""Siemens Bv kernels from here on are for stents and heavy calcium; photon-counting scanners reach Bv72."""


def sharpness(manufacturer: str, kernel: str) -> Sharpness:
    """What a kernel is good for.

    Args:
        manufacturer: (0008,0070).
        kernel: (0018,1210); several values joined by blanks.
    """
    maker, name = manufacturer.upper(), kernel.strip().upper()
    if not name:
        return "fit"
    for known, pattern, verdict in _RULES:
        if known in maker and re.fullmatch(pattern, name):
            return _vascular(name) if known == "SIEMENS" and verdict == "fit" else verdict
    return "fit"


def _vascular(name: str) -> Sharpness:
    number = re.search(r"\d{2}", name)
    return "sharp" if number and int(number.group()) >= _SHARP_VASCULAR else "fit"
