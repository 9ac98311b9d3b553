"""The factory reset of the image, with a real LUKS header in a file: nothing opens it any more, wherever the power is cut on the way."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "image-build/root/usr/lib/coronet/erase-data"
HEAD = 16 << 20
CUT_AT = ("blkdiscard", "dd", "shred", "sync", "rm")


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """A partition with a header that its key opens, the key beside the loader, and the order."""
    if shutil.which("cryptsetup") is None:
        pytest.skip("cryptsetup is not installed")
    (tmp_path / "efi").mkdir()
    (tmp_path / "efi/data.key").write_bytes(os.urandom(64))
    shutil.copy(tmp_path / "efi/data.key", tmp_path / "stolen.key")
    with (tmp_path / "partition").open("wb") as file:
        file.truncate(24 << 20)
    quick = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--key-file", str(tmp_path / "efi/data.key")]
    cryptsetup("luksFormat", "--batch-mode", "--type", "luks2", *quick, str(tmp_path / "partition"))
    assert opens(tmp_path)
    (tmp_path / "efi/erase").touch()
    (tmp_path / "efi/grubenv").write_text("state of the slots")
    return tmp_path


def cryptsetup(*words: str) -> int:
    return subprocess.run(["cryptsetup", *words], capture_output=True, timeout=60, check=False).returncode


def opens(box: Path) -> bool:
    """Whether a key that was copied before still opens it."""
    return cryptsetup("open", "--test-passphrase", "--key-file", str(box / "stolen.key"), str(box / "partition")) == 0


def erase(box: Path, *, cut_at: str = "") -> int:
    """Run the script; a program that is called ``cut_at`` ends it before it does anything, as the power would."""
    programs = box / "bin"
    shutil.rmtree(programs, ignore_errors=True)
    programs.mkdir()
    if cut_at:
        (programs / cut_at).write_text("#!/bin/sh\nkill -9 $PPID\nsleep 10\n")
        (programs / cut_at).chmod(0o755)
    environment = {"PATH": f"{programs}:/usr/sbin:/usr/bin:/sbin:/bin", "CORONET_EFI": str(box / "efi")}
    done = subprocess.run(["sh", str(SCRIPT), str(box / "partition")], env=environment, capture_output=True, timeout=60, check=False)
    return done.returncode


def check_nothing_is_left(box: Path) -> None:
    content = (box / "partition").read_bytes()
    assert content[:HEAD] == bytes(HEAD), "what open-data takes for an empty partition"
    assert not opens(box)
    assert sorted(path.name for path in (box / "efi").iterdir()) == ["grubenv"], "the slots' state stays, key and order do not"


def test_a_key_that_was_copied_before_opens_nothing_any_more(box: Path) -> None:
    assert erase(box) == 0
    check_nothing_is_left(box)


@pytest.mark.parametrize("cut_at", CUT_AT)
def test_a_cut_on_the_way_is_done_again_at_the_next_start(box: Path, cut_at: str) -> None:
    assert erase(box, cut_at=cut_at) != 0
    assert (box / "efi/erase").exists(), "the order stands until everything is gone"
    assert erase(box) == 0
    check_nothing_is_left(box)


def test_the_start_erases_before_it_opens() -> None:
    text = (SCRIPT.parent / "open-data").read_text("utf-8")
    assert text.index("/usr/lib/coronet/erase-data") < text.index('open "$partition"')
    assert os.access(SCRIPT, os.X_OK)
