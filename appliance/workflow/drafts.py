"""Drafts as the coordinator sees them: folders to read, and to correct.

The numeric packages are imported only for a correction: the coordinator reads drafts all day and corrects one now and then.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from PIL import Image

from appliance.findings import Findings
from appliance.study import ReportText
from appliance.worklist import PictureInfo

_PICTURE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}\Z")
_PICTURE_FIELDS = {"id", "kind", "title_zh", "title_en", "vessel", "segment", "lesion"}


class DraftFolders:
    """The `DraftView` of the product.

    Args:
        institution: stands on reports.
    """

    def __init__(self, *, institution: str) -> None:
        self._institution = institution

    def warm_up(self) -> None:
        """Load what a correction needs, so that the first one of the day is as quick as the others."""
        importlib.import_module("appliance.workflow.draft")

    def findings(self, folder: Path) -> Findings:
        """The findings of a draft."""
        return Findings.read(folder / "findings.json")

    def report(self, folder: Path) -> ReportText:
        """The report of a draft or a release."""
        return msgspec.json.decode((folder / "report.json").read_bytes(), type=ReportText)

    def pictures(self, folder: Path) -> tuple[PictureInfo, ...]:
        """The key views of a draft, in its order."""
        index = folder / "key-views" / "index.json"
        entries: list[dict[str, Any]] = msgspec.json.decode(index.read_bytes()) if index.exists() else []
        return tuple(_picture_info(folder / "key-views", entry) for entry in entries)

    def picture(self, folder: Path, picture_id: str) -> Path | None:
        """The PNG of a key view; None if there is none with that id."""
        path = folder / "key-views" / f"{picture_id}.png"
        return path if _PICTURE_ID.match(picture_id) and path.is_file() else None

    def correct(self, folder: Path, corrected: Path, *, change: Callable[[Findings], Findings]) -> Findings:
        """Write a changed draft to a new folder, which appears whole."""
        from appliance.workflow.draft import correct_draft

        return correct_draft(folder, corrected, change=change, institution=self._institution)


def _picture_info(folder: Path, entry: Mapping[str, Any]) -> PictureInfo:
    with Image.open(folder / f"{entry['id']}.png") as image:
        width, height = image.size
    return PictureInfo(width=width, height=height, **{name: value for name, value in entry.items() if name in _PICTURE_FIELDS})
