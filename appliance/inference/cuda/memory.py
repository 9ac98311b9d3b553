"""The device memory of one study: taken piece by piece, cleared and given back together."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.inference.cuda.driver import Driver


class Memory:
    """Device memory of one study.

    Args:
        driver: the card.
        stream: where uploads and clearing are put.
    """

    def __init__(self, driver: Driver, *, stream: int) -> None:
        self._driver = driver
        self._stream = stream
        self._pieces: dict[int, int] = {}
        self._sent: list[NDArray[Any]] = []

    @property
    def held_bytes(self) -> int:
        """Bytes taken."""
        return sum(self._pieces.values())

    def take(self, size: int) -> int:
        """Memory of ``size`` bytes; the content is undefined."""
        pointer = self._driver.allocate(max(size, 1))
        self._pieces[pointer] = max(size, 1)
        return pointer

    def zeros(self, size: int) -> int:
        """Memory of zeros."""
        pointer = self.take(size)
        self._driver.fill(pointer, 0, max(size, 1), self._stream)
        return pointer

    def put(self, array: NDArray[Any]) -> int:
        """A small array's copy on the device."""
        whole = np.ascontiguousarray(array)
        self._sent.append(whole)  # it must live until the stream has come so far
        pointer = self.take(whole.nbytes)
        if whole.nbytes:
            self._driver.upload(pointer, whole, self._stream)
        return pointer

    def clear(self) -> None:
        """Overwrite everything with zeros, wait for that, and give it back: the next patient finds nothing of this one."""
        for pointer, size in self._pieces.items():
            self._driver.fill(pointer, 0, size, self._stream)
        self._driver.synchronise(self._stream)
        for pointer in list(self._pieces):
            self._driver.free(pointer)
            del self._pieces[pointer]
        self._sent.clear()
