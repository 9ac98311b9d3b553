"""Keys of the releases: our own authority, the certificates that sign, the keyring that a box trusts. Never on a box.

    python image-build/updates/keys.py root FOLDER --name coronet-1        the authority: key (keep it offline) and certificate
    python image-build/updates/keys.py release FOLDER --root coronet-1 --name release-2026
    python image-build/updates/keys.py keyring OUT ROOT.pem [ROOT.pem ...] what goes into an image: one authority, or the old and the new

Rotation: an update signed under the old authority ships a keyring that holds the old and the new one; the next, signed under the new one,
ships a keyring of the new one alone, and from then on nothing signed under the old one is taken: that is how a key is taken back, too.
A release certificate is changed at any time; it travels in the signature.

P-256; a release certificate carries the usages that RAUC and OpenSSL ask of signers (digitalSignature; emailProtection, codeSigning).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
ROOT_DAYS, RELEASE_DAYS = 7300, 1095
RELEASE = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=emailProtection,codeSigning\n"


def openssl(*arguments: str) -> None:
    """Run OpenSSL; its own words, and the end, where it cannot."""
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)


def protection(passphrase: bool) -> tuple[str, ...]:
    """A key is sealed by the passphrase in CORONET_KEY_PASSPHRASE, unless somebody says in so many words that it shall not be."""
    if not passphrase:
        return ("-nodes",)
    if not os.environ.get("CORONET_KEY_PASSPHRASE"):
        raise SystemExit("set CORONET_KEY_PASSPHRASE, or say --no-passphrase (tests only)")
    return ("-passout", "env:CORONET_KEY_PASSPHRASE")


def make_root(folder: Path, name: str, *, days: int, passphrase: bool) -> None:
    """An authority: NAME.key, NAME.pem."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = folder / f"{name}.key"
    _refuse_to_replace(key)
    usage = ("-addext", "basicConstraints=critical,CA:TRUE,pathlen:0", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    subject = ("-subj", f"/O=Coronet/CN={name}")
    openssl("req", "-x509", *CURVE, *protection(passphrase), "-keyout", str(key), "-out", str(folder / f"{name}.pem"), "-days", str(days), *subject, *usage)  # fmt: skip  # noqa: E501
    key.chmod(0o600)


def make_release(folder: Path, root: str, name: str, *, days: int, passphrase: bool) -> None:
    """A signer under an authority: NAME.key, NAME.crt."""
    key = folder / f"{name}.key"
    _refuse_to_replace(key)
    unlock = ("-passin", "env:CORONET_KEY_PASSPHRASE") if passphrase else ()
    with tempfile.TemporaryDirectory() as place:
        request, extensions = Path(place) / "csr", Path(place) / "extensions"
        extensions.write_text(RELEASE)
        openssl("req", "-new", *CURVE, *protection(passphrase), "-keyout", str(key), "-out", str(request), "-subj", f"/O=Coronet/CN={name}")
        authority = ("-CA", str(folder / f"{root}.pem"), "-CAkey", str(folder / f"{root}.key"), *unlock)
        serial = ("-set_serial", f"0x{os.urandom(16).hex()}", "-days", str(days), "-extfile", str(extensions))
        openssl("x509", "-req", "-in", str(request), "-out", str(folder / f"{name}.crt"), *authority, *serial)
    key.chmod(0o600)


def make_keyring(out: Path, roots: list[Path]) -> None:
    """The certificates of the authorities that a box trusts, one after another."""
    for root in roots:
        openssl("x509", "-in", str(root), "-noout")
    out.write_text("".join(root.read_text("ascii") for root in roots))


def _refuse_to_replace(key: Path) -> None:
    if key.exists():
        raise SystemExit(f"{key} is there already")


def main(words: list[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description="Keys of the releases.")
    actions = parser.add_subparsers(dest="action", required=True)
    root = actions.add_parser("root")
    release = actions.add_parser("release")
    release.add_argument("--root", required=True)
    for each, days in ((root, ROOT_DAYS), (release, RELEASE_DAYS)):
        each.add_argument("folder", type=Path)
        each.add_argument("--name", required=True)
        each.add_argument("--days", type=int, default=days)
        each.add_argument("--no-passphrase", action="store_true")
    keyring = actions.add_parser("keyring")
    keyring.add_argument("out", type=Path)
    keyring.add_argument("roots", type=Path, nargs="+")
    options = parser.parse_args(words)
    if options.action == "root":
        make_root(options.folder, options.name, days=options.days, passphrase=not options.no_passphrase)
    elif options.action == "release":
        make_release(options.folder, options.root, options.name, days=options.days, passphrase=not options.no_passphrase)
    else:
        make_keyring(options.out, options.roots)
    return 0


if __name__ == "__main__":
    sys.exit(main())
