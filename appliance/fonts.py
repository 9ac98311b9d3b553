"""Where the typeface for Chinese and Latin text lies: Noto Sans CJK, as Debian's ``fonts-noto-cjk`` installs it (SIL Open Font License)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from appliance.errors import ImagingError

Weight = Literal["Regular", "Bold"]

FOLDERS: tuple[Path, ...] = (
    Path("/usr/share/fonts/opentype/noto"),
    Path("/usr/share/fonts/noto-cjk"),
    Path("/usr/share/fonts/truetype/noto"),
    Path("/usr/local/share/fonts/noto"),
)
SIMPLIFIED_CHINESE = 2
"""Index of the face with mainland Chinese forms inside the collection."""


def cjk_font(weight: Weight = "Regular", *, folders: Sequence[Path] = FOLDERS) -> Path:
    """The font collection ``NotoSansCJK-<weight>.ttc``; its face ``SIMPLIFIED_CHINESE`` is the one to use.

    Raises:
        ImagingError: IMG-010, no folder holds it.
    """
    name = f"NotoSansCJK-{weight}.ttc"
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise ImagingError(
        "IMG-010",
        zh=f"未找到中文字体 {name},请安装 Debian 软件包 fonts-noto-cjk。",
        en=f"The Chinese typeface {name} was not found; install the Debian package fonts-noto-cjk.",
    )
