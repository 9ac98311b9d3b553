"""A slip of the hand in the settings: the normal service names it and ends, safe mode receives by the last ones that were good."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from appliance.daemon import EXIT_NOT_STARTED
from tests.appliance.archive.fakes import encode, make_dataset
from tests.appliance.running import daemon, open_archive_of
from tests.peers.dcmtk import storescu
from tests.peers.waiting import wait_until


def test_safe_mode_receives_by_the_last_good_settings(tmp_path: Path) -> None:
    image = tmp_path / "1.dcm"
    image.write_bytes(encode(make_dataset(number=1)))
    box = tmp_path / "box"
    with daemon(box, options=["--apart", "analyst"]) as running:
        port, data = running.port, running.data
    settings = box / "coronet.toml"
    good = settings.read_text()
    assert (data / "last-good/coronet.toml").read_text() == good
    broken = good.replace("[receiver]\nport", "[receiver]\nprot")
    last_good = ["--last-good", str(data / "last-good")]

    def spoil(path: Path) -> None:
        path.write_text(broken)

    spoil(settings)
    command = [sys.executable, "-m", "appliance", "daemon", "--settings", str(settings), *last_good]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == EXIT_NOT_STARTED
    assert "did you mean `port`" in done.stderr
    assert (data / "last-good/coronet.toml").read_text() == good, "what cannot be used is not kept"
    with daemon(box, options=["--safe-mode", *last_good], spoil=spoil) as running, open_archive_of(running) as archive:
        assert storescu(port, [image]).returncode == 0, "at the port that the scanner knows"
        wait_until(lambda: len(archive.index.unsorted(limit=5)) == 1, what="the row of what the journal holds already")
        reason = archive.components.get("safe-mode").reason
        assert reason is not None
        assert "did you mean `port`" in running.log.read_text()
