"""What an approval releases, where drafts and releases lie, and how a release gets into the outbox."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from appliance.archive.archive import Archive
from appliance.archive.studies import StudyRecord
from appliance.settings import Settings


@dataclass(frozen=True)
class Released:
    """Files on the disk: DICOM objects for the archives, film pages by printer name."""

    objects: tuple[Path, ...]
    pages: Mapping[str, tuple[Path, ...]]


def draft_name(study: StudyRecord) -> str:
    """Folder, below the drafts, of the draft that comes next: the study's generation, and the revision that the draft makes."""
    return f"{study.key}/g{study.generation}-r{study.revision + 1}"


def release_name(study: StudyRecord) -> str:
    """Folder, below the drafts, of what the present approval releases; an approval is named by the revision that it made."""
    return f"{study.key}/g{study.generation}-r{study.revision}-release"


def enlist(released: Released, *, study: StudyRecord, archive: Archive, settings: Settings) -> int:
    """Put a release into the outbox, a row for each destination and printer; part of the transaction that makes the study ``delivering``.

    Returns:
        How many rows; 0 where the site has no destination at all.
    """
    rows = 0
    for destination in settings.destination:
        if destination.enabled and "results" in destination.send and released.objects:
            count = len(released.objects)
            archive.outbox.add(
                study=study.key,
                generation=study.generation,
                destination=destination.name,
                kind="store",
                purpose="results",
                description=f"结果对象 {count} 个 / {count} result objects",
                files=[archive.relative(path) for path in released.objects],
            )
            rows += 1
    for printer in settings.printer:
        pages = released.pages.get(printer.name, ())
        if printer.enabled and pages:
            archive.outbox.add(
                study=study.key,
                generation=study.generation,
                destination=printer.name,
                kind="print",
                purpose="results",
                description=f"胶片 {len(pages)} 张 / {len(pages)} films",
                files=[archive.relative(path) for path in pages],
            )
            rows += 1
    return rows
