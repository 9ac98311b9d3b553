"""What an approval releases, where drafts and releases lie, and how a release gets into the outbox."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from appliance.archive.archive import Archive
from appliance.archive.studies import StudyRecord
from appliance.settings import Settings
from appliance.workflow.routing import RouteFacts, Router, enlist_files, facts_of


@dataclass(frozen=True)
class Released:
    """Files on the disk: DICOM objects for the archives, film pages by printer name."""

    objects: tuple[Path, ...]
    pages: Mapping[str, tuple[Path, ...]]
    clear: tuple[Path, ...] = ()
    """The objects for a pseudonymised route: key views without the patient line, and no document with one."""


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
    router = make_router(settings)
    for consignment in router.consign([_facts(study, archive, router)], what="results"):
        objects = released.clear if consignment.treatment.pseudonymise else released.objects
        if objects:
            text = f"结果对象 {len(objects)} 个 / {len(objects)} result objects"
            enlist_files(consignment, archive=archive, study=study, what="results", files=objects, description=text)
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


def make_router(settings: Settings) -> Router:
    """The router of the settings, on this machine's local time."""
    return Router(destinations=settings.destination, routes=settings.route, local_time=lambda: datetime.now().astimezone().time())


def _facts(study: StudyRecord, archive: Archive, router: Router) -> RouteFacts:
    """What routes may ask of results: the same as of the images that they were made from."""
    images = archive.index.of_study(study.key, series_uid=study.main_series)[:1] if router.asks_facts else []
    return facts_of(archive, study, images)[0] if images else RouteFacts(urgent=study.urgent)
