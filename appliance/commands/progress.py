"""A progress bar on a terminal; a line per stage where there is none."""

from __future__ import annotations

import sys
import time
from typing import TextIO

STAGES_ZH = {
    "read": "读取图像",
    "locate": "定位心脏",
    "quality": "图像质量",
    "phases": "选择期相",
    "segment": "分割冠状动脉",
    "measure": "测量与分析",
    "describe": "支架、肌桥与可评价性",
    "calcium": "计算钙化积分",
    "key_views": "生成关键图像",
}
WIDTH = 32


class ProgressBar:
    """Shows stage and part done; call it with (stage, part 0..1)."""

    def __init__(self, stream: TextIO = sys.stderr) -> None:
        self._stream = stream
        self._live = stream.isatty()
        self._start = time.monotonic()
        self._stage = ""

    def __call__(self, stage: str, part: float) -> None:
        """Draw the bar anew."""
        name = f"{STAGES_ZH.get(stage, stage)} {stage}"
        if self._live:
            filled = int(WIDTH * part)
            seconds = time.monotonic() - self._start
            self._stream.write(f"\r\x1b[K[{'█' * filled}{'·' * (WIDTH - filled)}] {part:4.0%}  {seconds:5.1f} s  {name}")
            self._stream.flush()
        elif stage != self._stage:
            self._stream.write(f"{part:4.0%}  {name}\n")
        self._stage = stage

    def close(self) -> None:
        """End the line."""
        if self._live:
            self._stream.write("\n")
