"""Signatures of what comes by stick: detached CMS (RFC 5652) by X.509 certificates, made and checked by the OpenSSL command.

One chain for profiles and updates (RAUC checks its bundles against the same keyring): the keyring file holds the certificates of our
authorities, the signer's certificate travels in the signature. Rotation: issue a new signing certificate under the same authority at any
time; to change the authority, ship an update whose keyring holds the old and the new one, and later one with the new one only.
"""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import BinaryIO

from appliance.errors import MaintenanceError

TIMEOUT_S = 60.0
KEYRING = Path("/usr/lib/coronet/keyring.pem")
"""In the slot, which nobody can write: keys change with the software."""
MAXIMUM_SIGNATURE = 64 * 1024
SUFFIX = ".p7s"


def read_signed(path: Path, *, keyring: Path, maximum_bytes: int) -> bytes:
    """The content of a file if the signature beside it (``NAME.p7s``) is good.

    File and signature are read once; what was checked is what is returned, whatever the stick says when it is read again.

    Raises:
        MaintenanceError: MNT-001 to MNT-004.
    """
    content = _read(path, maximum_bytes)
    try:
        signature = _read(path.with_name(path.name + SUFFIX), MAXIMUM_SIGNATURE)
    except MaintenanceError as error:
        raise MaintenanceError("MNT-002", zh=f"{path.name} 没有签名文件", en=f"there is no signature beside {path.name}") from error
    with tempfile.TemporaryDirectory(prefix="coronet-signed-") as folder:
        copy, signed = Path(folder) / "content", Path(folder) / "signature"
        copy.write_bytes(content)
        signed.write_bytes(signature)
        # only our keyring counts: not the authorities that this system trusts for the web
        done = run_openssl(
            "cms", "-verify", "-binary", "-inform", "DER", "-in", str(signed), "-content", str(copy), "-out", str(Path(folder) / "out"),
            "-CAfile", str(keyring), "-no-CApath", "-no-CAstore",
        )  # fmt: skip
    if done.returncode != 0:
        cause = done.stderr.strip().splitlines()[-1:] or [""]
        raise MaintenanceError(
            "MNT-003",
            zh=f"{path.name} 的签名无效或不受信任(亦请核对本机时间)",
            en=f"the signature of {path.name} is not good, or not of one of our keys (is the clock right?)",
            cause=cause[0],
        )
    return content


def sign(path: Path, *, certificate: Path, key: Path) -> Path:
    """Write the signature beside a file; for whoever holds the key, never on a box. Returns its path.

    Raises:
        MaintenanceError: MNT-003 the key cannot be used, MNT-004.
    """
    signature = path.with_name(path.name + SUFFIX)
    done = run_openssl(
        "cms", "-sign", "-binary", "-outform", "DER", "-in", str(path), "-out", str(signature),
        "-signer", str(certificate), "-inkey", str(key), "-md", "sha256",
    )  # fmt: skip
    if done.returncode != 0:
        raise MaintenanceError("MNT-003", zh="无法签名", en=f"it cannot be signed: {done.stderr.strip()[-200:]}")
    return signature


def run_openssl(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the OpenSSL command. Raises MNT-004 where there is none, or where it hangs."""
    try:
        return subprocess.run(["openssl", *arguments], capture_output=True, text=True, timeout=TIMEOUT_S, check=False, errors="replace")
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MaintenanceError("MNT-004", zh="缺少 openssl 程序", en="the openssl program is missing") from error


def open_plain(path: Path) -> BinaryIO:
    """Open a regular file for reading; not a link, nor a pipe or device of a hostile stick, at which an open would wait for ever.

    Raises:
        OSError: it is none, or cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "no regular file")
    return os.fdopen(descriptor, "rb")


def _read(path: Path, maximum_bytes: int) -> bytes:
    """The whole of a file that is not too large."""
    missing = MaintenanceError("MNT-001", zh=f"没有文件 {path.name} 或文件过大", en=f"there is no file {path.name}, or it is too large")
    try:
        with open_plain(path) as file:
            content = file.read(maximum_bytes + 1)
    except OSError as error:
        raise missing from error
    if len(content) > maximum_bytes:
        raise missing
    return content
