"""Stage 1: Debian's packages, as a tar file. Kept until the list of packages changes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from coronet_image.run import BuildError, Places, run

SUITE = "bookworm"
LEFT_OUT = (
    "/usr/share/man/*",
    "/usr/share/locale/*",
    "/usr/share/info/*",
    "/usr/share/doc/*",
    "/usr/share/lintian/*",
    "/usr/share/bash-completion/*",
    # kinds of hardware that no such box has
    *(f"/lib/modules/*/kernel/{part}/*" for part in ("sound", "drivers/media", "drivers/infiniband", "drivers/isdn", "drivers/staging")),
    *(f"/lib/modules/*/kernel/drivers/{part}/*" for part in ("net/wireless", "iio", "comedi", "bluetooth", "nfc", "thunderbolt/x")),
    *(f"/lib/modules/*/kernel/net/{part}/*" for part in ("mac80211", "wireless", "bluetooth", "nfc", "can", "tipc", "sctp", "rds", "dccp")),
)
KEPT = ("/usr/share/doc/*/copyright",)


def packages(listing: str) -> list[str]:
    """The Debian packages of the image: lines ``run`` and ``#box`` of apt-packages.txt."""
    lines = [line.split() for line in listing.splitlines()]
    return sorted({words[1] for words in lines if len(words) > 1 and words[0] in ("run", "#box")})


def apt_sources() -> Path:
    """This machine's own list of Debian's archive (``CORONET_APT_SOURCES`` names another).

    Raises:
        BuildError: none names the suite.
    """
    given = os.environ.get("CORONET_APT_SOURCES")
    folder = Path("/etc/apt")
    places = [Path(given)] if given else [*sorted((folder / "sources.list.d").glob("*.sources")), folder / "sources.list"]
    for place in places:
        text = place.read_text("utf-8") if place.is_file() else ""
        if SUITE in text.split() and "main" in text.split():
            return place
    raise BuildError(f"no file below {folder} names the suite {SUITE}; set CORONET_APT_SOURCES")


def command(wanted: list[str], *, cache: Path, target: Path, sources: Path) -> list[str]:
    """The call of mmdebstrap: root without apt itself, no recommended packages, package files kept in ``cache``."""
    return [
        "mmdebstrap",
        "--mode=root",
        "--variant=essential",
        f"--include={','.join(wanted)}",
        '--aptopt=Apt::Install-Recommends "false"',
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT),
        *(f"--dpkgopt=path-include={pattern}" for pattern in KEPT),
        '--setup-hook=mkdir -p "$1"/var/cache/apt/archives/',
        f"--setup-hook=sync-in {cache} /var/cache/apt/archives/",
        "--skip=download/empty,essential/unlink,cleanup/apt",
        f"--customize-hook=sync-out /var/cache/apt/archives {cache}",
        SUITE,
        str(target),
        str(sources),
    ]


def make_base(places: Places) -> Path:
    """The tar file, made anew only where the list of packages or this recipe changed."""
    wanted = packages((places.repo / "image-build/apt-packages.txt").read_text("utf-8"))
    key = hashlib.sha256("\n".join([*wanted, *LEFT_OUT]).encode()).hexdigest()[:16]
    target = places.out / f"base-{key}.tar"
    if target.is_file():
        return target
    cache = places.cache / "debs"
    cache.mkdir(parents=True, exist_ok=True)
    places.out.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name("unfinished.tar")
    call = command(wanted, cache=cache, target=unfinished, sources=apt_sources())
    run(*call, env=places.environment() | {"INITRD": "No"})  # the initrd is ours (initrd.py), not initramfs-tools'
    for older in places.out.glob("base-*.tar"):
        older.unlink()
    return unfinished.rename(target)
