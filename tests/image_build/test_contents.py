"""What goes into the image: packages, the part of the lock, the bill of materials."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from coronet_image import base, product, sbom, wheels
from coronet_image.run import BuildError

REPO = Path(__file__).resolve().parents[2]


def test_the_image_has_no_compiler_and_no_tool_of_tests() -> None:
    wanted = base.packages((REPO / "image-build/apt-packages.txt").read_text("utf-8"))
    assert {"linux-image-amd64", "systemd", "python3.11", "cage", "rauc", "cryptsetup-bin"} <= set(wanted)
    assert not {"gcc", "libsystemd-dev", "python3.11-dev", "orthanc", "dcmtk", "squashfs-tools", "apt"} & set(wanted)


def test_packages_are_called_without_recommended_ones() -> None:
    words = base.command(["udev"], cache=Path("/cache"), target=Path("/base.tar"), sources=Path("/sources"))
    assert '--aptopt=Apt::Install-Recommends "false"' in words
    assert words[-3:] == ["bookworm", "/base.tar", "/sources"]


def test_the_products_lock_is_closed_and_leaves_the_tools_of_development_out() -> None:
    lock = wheels.product_lock((REPO / "requirements.lock").read_text("utf-8"), (REPO / "pyproject.toml").read_text("utf-8"))
    names = {line.split("==")[0] for line in lock.splitlines() if "==" in line}
    assert {"numpy", "pynetdicom", "kivy", "llvmlite", "openvino", "systemd-python"} <= names
    assert not {"pytest", "mypy", "ruff", "hypothesis", "import-linter"} & names
    assert lock.count("--hash=sha256:") >= len(names)


def test_a_dependency_that_is_not_locked_is_an_error() -> None:
    with pytest.raises(BuildError, match="requests"):
        wheels.product_lock("numpy==2.0 \\\n    --hash=sha256:aa\n", '[project]\ndependencies = ["numpy>=2", "requests>=2"]\n')


def test_kernels_are_compiled_for_the_processor_that_the_units_name() -> None:
    for unit in ("coronet", "coronet-analyst"):
        dropin = REPO / f"image-build/root/usr/lib/systemd/system/{unit}.service.d/20-kernels.conf"
        assert product.processor(dropin.read_text("ascii")) == ["NUMBA_CPU_NAME=haswell", "NUMBA_CPU_FEATURES="]


def small_root(folder: Path) -> Path:
    (folder / "var/lib/dpkg").mkdir(parents=True)
    (folder / "var/lib/dpkg/status").write_text(
        "Package: udev\nStatus: install ok installed\nArchitecture: amd64\nVersion: 252.39-1~deb12u1\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n\n"
        "Package: kmod\nStatus: install ok installed\nArchitecture: amd64\nVersion: 30+2\n",
        "utf-8",
    )
    for name, text in (("udev", "License: LGPL-2.1+\n text\n"), ("kmod", "see /usr/share/common-licenses/GPL-2.\n")):
        (folder / "usr/share/doc" / name).mkdir(parents=True)
        (folder / "usr/share/doc" / name / "copyright").write_text(text, "utf-8")
    return folder


def distribution(site: Path, name: str, licence: str) -> None:
    record = site / f"{name}-1.0.dist-info"
    record.mkdir(parents=True)
    (record / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\nLicense-Expression: {licence}\n", "utf-8")


def test_the_bill_of_materials_names_packages_versions_and_licences_and_nothing_that_changes(tmp_path: Path) -> None:
    root, site, share = small_root(tmp_path / "root"), tmp_path / "site", tmp_path / "share"
    distribution(site, "numpy", "BSD-3-Clause")
    share.mkdir()
    texts = []
    for _ in range(2):
        sbom.write(root, site, share, version="1.0", commit="abc")
        texts.append((share / "sbom.cdx.json").read_text("utf-8"))
    assert texts[0] == texts[1]
    told = json.loads(texts[0])
    assert (told["bomFormat"], told["specVersion"]) == ("CycloneDX", "1.5")
    assert [one["purl"] for one in told["components"]] == [
        "pkg:deb/debian/kmod@30%2B2?arch=amd64&distro=bookworm",
        "pkg:deb/debian/udev@252.39-1~deb12u1?arch=amd64&distro=bookworm",
        "pkg:pypi/numpy@1.0",
    ]
    assert (share / "licences.tsv").read_text("utf-8").splitlines() == [
        "deb\tkmod\t30+2\tGPL-2",
        "deb\tudev\t252.39-1~deb12u1\tLGPL-2.1+",
        "pypi\tnumpy\t1.0\tBSD-3-Clause",
    ]


@pytest.mark.parametrize(("licence", "refused"), [("GPL-3.0-only", True), ("LGPL-2.1-or-later", True), ("MIT", False), ("AGPL-3.0", True)])
def test_a_copyleft_package_that_nobody_declared_is_found(tmp_path: Path, licence: str, refused: bool) -> None:
    distribution(tmp_path, "something", licence)
    assert bool(sbom.copyleft(sbom.python(tmp_path))) is refused
