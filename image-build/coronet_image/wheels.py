"""Stage 2a: the Python packages of the product, by the hashes of requirements.lock, as wheels in the cache."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

from coronet_image.run import BuildError, Places, run

OURS = "coronet (pyproject.toml)"


def product_lock(lock: str, project: str) -> str:
    """The part of requirements.lock that the product needs: what pyproject.toml's own dependencies lead to, not the tools of development.

    Raises:
        BuildError: a dependency is not in the lock.
    """
    table = tomllib.loads(project)["project"]
    direct = {_name(re.split(r"[<>=!~;\[ ]", line)[0]) for line in table["dependencies"]}
    blocks = {_name(block.split("==")[0]): block for block in re.split(r"\n(?=[A-Za-z])", lock.strip()) if "==" in block.split("\n")[0]}
    if missing := direct - blocks.keys():
        raise BuildError(f"not in requirements.lock: {', '.join(sorted(missing))}; run make lock")
    wanted, size = set(direct), 0
    asked_by = {name: _via(block) for name, block in blocks.items()}
    while len(wanted) != size:
        size = len(wanted)
        wanted |= {name for name, askers in asked_by.items() if askers & wanted}
    return "\n".join(blocks[name] for name in sorted(wanted)) + "\n"


def _via(block: str) -> set[str]:
    """Who asked for a package, as pip-compile notes it below each."""
    lines = [line.strip("# ").strip() for line in block.split("\n") if line.strip().startswith("#")]
    return {_name(line.removeprefix("via").strip()) for line in lines if line != "via" and OURS not in line}


def _name(text: str) -> str:
    return text.strip().lower().replace("_", "-").replace(".", "-")


def fetch(places: Places, lock: str) -> Path:
    """The wheels of a lock; what has none is compiled once. Addresses come from pip's own configuration."""
    folder = places.cache / "wheels"
    folder.mkdir(parents=True, exist_ok=True)
    listing = places.out / "product.lock"
    stamp = folder / ".complete"
    if stamp.is_file() and stamp.read_text("utf-8") == lock:
        return folder
    listing.write_text(lock, "utf-8")
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--require-hashes", "-r", listing, "-w", folder, "--find-links", folder)
    stamp.write_text(lock, "utf-8")
    return folder


def install(wheels: Path, lock: str, target: Path) -> None:
    """Unpack the wheels of the lock into a site-packages folder; nothing is fetched.

    The compiled package that has no wheel upstream gets another digest than its source in the lock, so the files are named, not looked up.
    """
    names = {line.split("==")[0].strip() for line in lock.splitlines() if "==" in line}
    files = [wheel for name in sorted(names) for wheel in _wheels_of(wheels, name, lock)]
    run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-compile", "--target", target, *files)


def _wheels_of(folder: Path, name: str, lock: str) -> list[Path]:
    version = re.search(rf"^{re.escape(name)}==(\S+)", lock, re.MULTILINE)
    if not version:
        raise BuildError(f"no version of {name}")
    found = [one for one in folder.glob("*.whl") if _name(one.name.split("-")[0]) == _name(name) and one.name.split("-")[1] == version[1]]
    if not found:
        raise BuildError(f"no wheel of {name} {version[1]}")
    return found[:1]
