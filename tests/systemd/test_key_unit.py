"""Orders to the data partition's key through the real socket and service, with all that the service forbids itself, and an emulated TPM."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.maintenance.data_key import PASSPHRASE
from tests.peers.tpm import tpm_is_here
from tests.systemd.real import Systemd, systemd
from tests.systemd.test_data_units import image_unit

SIZE = 18 << 20
ASK = """import socket, sys
door = socket.socket(socket.AF_UNIX)
door.connect("/run/coronet-key.sock")
door.sendall(sys.argv[1].encode() + b"\\n")
print(door.makefile().readline())"""
TPM = """[Unit]
DefaultDependencies=no
[Service]
WorkingDirectory=/opt/coronet/source
Environment=PYTHONDONTWRITEBYTECODE=1
ExecStart=/opt/coronet/venv/bin/python -m tests.peers.tpm /run/tpm
StandardOutput=file:/run/device
StandardError=file:/run/tpm.log
"""
SYS = """set -e
mount -t tmpfs tmpfs /sys/class
mkdir -p /sys/class/tpmrm/tpmrm0 /sys/class/block/sda/@
echo PARTNAME=coronet-data >/sys/class/block/sda/@/uevent
echo /dev/sda >/run/coronet-boot/disk
"""


@pytest.fixture
def partition(tmp_path: Path) -> Iterator[str]:
    """A loop device with a LUKS2 header; its key lies in ``data.key``."""
    if not tpm_is_here():
        pytest.skip("swtpm and cryptsetup are needed")
    key, image = tmp_path / "data.key", tmp_path / "image"
    key.write_text(secrets.token_hex(32), "ascii")
    key.chmod(0o600)
    image.touch()
    os.truncate(image, SIZE)
    quick = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--key-file", str(key)]
    subprocess.run(["cryptsetup", "luksFormat", "--batch-mode", "--type", "luks2", *quick, str(image)], check=True)
    done = subprocess.run(["losetup", "-f", "--show", str(image)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("loop devices are needed")
    yield done.stdout.strip()
    subprocess.run(["losetup", "-d", done.stdout.strip()], check=False)


def asked(box: Systemd, who: str, order: str) -> dict[str, object]:
    told = box.ask(f"setpriv --reuid={who} --regid={who} --init-groups /opt/coronet/venv/bin/python /run/ask.py '{order}'")
    found = re.search(r"^\{.*\}$", told, re.MULTILINE)
    assert found, f"{told}\n{box.ask('cat /run/key.log; systemctl --no-pager list-units --all coronet*')}"
    answer: dict[str, object] = json.loads(found.group())
    return answer


def give(box: Systemd, partition: str) -> None:
    """The partition, under the name by which the box knows it."""
    name = partition.removeprefix("/dev/")
    box.ask("getent group tss || groupadd -r tss")
    box.ask(f"mknod {partition} b 7 {name.removeprefix('loop')}; mkdir -p /run/cryptsetup")
    assert box.ask(SYS.replace("@", name)) == ""


def plug_in_a_tpm(box: Systemd) -> None:
    box.ask("mkdir -p /run/tpm; systemctl start tpm.service")
    box.until("grep -c /dev/pts /run/device", "1")
    assert box.ask('touch /dev/tpmrm0 && mount --bind "$(cat /run/device)" /dev/tpmrm0') == ""


def test_the_daemon_seals_and_the_kiosk_only_tries_a_recovery_key(tmp_path: Path, partition: str) -> None:
    folder = tmp_path / "systemd"
    folder.mkdir()
    log = "[Service]\nStandardError=append:/run/key.log\nWorkingDirectory=/opt/coronet/source\n"
    units = {name: image_unit(name) for name in ("coronet-key.socket", "coronet-key@.service")}
    units |= {"coronet-key@.service.d/log.conf": log, "all.target": "[Unit]\nDefaultDependencies=no\nWants=coronet-key.socket\n"}
    units["tpm.service"] = TPM
    with systemd(folder, units=units, over={"run/coronet-boot/disk": "", "efi/coronet/grubenv": "", "run/ask.py": ASK}) as box:
        box.until("systemctl is-active coronet-key.socket", "active")
        give(box, partition)
        assert asked(box, "coronet", "seal")["code"] == "UPD-040"
        plug_in_a_tpm(box)
        assert asked(box, "coronet", "seal")["code"] == "UPD-044", "there is no key beside the loader"
        box.ask(f"printf {(tmp_path / 'data.key').read_text('ascii')} >/efi/coronet/data.key; chmod 600 /efi/coronet/data.key")
        assert asked(box, "coronet-kiosk", "seal")["code"] == "UPD-030"
        answer = asked(box, "coronet", "seal")
        done = answer.get("done")
        assert isinstance(done, dict), f"{answer}\n{box.ask('cat /run/key.log')}"
        assert PASSPHRASE.fullmatch(done["recovery"])
        assert asked(box, "coronet", f"unlock {done['recovery']}")["code"] == "UPD-030"
        wrong = done["recovery"][:-1] + str((int(done["recovery"][-1]) + 1) % 10)
        assert asked(box, "coronet-kiosk", f"unlock {wrong}")["code"] == "UPD-047"
        assert "ermission" not in box.ask("cat /run/key.log")
    kinds = subprocess.run(["systemd-cryptenroll", partition], capture_output=True, text=True, check=True).stdout.split()
    assert [kind for kind in kinds if kind in {"password", "tpm2", "recovery"}] == ["password", "tpm2", "recovery"]


OPENING = """#!/bin/sh
set -ux
systemd-cryptenroll --unlock-key-file=/run/key --tpm2-device=auto --tpm2-pcrs=7 PARTITION
SYSTEMD_LOG_LEVEL=debug /lib/systemd/systemd-cryptsetup attach coronet-data PARTITION - tpm2-device=auto,headless=true,discard
cryptsetup luksDump PARTITION | grep -c systemd-tpm2
cryptsetup luksRemoveKey PARTITION /run/key </dev/null && shred -u /run/coronet-boot/copy && sync -f /run/coronet-boot && echo settled
"""


def test_the_unit_that_opens_the_partition_gets_the_key_from_the_tpm(tmp_path: Path, partition: str) -> None:
    """What `open-data` calls, within its unit's limits, as far as a machine without a device mapper goes."""
    folder = tmp_path / "systemd"
    folder.mkdir()
    log = "[Service]\nStandardOutput=append:/run/data.log\nStandardError=append:/run/data.log\n"
    unit = image_unit("coronet-data.service").replace("efi.mount ", "").replace("Requires=efi.mount\n", "").replace("/efi/coronet ", "")
    units = {"coronet-data.service": unit, "coronet-data.service.d/log.conf": log, "tpm.service": TPM}
    units["all.target"] = "[Unit]\nDefaultDependencies=no\n"
    key = (tmp_path / "data.key").read_text("ascii")
    files = {"usr/lib/coronet/open-data": OPENING.replace("PARTITION", partition), "run/coronet-boot/copy": key, "run/key": key}
    with systemd(folder, units=units, over=files) as box:
        box.until("systemctl is-active all.target", "active")
        give(box, partition)
        plug_in_a_tpm(box)
        box.ask("systemctl start coronet-data")
        told = box.ask("cat /run/data.log")
    assert re.search(r"Completed TPM2 key unsealing", told), told
    assert told.endswith("settled"), told
    kinds = subprocess.run(["systemd-cryptenroll", partition], capture_output=True, text=True, check=True).stdout.split()
    assert [kind for kind in kinds if kind in {"password", "tpm2"}] == ["tpm2"]
