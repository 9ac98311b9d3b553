"""The compiled kernels: one file for all cards we know, made at image-build time, or made for this card by NVRTC on first start.

    python -m appliance.inference.cuda.build --out appliance/inference/cuda/kernels.fatbin

A file is only used if it was made from the sources that are installed: their digest stands in its name beside it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from appliance.errors import InferenceError
from appliance.inference.cuda.nvrtc import compile_for

ARCHITECTURES = (75, 80, 86, 87, 89, 90, 120)
"""Compute capabilities times ten that the fatbin holds machine code for (8.7: Jetson AGX Orin). What is newer than the last is compiled by
the driver from its PTX, what lies between by NVRTC on first start."""
KERNELS = Path(__file__).with_name("kernels")
MAIN = "coronet.cu"


def sources() -> dict[str, str]:
    """The kernels' sources by name."""
    return {path.name: path.read_text("utf-8") for path in sorted(KERNELS.glob("*.cu*"))}


def digest() -> str:
    """What the sources are, in 16 letters."""
    whole = hashlib.sha256()
    for name, text in sources().items():
        whole.update(f"{name}\0{text}\0".encode())
    return whole.hexdigest()[:16]


def fatbin_path(folder: Path) -> Path:
    """Where the fatbin of these sources lies in a folder."""
    return folder / f"coronet-kernels-{digest()}.fatbin"


def image_for(capability: tuple[int, int], *, folders: tuple[Path, ...], cache: Path | None = None) -> bytes:
    """Machine code for a card.

    Args:
        capability: the card's.
        folders: where a fatbin may lie, first come first served.
        cache: where what NVRTC makes is kept; None: nowhere.

    Raises:
        InferenceError: INF-065 where there is none and none can be made.
    """
    number = 10 * capability[0] + capability[1]
    if number in ARCHITECTURES or number > ARCHITECTURES[-1]:
        for folder in folders:
            path = fatbin_path(folder)
            if path.is_file():
                return path.read_bytes()
    kept = cache / f"coronet-kernels-{digest()}-sm{number}.cubin" if cache is not None else None
    if kept is not None and kept.is_file():
        return kept.read_bytes()
    try:
        made = compile_for(number, sources=sources(), main=MAIN)
    except (OSError, RuntimeError) as error:
        raise missing(capability, error) from error
    if kept is not None:
        with contextlib.suppress(OSError):  # a disk that takes nothing costs the time of compiling at the next start
            _keep(made, kept)
    return made


def _keep(code: bytes, path: Path) -> None:
    """Whole or not at all, also after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    with partial.open("wb") as file:
        file.write(code)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def missing(capability: tuple[int, int], error: BaseException) -> InferenceError:
    """INF-065: no machine code for this card."""
    return InferenceError(
        "INF-065",
        zh=f"没有适用于本机显卡的程序（计算能力 {capability[0]}.{capability[1]}）。",
        en=f"There are no compiled kernels for this card (compute capability {capability[0]}.{capability[1]}): {error}",
    )
