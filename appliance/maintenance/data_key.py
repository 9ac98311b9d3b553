"""What opens the box's data partition (LUKS2): a key beside the loader, or the TPM, and a recovery key that a person keeps.

    seal      the TPM gets a key, bound to the state of secure boot (PCR 7), and gives it back in a trial; a recovery key is drawn, to be
              shown once. The key beside the loader stays until the TPM has opened the partition at a start (``open-data``), and goes then.
    recovery  another recovery key in the former one's place
    unlock    for the recovery key of a box whose TPM refuses: the TPM gets a key anew; where it takes none, a key goes beside the loader

Each step leaves a partition that something opens which was there before it, so the power may go at any time: a key slot goes only after
one that stays has proved itself (``luksKillSlot`` asks for its key), and what a cut left over goes with the next order. Key slots are told
apart by the tokens of systemd-cryptenroll(1), ``systemd-tpm2`` and ``systemd-recovery``; slots without one are the loader's, or left over.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from appliance.archive.files import write_durably
from appliance.errors import CoronetError, UpdateError

LOADER_KEY = Path("/efi/coronet/data.key")
TPM = Path("/dev/tpmrm0")
OPEN = Path("/dev/mapper/coronet-data")
BOOT = Path("/run/coronet-boot")
PARTITION_NAME = "coronet-data"
GROUPS, GROUP_DIGITS, FACTOR, RANDOM = 8, 6, 11, 1 << 16
"""A recovery key: groups of six digits, each eleven times a number below 2^16: 128 bits; a digit that was misread does not fit."""
PASSPHRASE = re.compile(rf"[0-9]{{{GROUP_DIGITS}}}(?:-[0-9]{{{GROUP_DIGITS}}}){{{GROUPS - 1}}}")
QUICK = ("--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000")
"""Our keys are random and long: stretching them would gain nothing."""
TPM_TOKEN, RECOVERY_TOKEN = "systemd-tpm2", "systemd-recovery"
BY_TPM = ("--token-only", "--token-type", TPM_TOKEN)
LONGEST_LINE = 256
PROGRAM_S = 300.0
MAY: Mapping[str, frozenset[str]] = {
    "seal": frozenset({"root", "coronet"}),
    "recovery": frozenset({"root", "coronet"}),
    "unlock": frozenset({"root", "coronet-kiosk"}),
}
"""Who may order what: the daemon obeys signed sticks, the kiosk passes on what a person types."""


def new_recovery_key() -> str:
    """As it is shown, and as it is the passphrase of its key slot."""
    return "-".join(f"{FACTOR * secrets.randbelow(RANDOM):0{GROUP_DIGITS}}" for _ in range(GROUPS))


def data_partition(boot: Path = BOOT, *, sys: Path = Path("/sys"), dev: Path = Path("/dev")) -> Path:
    """The device: what is open, else by its label, on the disk that the box was started from only, as a stick may have that label too.

    At the first start, which makes the partition, the kernel knows no label of it; but there it is open.

    Raises:
        UpdateError: UPD-044 there is none.
    """
    try:
        for mapped in (sys / "class/block").glob("dm-*"):
            if (mapped / "dm/name").read_text("utf-8").strip() == PARTITION_NAME:
                return dev / next((mapped / "slaves").iterdir()).name
        disk = (boot / "disk").read_text("utf-8").strip().rpartition("/")[2]
        for told in (sys / "class/block" / disk).glob("*/uevent"):
            if f"PARTNAME={PARTITION_NAME}" in told.read_text("utf-8").splitlines():
                return dev / told.parent.name
    except OSError as error:
        raise _no_partition() from error
    raise _no_partition()


class DataKey:
    """One partition's keys. Every method raises an UpdateError; the partition stays as openable as it was.

    Args:
        partition: the device, or a file, with a LUKS2 header.
        loader_key: the key beside the loader.
        tpm: the TPM's device; it is there where the box has one.
    """

    def __init__(self, partition: Path, *, loader_key: Path = LOADER_KEY, tpm: Path = TPM) -> None:
        self._partition = partition
        self._loader_key = loader_key
        self._tpm = tpm

    def seal(self) -> str:
        """Give the TPM a key and return a new recovery key, which nobody else knows. Asked again before the next start, all begins anew.

        Raises:
            UpdateError: UPD-040 no TPM, UPD-041 sealed already, UPD-042 the TPM takes no key, UPD-043 it does not give it back,
                UPD-044 the key beside the loader does not open the partition.
        """
        if not self._tpm.exists():
            raise UpdateError(
                "UPD-040", zh="本机没有 TPM 2.0,密钥留在启动分区", en="this box has no TPM 2.0, its key stays beside the loader"
            )
        loader = self._slot_of_the_loaders_key()
        if loader is None and self._slots_of(TPM_TOKEN):
            raise UpdateError(
                "UPD-041",
                zh="密钥已在 TPM 中;新的恢复密钥用指令 recovery",
                en="the TPM has the key already; order recovery for a new recovery key",
            )
        if loader is None:
            raise UpdateError(
                "UPD-044", zh="启动分区上的密钥无法打开数据分区", en="the key beside the loader does not open the data partition"
            )
        key = self._loader_key.read_bytes()
        self._keep_only({loader}, proof=key)
        try:
            tpm = self._enrolled(key)
        except UpdateError:
            self._keep_only({loader}, proof=key)
            raise
        words = new_recovery_key()
        self._keep_only({loader, tpm, self._added_recovery(words, unlocking=key)}, proof=key)
        return words

    def renew(self) -> str:
        """A new recovery key; the former one opens nothing from then on.

        Raises:
            UpdateError: UPD-045 the box is not sealed, UPD-043 the TPM does not give its key back.
        """
        if not self._slots_of(TPM_TOKEN):
            raise UpdateError("UPD-045", zh="密钥尚未存入 TPM", en="the key is not in a TPM yet")
        tpm, loader = self._slot_of_the_tpm(), self._slot_of_the_loaders_key()
        words = new_recovery_key()
        added = self._added_recovery(words, unlocking=None)
        self._keep_only({tpm, added} | ({loader} if loader is not None else set()), proof=words.encode())
        return words

    def unlock(self, words: str) -> bool:
        """Make the next start open the partition again, for who knows the recovery key, which stays good.

        Returns:
            Whether the TPM has a key again; else one lies beside the loader, as on a box that was never sealed.

        Raises:
            UpdateError: UPD-046 there is no recovery key, UPD-047 it is another.
        """
        recovery = self._slots_of(RECOVERY_TOKEN)
        if not recovery:
            raise UpdateError("UPD-046", zh="本机没有恢复密钥", en="this box has no recovery key")
        secret = words.encode()
        slot = self._slot_of(secret) if PASSPHRASE.fullmatch(words) else None
        if slot not in recovery:
            raise UpdateError("UPD-047", zh="恢复密钥不正确", en="that is not this box's recovery key")
        # systemd-cryptenroll does nothing where a key for the same PCRs is enrolled, though it be for another TPM
        self._keep_only({slot}, proof=secret)
        if self._tpm.exists():
            try:
                self._keep_only({slot, self._enrolled(secret)}, proof=secret)
            except UpdateError:
                self._keep_only({slot}, proof=secret)
            else:
                return True
        key = secrets.token_bytes(64)
        with _in_memory(secret) as known, _in_memory(key) as new:
            self._cryptsetup("luksAddKey", *QUICK, "--key-file", known, self._partition, new)
        try:
            write_durably(self._loader_key, key, part=self._loader_key.with_name("data.key.new"))  # the name that a factory reset knows
        except OSError as error:
            raise _unwritten() from error
        return False

    def _enrolled(self, key: bytes) -> int:
        """Enrol the TPM by a key that opens the partition, and try it; the slot that it opens."""
        with _in_memory(key) as known:
            words = ["systemd-cryptenroll", f"--unlock-key-file={known}", "--tpm2-device=auto", "--tpm2-pcrs=7", str(self._partition)]
            if _run(words).returncode:
                raise UpdateError("UPD-042", zh="TPM 无法接收密钥", en="the TPM takes no key")
        return self._slot_of_the_tpm()

    def _added_recovery(self, words: str, *, unlocking: bytes | None) -> int:
        """Add a recovery key, by another key or (None) by the TPM; its slot. Without its token, which comes last, it counts for nothing."""
        secret = words.encode()
        with _in_memory(unlocking or b"") as known, _in_memory(secret) as new:
            by = BY_TPM if unlocking is None else ("--disable-external-tokens", "--key-file", known)
            self._cryptsetup("luksAddKey", "--batch-mode", *QUICK, *by, self._partition, new)
        slot = self._slot_of(secret)
        if slot is None:
            raise _unwritten()
        token = json.dumps({"type": RECOVERY_TOKEN, "keyslots": [str(slot)]})
        self._cryptsetup("token", "import", self._partition, told=token)
        return slot

    def _keep_only(self, slots: set[int], *, proof: bytes) -> None:
        """Take all other key slots away, and tokens that belong to none. ``proof``: a key of one that stays, without which none goes."""
        with _in_memory(proof) as known:
            for slot in sorted(self._all_slots() - slots):
                self._cryptsetup("luksKillSlot", "--key-file", known, self._partition, slot)
        for number, token in self._header()["tokens"].items():
            if not token["keyslots"]:
                self._cryptsetup("token", "remove", "--token-id", number, self._partition)

    def _slot_of_the_loaders_key(self) -> int | None:
        try:
            return self._slot_of(self._loader_key.read_bytes())
        except OSError:
            return None

    def _slot_of_the_tpm(self) -> int:
        slot = self._opened(*BY_TPM)
        if slot is None:
            raise UpdateError("UPD-043", zh="TPM 未能交还密钥", en="the TPM does not give the key back")
        return slot

    def _slot_of(self, key: bytes) -> int | None:
        with _in_memory(key) as known:
            return self._opened("--disable-external-tokens", "--key-file", known) if key else None

    def _opened(self, *by: str) -> int | None:
        """The slot that a key opens; the partition may be in use."""
        done = _run(["cryptsetup", "open", "--test-passphrase", "--verbose", *by, str(self._partition)])
        slot = re.search(r"Key slot ([0-9]+) unlocked", done.stdout)
        return int(slot.group(1)) if slot and not done.returncode else None

    def _header(self) -> dict[str, Any]:
        """Its JSON (LUKS2 on-disk format 1.1.1, 3.3), as cryptsetup prints it."""
        header: dict[str, Any] = json.loads(self._cryptsetup("luksDump", "--dump-json-metadata", self._partition))
        return header

    def _all_slots(self) -> set[int]:
        return {int(slot) for slot in self._header()["keyslots"]}

    def _slots_of(self, kind: str) -> set[int]:
        return {int(slot) for token in self._header()["tokens"].values() if token["type"] == kind for slot in token["keyslots"]}

    def _cryptsetup(self, *words: object, told: str = "") -> str:
        done = _run(["cryptsetup", *map(str, words)], told=told)
        if done.returncode:
            raise _unwritten()
        return done.stdout


def answer(line: str, writing: TextIO, *, who: str, data_key: Callable[[], DataKey], is_open: bool, restart: Sequence[str]) -> None:
    """Serve one order, and no other than the few; see `appliance.workflow.slots_door` for the lines of the answer.

    Args:
        line: ``seal``, ``recovery``, or ``unlock KEY``.
        writing: where the answer goes.
        who: name of the user who asks, as the kernel tells it.
        data_key: finds the partition's keys.
        is_open: whether the partition is; one that is not needed no recovery key.
        restart: the program that starts the box anew once it is unlocked.
    """
    verb, _, words = line.strip().partition(" ")
    try:
        if who not in MAY.get(verb, frozenset()) or (words and verb != "unlock"):
            raise UpdateError("UPD-030", zh="无法识别的指令", en="there is no such order")
        if verb == "unlock":
            if is_open:
                raise UpdateError("UPD-048", zh="数据分区已打开", en="the data partition is open")
            done: dict[str, object] = {"tpm": data_key().unlock(words)}
            if _run(restart).returncode:
                raise UpdateError("UPD-003", zh="无法重启,请断电后再开机", en="it does not restart, switch it off and on")
        else:
            done = {"recovery": data_key().seal() if verb == "seal" else data_key().renew()}
        message: dict[str, object] = {"done": done}
    except CoronetError as error:
        message = {"code": error.code, "zh": error.zh, "en": error.en}
    writing.write(json.dumps(message, ensure_ascii=False) + "\n")
    writing.flush()


@contextmanager
def _in_memory(secret: bytes) -> Iterator[str]:
    """A secret as a file that programs which we start can read, and that never lies on a disk."""
    descriptor = os.memfd_create("key")
    try:
        os.fchmod(descriptor, 0o600)
        os.set_inheritable(descriptor, True)
        os.write(descriptor, secret)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _run(words: Sequence[str], *, told: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program to its end, with the secrets in memory; what it complains of goes to the journal, its output holds none."""
    try:
        return subprocess.run(
            words, input=told, stdout=subprocess.PIPE, text=True, errors="replace", close_fds=False, timeout=PROGRAM_S, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise _unwritten() from error


def _no_partition() -> UpdateError:
    return UpdateError("UPD-044", zh="找不到数据分区", en="there is no data partition")


def _unwritten() -> UpdateError:
    return UpdateError("UPD-049", zh="数据分区的密钥无法更改", en="the keys of the data partition cannot be changed")
