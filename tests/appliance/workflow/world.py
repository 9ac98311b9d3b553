"""A small hospital for the tests of the workflow: a real archive, a turned clock, images that really lie in the spool."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import time
from pathlib import Path

import msgspec
from PIL import Image

from appliance.anatomy import SegmentName, Vessel
from appliance.archive.archive import Archive
from appliance.archive.instances import Spool
from appliance.archive.studies import StudyRecord
from appliance.errors import Reason
from appliance.findings import Branch, CadRads, Earlier, Findings, Grade, Lesion, PlaqueVolume, Software, Status
from appliance.settings import DestinationSettings, IntakeSettings, RouteSettings
from appliance.study import Approval, ReportSection, ReportText
from appliance.workflow.headers import read_identity
from appliance.workflow.intake import Intake, Verdict
from appliance.workflow.release import Released
from appliance.workflow.routing import Router
from appliance.workflow.states import StudyMachine
from tests.appliance.archive.fakes import TurnedClock, encode, make_archive, make_dataset

SLICES = 4
"""A series of the test scanner is whole with so many images."""
TOO_FEW = Reason(code="DEC-009", zh="层数不足", en="too few slices")
NO_CONTRAST = Reason(code="DEC-004", zh="无增强", en="no contrast")


def examine(series_uid: str, paths: Sequence[Path]) -> Verdict:
    """The rules of the test hospital: series that end in .9 are scouts; whole with `SLICES` images."""
    scout = series_uid.endswith(".9")
    complete = len(paths) == (1 if scout else SLICES)
    reason = NO_CONTRAST if scout else None if complete else TOO_FEW
    return Verdict(series_uid, reason=reason, complete=complete, slices=len(paths), header=read_identity(paths[0]))


@dataclass
class World:
    """The archive with its machine and intake; `push` is the scanner."""

    data: Path
    clock: TurnedClock = field(default_factory=TurnedClock)

    def __post_init__(self) -> None:
        self.archive: Archive = make_archive(self.data, self.clock)
        self.machine = StudyMachine(database=self.archive.database, studies=self.archive.studies, audit=self.archive.audit)
        self.spool: Spool = self.archive.spool(minimum_free_bytes=0)

    def close(self) -> None:
        self.spool.close()
        self.archive.close()

    def intake(self, **changes: object) -> Intake:
        arguments = {
            "archive": self.archive,
            "machine": self.machine,
            "settings": IntakeSettings(quiet_seconds=5.0, stalled_seconds=60.0),
            "router": self.router(),
            "examine": examine,
            "identify": read_identity,
        }
        return Intake(**{**arguments, **changes})  # type: ignore[arg-type]

    def router(self, *destinations: DestinationSettings, routes: Sequence[RouteSettings] = (), at: str = "12:00") -> Router:
        return Router(destinations=destinations, routes=routes, local_time=lambda: time.fromisoformat(at))

    def associate(self) -> int:
        return self.spool.association_opened(peer="127.0.0.1", calling_ae="CT1", called_ae="CORONET")

    def release(self, association: int) -> None:
        self.spool.association_closed(association, outcome="released", instances=0)
        self.spool.settle()

    def push(self, *numbers: int, study: str = "1.2.3", series: str = "1.2.3.1", association: int | None = None, **changes: object) -> None:
        for number in numbers or range(1, SLICES + 1):
            dataset = make_dataset(study=study, series=series, number=number, **changes)
            self.push_bytes(encode(dataset), str(dataset.SOPInstanceUID), association)

    def push_bytes(self, part10: bytes, uid: str, association: int | None = None) -> None:
        self.spool.store(
            sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
            sop_instance_uid=uid,
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            part10=part10,
            association=association,
        )
        self.spool.settle()

    def study(self, study_uid: str = "1.2.3") -> StudyRecord:
        record = self.archive.studies.find(study_uid)
        assert record is not None
        return record

    def queued(self, study: str = "1.2.3") -> StudyRecord:
        """A study that waits for the analyst."""
        self.push(study=study, series=f"{study}.1")
        intake = self.intake()
        intake.step()
        self.clock.pass_s(5)
        intake.step()
        return self.study(study)


TRUNKS: tuple[tuple[int, Vessel, tuple[SegmentName, ...]], ...] = (
    (1, "LAD", ("pLAD", "mLAD", "dLAD")),
    (2, "LCX", ("pLCx", "LCx")),
    (3, "RCA", ("pRCA", "mRCA", "dRCA")),
)
"""Whole ones: a trunk that breaks off makes CAD-RADS N."""


def branch(number: int, vessel: Vessel, names: tuple[SegmentName, ...]) -> Branch:
    ends = (*range(13, 13 * len(names), 13), 40)
    return Branch(
        id=number, parent=None, parent_index=None, vessel=vessel, points_mm=((0.0, 0.0, 0.0),) * 40,
        segments=tuple(zip((0, *ends), ends, names, strict=False)),
        name_confidence=0.5, lumen_diameter_mm=(3.0,) * 40, vessel_diameter_mm=(4.0,) * 40,
    )  # fmt: skip


def lesion(number: int, grade: Grade) -> Lesion:
    return Lesion(
        id=number,
        branch=1,
        vessel="LAD",
        segment="pLAD",
        start=3,
        minimum=5,
        end=9,
        length_mm=6.0,
        minimum_lumen_diameter_mm=1.5,
        reference_diameter_mm=3.0,
        diameter_stenosis_percent=50.0,
        area_stenosis_percent=75.0,
        grade=grade,
        plaque_type="mixed",
        volume_mm3=PlaqueVolume(total=10.0, calcified=4.0, noncalcified=6.0, low_attenuation=1.0),
        remodeling_index=1.0,
        plaque_burden_percent=60.0,
        high_risk=(),
        confidence=0.9,
    )


def findings(status: Status = "analysed", *, grade: Grade = "moderate", reason: Reason | None = None) -> Findings:
    category = {"moderate": "3", "severe": "4A"}.get(grade, "2")
    return Findings(
        status=status,
        software=Software(version="0", commit="0"),
        reason=reason,
        engine=None,
        models=(),
        series=None,
        other_series=(),
        quality=None,
        dominance="right",
        branches=tuple(branch(number, vessel, names) for number, vessel, names in TRUNKS),
        lesions=(lesion(0, grade),) if status == "analysed" else (),
        bridges=(),
        stents=(),
        calcium=None,
        plaque_total_mm3=None,
        segment_involvement_score=1,
        segment_stenosis_score=1,
        cad_rads=CadRads(category=category, plaque_burden="P1", modifiers=(), text=f"CAD-RADS {category}/P1")  # type: ignore[arg-type]
        if status == "analysed"
        else None,
        timing_s={"total": 1.0},
        schema=1,
    )


def write_draft(folder: Path, found: Findings) -> None:
    """A draft folder as the product writes it, with one small picture."""
    (folder / "key-views").mkdir(parents=True)
    (folder / "findings.json").write_bytes(found.to_json())
    text = found.cad_rads.text if found.cad_rads else "-"
    report = ReportText(title_zh="报告", title_en="Report", zh=(ReportSection(heading="印象", sentences=(text,)),), en=(), notices=())
    (folder / "report.json").write_bytes(msgspec.json.encode(report))
    Image.new("RGB", (8, 6)).save(folder / "key-views" / "cpr-lad-000.png")
    index = [{"id": "cpr-lad-000", "kind": "cpr", "title_zh": "左前降支", "title_en": "LAD", "vessel": "LAD", "window": [800, 300]}]
    (folder / "key-views" / "index.json").write_bytes(msgspec.json.encode(index))


@dataclass
class PaperDrafts:
    """A `DraftMaker` that writes real folders without looking at the images; ``before`` runs first and may raise."""

    found: Findings = field(default_factory=findings)
    before: object = None
    drafted: list[str] = field(default_factory=list)

    def self_test(self) -> str:
        return "paper"

    def draft(
        self, images: Sequence[Path], folder: Path, *, main_series: str | None, progress: object, earlier: Earlier | None = None
    ) -> Findings:
        assert all(path.exists() for path in images)
        if callable(self.before):
            self.before(progress)
        self.drafted.append(folder.name)
        if folder.exists():
            return Findings.read(folder / "findings.json")
        found = msgspec.structs.replace(self.found, earlier=earlier)
        write_draft(folder, found)
        return found

    def release(self, images: Sequence[Path], folder: Path, released: Path, *, approval: Approval, progress: object) -> Released:
        if callable(self.before):
            self.before(progress)
        (released / "objects").mkdir(parents=True, exist_ok=True)
        (released / "film").mkdir(exist_ok=True)
        objects = []
        for number in (1, 2):
            path = released / "objects" / f"{number}.dcm"
            path.write_bytes(encode(make_dataset(series="1.2.3.77", number=number)))
            objects.append(path)
        page = released / "film" / "page-1.png"
        Image.new("L", (64, 80)).save(page)
        report = ReportText(title_zh=f"已审核 {approval.user_name}", title_en="Approved", zh=(), en=(), notices=())
        (released / "report.json").write_bytes(msgspec.json.encode(report))
        return Released(objects=tuple(objects), pages={"film": (page,)})


def correct_paper(folder: Path, corrected: Path, *, change: Callable[[Findings], Findings]) -> Findings:
    """What `DraftView.correct` promises, on the paper drafts."""
    found = change(Findings.read(folder / "findings.json"))
    write_draft(corrected, found)
    return found
