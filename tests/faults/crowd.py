"""Twenty senders at once against the receiver process: every image acknowledged, indexed and as sent."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from pathlib import Path

import pydicom

from appliance.archive.archive import open_archive
from appliance.archive.instance_files import data_set
from tests.bench.receiving import coronet
from tests.faults.tally import Tally
from tests.peers.datasets import write_series
from tests.peers.dcmtk import ENVIRONMENT, need

SENDERS = 20


def crowd(*, images: int) -> Tally:
    """Push ``images`` images by each of twenty storescu at the same time."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        series = [write_series(folder / f"series-{number}", images) for number in range(SENDERS)]
        with coronet(folder / "data", "durable", maximum_associations_per_peer=SENDERS) as port:
            command = [need("storescu"), "-xe", "-aec", "CORONET", "127.0.0.1", str(port)]
            senders = [
                subprocess.Popen([*command, *map(str, files)], env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                for files in series
            ]
            codes = [sender.wait(timeout=600) for sender in senders]
        tally.count("senders", SENDERS)
        tally.losses += [f"sender {number} ended with {code}" for number, code in enumerate(codes) if code]
        archive = open_archive(folder / "data")
        with archive.database.reading() as connection:
            rows = {row["sop_instance_uid"]: row for row in connection.execute("SELECT * FROM instances")}
            open_ones = connection.execute("SELECT count(*) FROM associations WHERE outcome IS NOT 'released'").fetchone()[0]
        archive.close()
        tally.losses += ["an association was not released"] * open_ones
        for path in (path for files in series for path in files):
            sent = pydicom.dcmread(path)
            row = rows.get(str(sent.SOPInstanceUID))
            tally.count("images")
            if row is None:
                tally.losses.append(f"lost: {sent.SOPInstanceUID}")
                continue
            kept = _kept(folder, sent.SOPInstanceUID)
            if data_set(kept) != data_set(path.read_bytes()):
                tally.losses.append(f"changed: {sent.SOPInstanceUID}")
            if hashlib.sha256(kept).hexdigest() != row["sha256"]:
                tally.losses.append(f"file not as indexed: {sent.SOPInstanceUID}")
    return tally


def _kept(folder: Path, uid: str) -> bytes:
    digest = hashlib.sha256(uid.encode()).hexdigest()
    return (folder / "data" / "spool" / digest[:2] / f"{digest}.dcm").read_bytes()
