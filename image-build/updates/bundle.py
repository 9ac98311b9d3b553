"""Makes an update from what the image build has made: a signed RAUC bundle, verity format, and nothing else would be taken by a box.

    python image-build/updates/bundle.py --slot build/image/slot --notes notes.toml --certificate release.crt --key release.key --out FOLDER

``--slot`` holds root.squashfs, root.verity, boot.vfat and slot.json (``version``). ``notes.toml``: ``zh`` and ``en``, what the person on
the kiosk reads, and ``needs``, the oldest version that it can be installed over. The bundle is FOLDER/coronet-VERSION.raucb; put it at the
top of a stick (FAT, exFAT or ext4), and that is all.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

COMPATIBLE = "coronet-x86-64-v1"
IMAGES = {"rootfs": ("root.squashfs", "root.img"), "verity": ("root.verity", "verity.img"), "boot": ("boot.vfat", "boot.img")}
"""Class of the slot -> file of the image build, name in the bundle (RAUC writes *.img as it is)."""
GATE = Path(__file__).parent / "root/usr/lib/coronet/slots/gate"
VERSION = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6}){0,3}\Z")


def manifest(*, version: str, compatible: str, notes: dict[str, str]) -> str:
    """RAUC's manifest; hashes and sizes are RAUC's to fill in."""
    told = json.dumps({name: notes.get(name, "") for name in ("zh", "en")} | {"needs": notes.get("needs", "0")}, ensure_ascii=False)
    description = told.replace("\\", "\\\\").replace("\n", "\\n")
    images = "".join(f"\n[image.{kind}]\nfilename={name}\n" for kind, (_source, name) in IMAGES.items())
    return (
        f"[update]\ncompatible={compatible}\nversion={version}\ndescription={description}\n"
        f"\n[bundle]\nformat=verity\n\n[hooks]\nfilename=gate\nhooks=install-check\n{images}"
    )


def make_bundle(
    slot: Path, out: Path, *, notes: dict[str, str], certificate: Path, key: Path, version: str | None = None, compatible: str = COMPATIBLE
) -> Path:
    """Sign the images of a slot as one bundle; its path."""
    version = version or str(json.loads((slot / "slot.json").read_text("utf-8"))["version"])
    if not VERSION.match(version) or not VERSION.match(notes.get("needs", "0")):
        raise SystemExit(f"{version} is no version")
    out.mkdir(parents=True, exist_ok=True)
    bundle = out / f"coronet-{version}.raucb"
    with tempfile.TemporaryDirectory(dir=out) as place:
        content = Path(place) / "content"
        content.mkdir()
        for source, name in IMAGES.values():
            _link(slot / source, content / name)
        shutil.copy2(GATE, content / "gate")
        (content / "manifest.raucm").write_text(manifest(version=version, compatible=compatible, notes=notes), "utf-8")
        part = Path(place) / bundle.name
        # the images are compressed already: packing them again would cost minutes here and on the box
        pack = ["--mksquashfs-args=-noD -noI -noF -noX"]
        command = ["rauc", f"--cert={certificate}", f"--key={key}", "bundle", *pack, str(content), str(part)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        part.replace(bundle)
    return bundle


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def main(words: list[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description="Make a signed update.")
    parser.add_argument("--slot", type=Path, default=Path("build/image/slot"))
    parser.add_argument("--notes", type=Path, required=True)
    parser.add_argument("--certificate", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("build/image"))
    options = parser.parse_args(words)
    notes = {name: str(text) for name, text in tomllib.loads(options.notes.read_text("utf-8")).items()}
    bundle = make_bundle(options.slot, options.out, notes=notes, certificate=options.certificate, key=options.key)
    sys.stdout.write(f"{bundle}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
