"""How fast images go out, on one association, to the same DCMTK storescp (bit preserving, TCP_NODELAY), in turns.

    send_1_img_s             Coronet's sender
    send_storescu_1_img_s    DCMTK's storescu with PDUs of 128 KiB

512 x 512 images of 16 bits; medians over the rounds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from appliance.dicom.sender import send
from appliance.settings import DestinationSettings
from tests.peers.datasets import ct_slice, save
from tests.peers.dcmtk import storescp, storescu

IMAGES, ROUNDS = 200, 5


def sending_figures(folder: Path, *, images: int = IMAGES, rounds: int = ROUNDS) -> dict[str, float]:
    """Both senders in turns."""
    files = _series(folder / "images", images)
    with storescp(folder / "peer", "+B", "--max-pdu", "131072") as peer:
        destination = DestinationSettings(name="peer", host="127.0.0.1", port=peer.port, ae_title="STORESCP")

        def ours() -> None:
            if not all(outcome.accepted for outcome in send(destination, files)):
                raise RuntimeError("not all was accepted")

        def theirs() -> None:
            pushed = storescu(peer.port, files, "--max-pdu", "131072", called="STORESCP")
            if pushed.returncode != 0:
                raise RuntimeError(pushed.stderr)

        rates: dict[str, list[float]] = {"send_1_img_s": [], "send_storescu_1_img_s": []}
        for _ in range(rounds):
            for name, push in zip(rates, (ours, theirs), strict=True):
                rates[name].append(_rate(push, files))
    return {name: statistics.median(values) for name, values in rates.items()}


def _rate(push: Callable[[], None], files: Sequence[Path]) -> float:
    began = time.monotonic()
    push()
    return len(files) / (time.monotonic() - began)


def _series(folder: Path, images: int) -> list[Path]:
    folder.mkdir(parents=True)
    noise = np.random.default_rng(3)
    series = "1.2.826.0.1.3680043.10.1999.77"
    return [
        save(
            ct_slice(index=index, series_uid=series, pixels=noise.integers(-1000, 1000, (512, 512), dtype=np.int16)),
            folder / f"{index}.dcm",
        )
        for index in range(images)
    ]
