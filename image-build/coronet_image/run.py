"""Starting the programs that do the work, and what the build's folders are called."""

from __future__ import annotations

import hashlib
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path


class BuildError(Exception):
    """A step of the build failed; the message names the program and what it said last."""


def run(*command: str | Path, stdin: str | bytes | None = None, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Run a program to its end and return what it printed.

    Raises:
        BuildError: it is missing or did not end well.
    """
    words = [str(word) for word in command]
    data = stdin.encode() if isinstance(stdin, str) else stdin
    try:
        done = subprocess.run(words, input=data, cwd=cwd, env=env, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise BuildError(f"{words[0]} is missing: install what image-build/apt-packages.txt calls #host") from error
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").strip()[-3000:]
        raise BuildError(f"{' '.join(words)[:300]} ended with {done.returncode}:\n{said}")
    return done.stdout.decode(errors="replace")


def sha256(path: Path) -> str:
    """Digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Places:
    """Where the build reads and writes."""

    repo: Path
    out: Path
    cache: Path
    epoch: int
    """Every time stamp in the image: the time of the commit."""

    @property
    def root(self) -> Path:
        """The root file system as a folder."""
        return self.out / "root"

    @property
    def slot(self) -> Path:
        """What one slot holds, and an update carries."""
        return self.out / "slot"

    def environment(self) -> dict[str, str]:
        """For programs whose output must not depend on who runs them."""
        return {
            "PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
            "HOME": "/root",
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "SOURCE_DATE_EPOCH": str(self.epoch),
        }


def places(*, repo: Path, out: Path, cache: Path) -> Places:
    """For this checkout; its last commit gives the time."""
    epoch = int(run("git", "-C", repo, "log", "-1", "--format=%ct").strip())
    return Places(repo=repo, out=out, cache=cache, epoch=epoch)
