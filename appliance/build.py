"""Which build this is: version and commit, as every result names them."""

from __future__ import annotations

from pathlib import Path

from appliance import __version__
from appliance.findings import Software

_STAMP = Path(__file__).with_name("COMMIT")
"""Written when an image is built; a source checkout has none and asks its own .git."""


def software() -> Software:
    """Version and commit; ``unknown`` where neither stamp nor checkout says which commit this is."""
    return Software(version=__version__, commit=_commit())


def installed_version(stamp: Path = Path("/usr/lib/coronet/version")) -> str:
    """The version of the running slot, as the image's stamp says; of the package where there is no image."""
    try:
        return stamp.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return __version__


def _commit() -> str:
    if _STAMP.is_file():
        return _STAMP.read_text("ascii").strip()
    git = Path(__file__).resolve().parents[1] / ".git"
    try:
        head = (git / "HEAD").read_text("ascii").strip()
        if not head.startswith("ref: "):
            return head
        reference = head.removeprefix("ref: ")
        loose = git / reference
        if loose.is_file():
            return loose.read_text("ascii").strip()
        packed = (git / "packed-refs").read_text("ascii").splitlines()
        return next(line.split()[0] for line in packed if line.endswith(f" {reference}"))
    except (OSError, StopIteration):
        return "unknown"
