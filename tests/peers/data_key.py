"""Orders to the keys of a partition, one a line on standard input, one JSON a line in answer; a program for `tests.peers.tpm`.

    python -m tests.peers.data_key FOLDER        FOLDER/partition, FOLDER/efi/data.key
    WHO CUT ORDER                                CUT 0: whole; n: killed as it calls its n-th program, then the answer is null

``calls`` in the answer is how many programs the order ran.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from pathlib import Path

from appliance.maintenance import data_key
from appliance.maintenance.data_key import DataKey, answer

SYSTEM_TPM = Path("/dev/tpmrm0")


def main() -> None:
    """Serve until standard input ends."""
    folder = Path(sys.argv[1])
    for line in sys.stdin:
        who, cut, order = line.rstrip("\n").split(" ", 2)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            serve(folder, who, int(cut), order, writing)
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading, encoding="utf-8") as told:
            text = told.read()
        os.waitpid(child, 0)
        sys.stdout.write(f"{text.strip() or 'null'}\n")
        sys.stdout.flush()


def serve(folder: Path, who: str, cut: int, order: str, out: int) -> None:
    """One order."""
    calls, run = 0, data_key._run

    def counted(words: list[str], *, told: str = "") -> object:
        nonlocal calls
        calls += 1
        if calls == cut:
            os.kill(os.getpid(), signal.SIGKILL)
        return run(words, told=told)

    data_key._run = counted  # type: ignore[assignment]
    keys = DataKey(folder / "partition", loader_key=folder / "efi/data.key", tpm=SYSTEM_TPM)
    said = io.StringIO()
    answer(order, said, who=who, data_key=lambda: keys, is_open=False, restart=["true"])
    os.write(out, json.dumps(json.loads(said.getvalue()) | {"calls": calls}).encode())


if __name__ == "__main__":
    main()
