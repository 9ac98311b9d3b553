"""A small certificate authority, as the maker of the box has one: P-256, an authority and signers under it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Signer:
    """A signing certificate and its key."""

    certificate: Path
    key: Path


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=60)


class Authority:
    """A self-signed authority in a folder. ``keyring`` is what a box trusts."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._name = folder, name
        self.keyring, self._key = folder / f"{name}.pem", folder / f"{name}.key"
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        extension = ("-addext", "basicConstraints=critical,CA:TRUE")
        _openssl(
            "req", "-x509", *curve, "-keyout", str(self._key), "-out", str(self.keyring), "-days", "30", "-subj", f"/CN={name}", *extension
        )

    def signer(self, name: str, *, days: int = 30) -> Signer:
        """A certificate of this authority for signing."""
        key, request, certificate = (self._folder / f"{name}.{kind}" for kind in ("key", "csr", "crt"))
        extensions = self._folder / "extensions"
        extensions.write_text("keyUsage=digitalSignature\nextendedKeyUsage=emailProtection\n")
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        _openssl("req", "-new", *curve, "-keyout", str(key), "-out", str(request), "-subj", f"/CN={name}")
        issue = ("-CA", str(self.keyring), "-CAkey", str(self._key), "-CAcreateserial", "-days", str(days), "-extfile", str(extensions))
        _openssl("x509", "-req", "-in", str(request), "-out", str(certificate), *issue)
        return Signer(certificate, key)
