"""The keys of the data partition, with a real LUKS2 header, cryptsetup, systemd-cryptenroll and an emulated TPM 2.0 (swtpm)."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import UpdateError
from appliance.maintenance.data_key import PASSPHRASE, DataKey, answer, data_partition, new_recovery_key
from tests.peers.tpm import CREATE, UNSEAL, Tpm, tpm_is_here

SIZE = 18 << 20
"""Room for the header (16 MiB) and some data."""
QUICK = ("--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000")


class Box:
    """A partition as the first start makes it, its key beside the loader, and a TPM."""

    def __init__(self, folder: Path, tpm: Tpm) -> None:
        self.folder, self.tpm = folder, tpm
        self.partition, self.key = folder / "partition", folder / "efi/data.key"
        self.key.parent.mkdir()
        self.key.write_bytes(os.urandom(64))
        self.key.chmod(0o600)
        self.partition.touch()
        os.truncate(self.partition, SIZE)
        words = ["cryptsetup", "luksFormat", "--batch-mode", "--type", "luks2", *QUICK, "--key-file", str(self.key), str(self.partition)]
        subprocess.run(words, check=True)
        self._serving: subprocess.Popen[str] | None = None
        self.machine(tpm=True)

    def machine(self, *, tpm: bool) -> None:
        """Start it anew; ``tpm``: whether it has one."""
        self.off()
        words = self.tpm.command(sys.executable, "-m", "tests.peers.data_key", str(self.folder), there=tpm)
        self._serving = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def off(self) -> None:
        if self._serving is not None:
            assert self._serving.stdin is not None
            assert self._serving.stdout is not None
            self._serving.stdin.close()
            self._serving.wait(60)
            self._serving.stdout.close()

    def order(self, order: str, *, who: str = "coronet", cut: int = 0) -> Any:
        """The answer; None where the order was cut off."""
        serving = self._serving
        assert serving is not None
        assert serving.stdin is not None
        assert serving.stdout is not None
        serving.stdin.write(f"{who} {cut} {order}\n")
        serving.stdin.flush()
        return json.loads(serving.stdout.readline())

    def sealed(self) -> str:
        """Seal it; the recovery key."""
        words = self.order("seal")["done"]["recovery"]
        assert PASSPHRASE.fullmatch(words)
        return str(words)

    def started(self) -> None:
        """What `open-data` does at a start that the TPM has opened: the key beside the loader goes."""
        assert self.opens_by_tpm()
        subprocess.run(["cryptsetup", "luksRemoveKey", str(self.partition), str(self.key)], check=True, stdin=subprocess.DEVNULL)
        self.key.unlink()

    def opens_by_tpm(self) -> bool:
        words = ["cryptsetup", "open", "--test-passphrase", "--token-only", "--token-type", "systemd-tpm2", str(self.partition)]
        return subprocess.run(self.tpm.command(*words), check=False, capture_output=True).returncode == 0

    def opens_by(self, key: bytes) -> bool:
        words = ["cryptsetup", "open", "--test-passphrase", "--disable-external-tokens", "--key-file", "-", str(self.partition)]
        return subprocess.run(words, input=key, check=False, capture_output=True).returncode == 0

    def opens_by_loader(self) -> bool:
        return self.key.exists() and self.opens_by(self.key.read_bytes())

    def slots(self) -> int:
        words = ["cryptsetup", "luksDump", "--dump-json-metadata", str(self.partition)]
        header = json.loads(subprocess.run(words, check=True, capture_output=True).stdout)
        assert all(token["keyslots"] for token in header["tokens"].values()), "no token without its key"
        return len(header["keyslots"])


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    if not tpm_is_here():
        pytest.skip("swtpm, cryptsetup and name spaces (root) are needed")
    with Tpm(tmp_path) as tpm:
        box = Box(tmp_path, tpm)
        yield box
        box.off()


def test_sealed_it_opens_by_the_tpm_and_by_the_recovery_key_and_the_loaders_key_goes_last(box: Box) -> None:
    words = box.sealed()
    assert box.opens_by_tpm()
    assert box.opens_by(words.encode())
    assert box.opens_by_loader(), "it stays until the TPM has opened the partition at a start"
    box.tpm.restart()
    box.started()
    assert box.slots() == 2
    assert box.opens_by_tpm()
    assert box.opens_by(words.encode())


def test_a_disk_that_is_taken_out_does_not_open_in_another_box(box: Box) -> None:
    box.sealed()
    box.started()
    box.tpm.restart(forget=True)
    assert not box.opens_by_tpm()


def test_changed_secure_boot_gets_nothing(box: Box) -> None:
    box.sealed()
    box.started()
    box.tpm.measure(b"secure boot is off")
    assert not box.opens_by_tpm()


def test_without_a_tpm_nothing_is_changed(box: Box) -> None:
    before = box.partition.read_bytes()
    box.machine(tpm=False)
    assert box.order("seal")["code"] == "UPD-040"
    assert box.partition.read_bytes() == before
    assert box.opens_by_loader()


def test_a_sealed_box_says_so_and_gives_another_recovery_key_when_asked(box: Box) -> None:
    first = box.sealed()
    box.started()
    assert box.order("seal")["code"] == "UPD-041"
    assert box.opens_by(first.encode())
    second = box.order("recovery")["done"]["recovery"]
    assert second != first
    assert box.opens_by(second.encode())
    assert not box.opens_by(first.encode())
    assert (box.slots(), box.opens_by_tpm()) == (2, True)


def test_no_recovery_key_without_sealing(box: Box) -> None:
    assert box.order("recovery")["code"] == "UPD-045"
    assert box.order("unlock " + new_recovery_key(), who="coronet-kiosk")["code"] == "UPD-046"
    assert box.slots() == 1


def test_a_factory_reset_of_a_sealed_box_leaves_nothing_that_opens_it(box: Box) -> None:
    words = box.sealed()
    box.started()
    assert erased(box) == 0
    assert not box.opens_by_tpm()
    assert not box.opens_by(words.encode())
    assert box.partition.read_bytes()[: 16 << 20] == bytes(16 << 20), "what open-data takes for an empty partition"


def erased(box: Box) -> int:
    script = Path(__file__).parents[3] / "image-build/root/usr/lib/coronet/erase-data"
    environment = {"PATH": os.environ["PATH"], "CORONET_EFI": str(box.key.parent)}
    return subprocess.run(["sh", str(script), str(box.partition)], env=environment, check=False, timeout=60).returncode


def test_a_loaders_key_that_opens_nothing_is_named(box: Box) -> None:
    box.key.write_bytes(b"another" * 9)
    assert box.order("seal")["code"] == "UPD-044"


@pytest.mark.parametrize(("broken", "code"), [({CREATE: 0}, "UPD-042"), ({UNSEAL: 0}, "UPD-042"), ({UNSEAL: 1}, "UPD-043")])
def test_a_tpm_that_takes_no_key_or_does_not_give_it_back_is_named_and_nothing_is_left(box: Box, broken: dict[int, int], code: str) -> None:
    """systemd-cryptenroll(1) has it unsealed once itself before it enrols it."""
    box.tpm.broken = broken
    assert box.order("seal")["code"] == code
    assert box.slots() == 1
    assert box.opens_by_loader()
    box.tpm.broken = {}
    box.sealed()


def test_where_the_tpm_takes_no_key_the_recovery_key_puts_one_beside_the_loader(box: Box) -> None:
    words = box.sealed()
    box.started()
    box.tpm.broken = {UNSEAL: 0}
    assert not box.opens_by_tpm()
    assert box.order("recovery")["code"] == "UPD-043"
    assert box.order(f"unlock {words}", who="coronet-kiosk")["done"] == {"tpm": False}
    assert box.opens_by_loader()
    assert box.slots() == 2


@pytest.mark.parametrize("change", ["another chip", "secure boot changed"])
def test_the_recovery_key_makes_the_tpm_open_it_again(box: Box, change: str) -> None:
    words = box.sealed()
    box.started()
    if change == "another chip":
        box.tpm.restart(forget=True)
    else:
        box.tpm.measure(b"new firmware")
    assert not box.opens_by_tpm()
    wrong = words[:-1] + str((int(words[-1]) + 1) % 10)
    assert box.order(f"unlock {wrong}", who="coronet-kiosk")["code"] == "UPD-047"
    assert box.order(f"unlock {words}", who="coronet-kiosk")["done"] == {"tpm": True}
    assert box.opens_by_tpm()
    assert box.opens_by(words.encode()), "it stays good"
    assert box.slots() == 2
    assert not box.key.exists()


def test_where_the_tpm_has_gone_a_key_goes_beside_the_loader_again(box: Box) -> None:
    words = box.sealed()
    box.started()
    box.machine(tpm=False)
    assert box.order(f"unlock {words}", who="coronet-kiosk")["done"] == {"tpm": False}
    assert box.opens_by_loader()
    assert box.opens_by(words.encode())
    assert box.slots() == 2
    box.tpm.restart(forget=True)
    box.machine(tpm=True)  # another board
    box.sealed()
    assert box.opens_by_tpm()
    assert not box.opens_by(words.encode()), "a new recovery key, and the former one opens nothing"


def test_the_loaders_key_is_not_a_recovery_key(box: Box) -> None:
    box.sealed()
    box.key.write_bytes(b"000011-" * 7 + b"000011")
    assert box.order(f"unlock {box.key.read_text()}", who="coronet-kiosk")["code"] == "UPD-047"


@pytest.mark.parametrize("order", ["seal", "recovery", "unlock", "unlock without a TPM"])
def test_wherever_the_power_is_cut_it_still_opens_and_the_order_can_be_given_again(box: Box, order: str) -> None:
    words, who = "", "coronet"
    if order != "seal":
        words = box.sealed()
        box.started()
    if order.startswith("unlock"):
        who = "coronet-kiosk"
        box.tpm.restart(forget=True)
        box.machine(tpm=order == "unlock")
    line = f"unlock {words}" if order.startswith("unlock") else order
    first, steps = (box.partition.read_bytes(), box.key.read_bytes() if box.key.exists() else None), 0
    while True:
        box.partition.write_bytes(first[0])
        box.key.unlink(missing_ok=True)
        if first[1] is not None:
            box.key.write_bytes(first[1])
        steps += 1
        whole = box.order(line, who=who, cut=steps)
        if order == "seal":
            assert box.opens_by_loader()
        elif order == "recovery":
            assert box.opens_by_tpm()
        else:
            assert box.opens_by(words.encode())
        if whole is not None:
            break
        again = box.order(line, who=who)
        assert "done" in again, again
        assert box.slots() == (3 if order == "seal" else 2), "nothing of the first try is left"
        words = again["done"].get("recovery", words)
        assert box.opens_by(words.encode())
    assert steps > 6


@pytest.mark.parametrize(
    ("who", "line"),
    [
        ("coronet-kiosk", "seal"), ("coronet-kiosk", "recovery"), ("coronet", "unlock 000000"), ("nobody", "seal"), ("coronet", "seal now"),
        ("coronet", ""), ("root", "erase"),
    ],
)  # fmt: skip
def test_nobody_orders_what_is_not_his(who: str, line: str) -> None:
    def never() -> DataKey:
        raise AssertionError("the partition was looked at")

    said = io.StringIO()
    answer(line, said, who=who, data_key=never, is_open=False, restart=["false"])
    assert json.loads(said.getvalue())["code"] == "UPD-030"


def test_what_is_open_needs_no_recovery_key() -> None:
    said = io.StringIO()
    keys = DataKey(Path("/nonexistent"))
    answer(f"unlock {new_recovery_key()}", said, who="coronet-kiosk", data_key=lambda: keys, is_open=True, restart=["false"])
    assert json.loads(said.getvalue())["code"] == "UPD-048"


def test_a_recovery_key_can_be_typed_and_a_digit_misread_does_not_fit() -> None:
    words = new_recovery_key()
    assert re.fullmatch(r"([0-9]{6}-){7}[0-9]{6}", words)
    assert all(int(group) % 11 == 0 and int(group) // 11 < 1 << 16 for group in words.split("-"))
    assert new_recovery_key() != words


def test_the_partition_is_the_one_of_the_disk_that_the_box_was_started_from(tmp_path: Path) -> None:
    (tmp_path / "disk").write_text("/dev/sda\n")
    with pytest.raises(UpdateError, match="UPD-044"):
        data_partition(tmp_path, sys=tmp_path, dev=tmp_path)
    for disk, name in (("sdb", "sdb1"), ("sda", "sda9"), ("sda", "sda1")):
        told = tmp_path / "class/block" / disk / name / "uevent"
        told.parent.mkdir(parents=True)
        told.write_text(f"PARTNAME={'coronet-esp' if name == 'sda1' else 'coronet-data'}\n")
    assert data_partition(tmp_path, sys=tmp_path, dev=tmp_path) == tmp_path / "sda9"
    for number, name in ((0, "coronet-root"), (1, "coronet-data")):
        mapped = tmp_path / f"class/block/dm-{number}"
        (mapped / "dm").mkdir(parents=True)
        (mapped / "dm/name").write_text(f"{name}\n")
        (mapped / f"slaves/sda{number + 7}").mkdir(parents=True)
    assert data_partition(tmp_path, sys=tmp_path, dev=tmp_path) == tmp_path / "sda8", "a partition that was made now has no label yet"
