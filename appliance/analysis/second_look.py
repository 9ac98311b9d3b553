"""Another phase for the arteries that the chosen phase blurs.

The phase that is best for the whole heart need not be the best for each artery: the right one moves most, and comes to rest at another
time (SCCT acquisition guideline, JCCT 2016;10:435). Where the network ``motion`` says that a segment moved too far to be read, or a plaque
in it lets no degree be read, one further phase of the study is read whole, in the same way. An arterial tree (everything that comes from
one ostium) of which more can be read there is taken from there, with its lesions, stents and bridges; its branches name their series. A
tree is never put together from two phases: between them it has moved. At most one further phase is read, so the time is bounded and the
answer the same each time.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

import msgspec
import numpy as np

from appliance.analysis.cadrads import UNREADABLE, Bands
from appliance.analysis.describe import Described
from appliance.analysis.locate import locate
from appliance.analysis.naming_corrections import dominance_of
from appliance.analysis.phase_choice import Chosen, candidates, look_at
from appliance.analysis.phase_reading import PhaseReading, read_phase
from appliance.analysis.phases import other_rest
from appliance.analysis.quality import with_arteries, with_segments
from appliance.analysis.reading import SeriesImages, SeriesSource, StudyInput
from appliance.anatomy import SEGMENTS, Vessel
from appliance.errors import AnalysisError, DeclinedError, VolumeError
from appliance.findings import (
    Branch,
    Bridge,
    Calcium,
    CalciumDeposit,
    Lesion,
    NotAssessable,
    Quality,
    SegmentQuality,
    Stent,
    Variant,
    VesselQuality,
)  # fmt: skip
from appliance.geometry import arc_length
from appliance.inference.engine import Session

log = logging.getLogger(__name__)

Seen = TypeVar("Seen", Bridge, Lesion, NotAssessable, SegmentQuality, Stent, Variant)

ARTERIES: frozenset[Vessel] = frozenset({"LAD", "LCX", "RCA"})
CLEARLY_MM = 5.0
"""So much more of a tree must be readable in the other phase: the length of the shortest segment that is judged."""
PARTS = {"segment": (0.0, 0.7), "measure": (0.7, 0.97), "describe": (0.97, 1.0)}
"""Where each stage of the further phase begins and ends on its part of the progress bar."""


@dataclass(frozen=True)
class SecondLook:
    """The study as it is told after the second look.

    Attributes:
        reading: the chosen phase, with the trees that were taken from the other one.
        other: the further phase that was read; None where none was needed or none could be read.
        taken: the arteries that were taken from it.
        elsewhere: how well the other phase shows the arteries.
    """

    reading: PhaseReading
    other: SeriesImages | None = None
    taken: frozenset[Vessel] = frozenset()
    elsewhere: tuple[VesselQuality, ...] = ()

    def rate(self, main: Quality) -> Quality:
        """The quality of the study: that of the main phase, with each artery as the phase shows it from which it comes."""
        seen = self.reading.seen
        arteries = tuple(self._with_better(vessel) for vessel in seen.arteries)
        return with_segments(with_arteries(main, arteries), seen.segments, seen.not_assessable)

    def _with_better(self, vessel: VesselQuality) -> VesselQuality:
        """Name the other phase where it shows an artery better by a grade or more that was not taken from it."""
        there = next((each for each in self.elsewhere if each.vessel == vessel.vessel), None)
        if self.other is None or there is None or vessel.vessel in self.taken or there.grade <= vessel.grade:
            return vessel
        header = self.other.header
        return msgspec.structs.replace(vessel, better_series_uid=header.series_uid, better_phase_percent=header.phase_percent)


def look_again(
    chosen: Chosen,
    reading: PhaseReading,
    *,
    sessions: Mapping[str, Session],
    bands: Bands,
    progress: Callable[[float], None],
) -> SecondLook:
    """Read another phase where the chosen one shows an artery moving, and take from it what it shows better.

    A further phase that cannot be read, or shows no heart, no contrast or no coronary artery, changes nothing.

    Raises:
        InferenceError: a network's output must not be used.
    """
    source = _source(chosen.study) if _moving(reading) and not reading.grafts else None
    if source is None:
        return SecondLook(reading)

    def stage(name: str) -> AbstractContextManager[Callable[[float], None]]:
        first, last = PARTS[name]
        return nullcontext(lambda part: progress(first + (last - first) * part))

    try:
        images = source.read()
        look = look_at(images.volume, locate(images.volume, session=sessions["heart-loc"]))
        other = read_phase(images, look.located, look.quality, sessions=sessions, bands=bands, stage=stage)
    except (DeclinedError, VolumeError, AnalysisError) as error:
        log.warning("the further phase could not be read: %s", error.code)
        return SecondLook(reading)
    if other.grafts:
        return SecondLook(reading)
    return take_over(reading, other)


def _moving(reading: PhaseReading) -> frozenset[Vessel]:
    """The arteries with a segment that may be blurred by motion."""
    blurred = _blurred(reading)
    found = {
        SEGMENTS[name].territory
        for branch in reading.measured.branches
        for start, _, name in branch.segments
        if (branch.id, start) in blurred
    }
    return frozenset(vessel for vessel in ARTERIES if vessel in found)


def _blurred(reading: PhaseReading) -> frozenset[tuple[int, int]]:
    """Branch and first point of the segments that cannot be read for motion, or hold a plaque whose degree cannot be read."""
    moved = {(entry.branch, entry.start) for entry in reading.seen.not_assessable if entry.reason == "motion"}
    by_id = {branch.id: branch for branch in reading.measured.branches}
    vague = {
        (lesion.branch, start)
        for lesion in reading.seen.lesions
        if lesion.diameter_stenosis_percent_reason == UNREADABLE
        for start, end, _ in by_id[lesion.branch].segments
        if start <= lesion.minimum < end
    }
    return frozenset((branch, start) for branch, start in moved | vague if branch is not None and start is not None)


def _source(study: StudyInput) -> SeriesSource | None:
    """The phase to look at: a series of its own, so that the findings can name it."""
    own = study.main.header
    able = [source for source in candidates(study) if source.header.series_uid != own.series_uid]
    number = other_rest(own.phase_percent, [source.header.phase_percent for source in able])
    return None if number is None else able[number]


def take_over(main: PhaseReading, other: PhaseReading) -> SecondLook:
    """The main reading with the trees of which the other phase shows more."""
    ours, theirs = trees(main.measured.branches), trees(other.measured.branches)
    better = {
        arteries: theirs[arteries]
        for arteries in ours
        if arteries in theirs
        and any(branch in ours[arteries] for branch, _ in _blurred(main))
        and _readable_mm(other, theirs[arteries]) >= _readable_mm(main, ours[arteries]) + CLEARLY_MM
    }
    if not better:
        return SecondLook(main, other.images, elsewhere=other.seen.arteries)
    gone = frozenset[int]().union(*(ours[arteries] for arteries in better))
    new = frozenset[int]().union(*better.values())
    taken = frozenset[Vessel]().union(*better)
    return SecondLook(_joined(main, other, gone, new, taken), other.images, taken, other.seen.arteries)


def trees(branches: Sequence[Branch]) -> dict[frozenset[Vessel], frozenset[int]]:
    """Ids of the branches that come from one ostium, by the main arteries among them; trees with none are left out."""
    root: dict[int, int] = {}
    for branch in branches:
        root[branch.id] = branch.id if branch.parent is None else root[branch.parent]
    found: dict[frozenset[Vessel], frozenset[int]] = {}
    for top in sorted(set(root.values())):
        ids = frozenset(number for number, at in root.items() if at == top)
        arteries = frozenset(branch.vessel for branch in branches if branch.id in ids) & ARTERIES
        if arteries and arteries not in found:
            found[arteries] = ids
    return found


def _readable_mm(reading: PhaseReading, ids: frozenset[int]) -> float:
    """Length of the named segments of a tree that can be read."""
    unread = {(entry.branch, entry.start) for entry in reading.seen.not_assessable} | _blurred(reading)
    total = 0.0
    for branch in reading.measured.branches:
        if branch.id in ids:
            along = arc_length(np.asarray(branch.points_mm, np.float64))
            total += sum(
                float(along[end - 1] - along[start])
                for start, end, name in branch.segments
                if name != "other" and (branch.id, start) not in unread
            )
    return total


def _joined(main: PhaseReading, other: PhaseReading, gone: frozenset[int], new: frozenset[int], taken: frozenset[Vessel]) -> PhaseReading:
    """The main reading without the branches ``gone`` and with ``new`` ones of the other phase, numbered anew."""
    kept = [branch for branch in main.measured.branches if branch.id not in gone]
    came = [branch for branch in other.measured.branches if branch.id in new]
    ours = {branch.id: number for number, branch in enumerate(kept)}
    theirs = {branch.id: len(kept) + number for number, branch in enumerate(came)}
    uid = other.images.header.series_uid
    branches = (
        *(_numbered(branch, ours) for branch in kept),
        *(msgspec.structs.replace(_numbered(branch, theirs), series_uid=uid) for branch in came),
    )
    seen = _seen_in_both(main.seen, other.seen, ours, theirs, taken)
    measured = dataclasses.replace(
        main.measured, branches=branches, lesions=seen.lesions, dominance=dominance_of(branches) or main.measured.dominance
    )
    return dataclasses.replace(main, measured=measured, seen=seen)


def _numbered(branch: Branch, numbers: Mapping[int, int]) -> Branch:
    return msgspec.structs.replace(branch, id=numbers[branch.id], parent=None if branch.parent is None else numbers[branch.parent])


def _seen_in_both(
    main: Described, other: Described, ours: Mapping[int, int], theirs: Mapping[int, int], taken: frozenset[Vessel]
) -> Described:
    """What was seen on the branches of either phase, with their new numbers."""
    both = ((main, ours), (other, theirs))
    lesions = [_at(each, numbers) for seen, numbers in both for each in seen.lesions if each.branch in numbers]
    lesions.sort(key=lambda lesion: (lesion.branch, lesion.start))
    unread = {
        entry.segment: _at(entry, numbers)
        for seen, numbers in both
        for entry in seen.not_assessable
        if entry.branch is not None and entry.branch in numbers
    }
    rated = {entry.segment: _at(entry, numbers) for seen, numbers in both for entry in seen.segments if entry.branch in numbers}
    order = list(SEGMENTS)
    arteries = [each for each in main.arteries if each.vessel not in taken] + [each for each in other.arteries if each.vessel in taken]
    return Described(
        stents=tuple(_at(each, numbers) for seen, numbers in both for each in seen.stents if each.branch in numbers),
        bridges=tuple(_at(each, numbers) for seen, numbers in both for each in seen.bridges if each.branch in numbers),
        variants=tuple(_at(each, numbers) for seen, numbers in both for each in seen.variants if each.branch in numbers),
        not_assessable=tuple(unread[name] for name in sorted(unread, key=order.index)),
        segments=tuple(rated[name] for name in sorted(rated, key=order.index)),
        lesions=tuple(msgspec.structs.replace(lesion, id=number) for number, lesion in enumerate(lesions)),
        arteries=tuple(sorted(arteries, key=lambda each: each.vessel)),
    )


def _at(item: Seen, numbers: Mapping[int, int]) -> Seen:
    assert item.branch is not None  # noqa: S101 - only what lies on a branch is asked for
    return msgspec.structs.replace(item, branch=numbers[item.branch])


def with_deposits(calcium: Calcium, before: Sequence[Branch], after: Sequence[Branch]) -> Calcium:
    """The calcium score, made with the branches ``before``, with its deposits on those ``after``.

    On a branch that came from another phase a deposit lies as far along as on the one of the same name that it takes the place of;
    without such a branch it is left out of the list and a new name cannot move it, but its artery keeps its score.
    """
    old = {branch.id: branch for branch in before}
    deposits = [_deposit_on(deposit, old[deposit.branch], after) for deposit in calcium.deposits]
    return msgspec.structs.replace(calcium, deposits=tuple(deposit for deposit in deposits if deposit is not None))


def _deposit_on(deposit: CalciumDeposit, old: Branch, after: Sequence[Branch]) -> CalciumDeposit | None:
    same = next((branch for branch in after if branch.points_mm == old.points_mm), None)
    if same is not None:
        return msgspec.structs.replace(deposit, branch=same.id)
    name = old.segment_at(deposit.point)
    like = next((branch for branch in after if name != "other" and any(each == name for _, _, each in branch.segments)), None)
    if like is None:
        return None
    start, end, _ = next(each for each in old.segments if each[2] == name)
    first, last, _ = next(each for each in like.segments if each[2] == name)
    part = (deposit.point - start) / max(end - 1 - start, 1)
    return msgspec.structs.replace(deposit, branch=like.id, point=first + round(part * (last - 1 - first)))
