"""NVRTC, CUDA's compiler as a library (wheel ``nvidia-cuda-nvrtc``): sources in, machine code out; needs neither GPU nor driver."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

OPTIONS = ("--std=c++17",)


def library_path() -> Path | None:
    """The library in its wheel, the newest of several; None where it is not installed."""
    spec = find_spec("nvidia")
    folders = [Path(place) for place in (spec.submodule_search_locations or [])] if spec is not None else []
    found = sorted(path for folder in folders for path in folder.glob("**/libnvrtc.so.*"))
    return found[-1] if found else None


def compile_for(number: int, *, sources: Mapping[str, str], main: str) -> bytes:
    """Machine code (cubin) for compute capability ``number`` / 10.

    Args:
        number: e.g. 86.
        sources: file names and texts; ``main`` includes the others.
        main: the file to compile.

    Raises:
        OSError: NVRTC is not installed.
        RuntimeError: it refuses; the message holds its log.
    """
    path = library_path()
    if path is None:
        raise OSError("NVRTC is not installed (package nvidia-cuda-nvrtc)")
    library = ctypes.CDLL(str(path))
    library.nvrtcGetErrorString.restype = ctypes.c_char_p
    names = [name for name in sources if name != main]
    texts = (ctypes.c_char_p * len(names))(*[sources[name].encode() for name in names])
    headers = (ctypes.c_char_p * len(names))(*[name.encode() for name in names])
    program = ctypes.c_void_p()
    _ok(library, library.nvrtcCreateProgram(ctypes.byref(program), sources[main].encode(), main.encode(), len(names), texts, headers))
    try:
        options = [option.encode() for option in (*OPTIONS, f"--gpu-architecture=sm_{number}")]
        status = library.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
        if status:
            raise RuntimeError(
                _fetched(library, program, "ProgramLog").decode("utf-8", "replace").strip("\0\n") or f"NVRTC status {status}"
            )
        return _fetched(library, program, "CUBIN")
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def _fetched(library: Any, program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    _ok(library, getattr(library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
    content = ctypes.create_string_buffer(size.value)
    _ok(library, getattr(library, f"nvrtcGet{what}")(program, content))
    return content.raw


def _ok(library: Any, status: int) -> None:
    if status:
        raise RuntimeError(f"NVRTC: {library.nvrtcGetErrorString(status).decode()}")
