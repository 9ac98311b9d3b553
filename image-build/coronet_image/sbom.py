"""What is in the image: a bill of materials (CycloneDX 1.5, JSON) and a list of licences, from Debian's and Python's own records."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path

from coronet_image.layout import NAMESPACE

COPYLEFT = re.compile(r"\b(A?GPL|LGPL|GNU (Affero|Lesser|General))", re.IGNORECASE)
DECLARED = {
    "systemd-python": "LGPL-2.1-or-later, loaded as a module of its own and replaceable: journal and notify socket",
    "docutils": "public domain and BSD; what is under the GPL is an Emacs mode, which the wheel does not hold",
}
"""Python packages under a copyleft licence that the product loads all the same, each with the reason."""


@dataclass(frozen=True)
class Component:
    """One package."""

    kind: str
    name: str
    version: str
    licences: tuple[str, ...]
    architecture: str = ""

    @property
    def purl(self) -> str:
        """Its package URL."""
        if self.kind == "deb":
            version = self.version.replace(":", "%3A").replace("+", "%2B")
            return f"pkg:deb/debian/{self.name}@{version}?arch={self.architecture}&distro=bookworm"
        return f"pkg:pypi/{self.name.lower().replace('_', '-')}@{self.version}"


def debian(root: Path) -> list[Component]:
    """Debian's packages, with the licences that their copyright files name."""
    found = []
    for block in (root / "var/lib/dpkg/status").read_text("utf-8").split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", block, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            name = fields["Package"]
            licences = _copyright(root / "usr/share/doc" / name / "copyright", root)
            found.append(Component("deb", name, fields["Version"], licences, fields["Architecture"]))
    return sorted(found, key=lambda one: one.name)


def _copyright(file: Path, root: Path) -> tuple[str, ...]:
    for _ in range(3):  # links between packages of one source
        if file.is_symlink():
            target = str(file.readlink())
            file = root / target.lstrip("/") if target.startswith("/") else file.parent / target
    parent = file.parent
    if parent.is_symlink():
        file = parent.parent / parent.readlink() / "copyright"
    if not file.is_file():
        return ()
    text = file.read_text("utf-8", errors="replace")
    names = {name.strip() for name in re.findall(r"^License:[ \t]*(\S[^\n]*)", text, re.MULTILINE)}
    names |= set(re.findall(r"/usr/share/common-licenses/([A-Za-z0-9.+-]*[A-Za-z0-9+])", text))
    return tuple(sorted(names))


def python(site: Path) -> list[Component]:
    """Python's packages, with the licence that each says it has."""
    found = []
    for record in sorted(site.glob("*.dist-info/METADATA")):
        fields = HeaderParser().parsestr(record.read_text("utf-8", errors="replace"))
        said = fields.get("License-Expression") or ""
        classes = [one.split("::")[-1].strip() for one in fields.get_all("Classifier", []) if one.startswith("License ::")]
        short = (fields.get("License") or "").strip().split("\n")[0][:80]
        licences = (said,) if said else tuple(classes) or ((short,) if short else ())
        found.append(Component("pypi", fields["Name"], fields["Version"], licences))
    return sorted(found, key=lambda one: one.name.lower())


def copyleft(components: list[Component]) -> list[Component]:
    """Python packages under the GNU licences that are not declared: such must not be loaded by the product."""
    return [
        one for one in components if one.kind == "pypi" and any(COPYLEFT.search(name) for name in one.licences) and one.name not in DECLARED
    ]


def without_licence(components: list[Component]) -> list[Component]:
    """Packages whose records name none."""
    return [one for one in components if not one.licences]


def cyclonedx(components: list[Component], *, version: str, commit: str) -> str:
    """The bill of materials; no time and no random number, so that two builds agree."""
    entries = [
        {
            "type": "library" if one.kind == "pypi" else "operating-system" if one.name.startswith("linux-image") else "application",
            "bom-ref": one.purl,
            "name": one.name,
            "version": one.version,
            "purl": one.purl,
            "licenses": [{"license": {"name": name}} for name in one.licences],
        }
        for one in components
    ]
    told = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, commit + version)}",
        "version": 1,
        "metadata": {"component": {"type": "firmware", "bom-ref": "coronet", "name": "coronet", "version": version}},
        "components": entries,
    }
    return json.dumps(told, indent=1, sort_keys=True) + "\n"


def licence_list(components: list[Component]) -> str:
    """One line a package: name, version, licences."""
    return "".join(f"{one.kind}\t{one.name}\t{one.version}\t{'; '.join(one.licences) or 'not stated'}\n" for one in components)


def write(root: Path, site: Path, share: Path, *, version: str, commit: str) -> list[Component]:
    """Both files below ``share``; returns what was found."""
    components = [*debian(root), *python(site)]
    (share / "sbom.cdx.json").write_text(cyclonedx(components, version=version, commit=commit), "utf-8")
    (share / "licences.tsv").write_text(licence_list(components), "utf-8")
    return components
