"""A disk that is really full: the spool on a small tmpfs, in a mount namespace of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = """
import hashlib, json, os, sys
from pathlib import Path
from appliance.errors import ArchiveError
from tests.appliance.archive.fakes import encode, make_archive, make_dataset

data = Path(sys.argv[1])
ballast = data / "ballast"
ballast.write_bytes(bytes(200_000))
archive = make_archive(data / "data")
spool = archive.spool(minimum_free_bytes=0)

def store(number):
    part10 = encode(make_dataset(number=number, ImageComments="x" * 9000))
    spool.store(sop_class_uid="1.2.840.10008.5.1.4.1.1.2", sop_instance_uid=f"1.2.3.1.{number}",
                transfer_syntax_uid="1.2.840.10008.1.2.1", part10=part10, association=None)
    return part10

kept, statuses = {}, []
for number in range(1, 2000):
    try:
        kept[f"1.2.3.1.{number}"] = hashlib.sha256(store(number)).hexdigest()
    except ArchiveError as error:
        statuses.append(error.details["status"])
        if len(statuses) == 20:
            break

def rows():
    with archive.database.reading() as connection:
        return {row["sop_instance_uid"]: row["sha256"] for row in connection.execute("SELECT * FROM instances")}

files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (data / "data" / "spool").glob("*/*")}
same = sorted(files.values()) == sorted(kept.values())
full = {"statuses": sorted(set(statuses)), "rows": rows() == kept, "files": same, "kept": len(kept)}
ballast.unlink()
store(5000)
found = spool.recover()
print(json.dumps({**full, "after": len(rows()) - len(kept), "missing": list(found.missing), "swept": found.swept}))
"""


def test_a_full_disk_refuses_with_a700_keeps_what_was_acknowledged_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    result = in_memory(tmp_path, PROGRAM)
    assert result.pop("kept") > 20
    assert result == {"statuses": [0xA700], "rows": True, "files": True, "after": 1, "missing": [], "swept": 0}


def in_memory(folder: Path, program: str, *, size: str = "6m") -> Any:
    """Run a program on a file system of that size that only it sees; what it printed as JSON."""
    script = f'mount -t tmpfs -o size={size} none "$0" && exec "$@"'
    mount = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, str(folder)]
    if subprocess.run([*mount, "true"], capture_output=True, timeout=30, check=False).returncode != 0:
        pytest.skip("this machine allows no mount namespaces")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [*mount, sys.executable, "-c", program, str(folder)], capture_output=True, text=True, timeout=120, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
