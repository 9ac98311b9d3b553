"""Another phase for the arteries that the chosen phase blurs.

The phase that is best for the whole heart need not be the best for each artery: the right one moves most, and comes to rest at another
time (SCCT acquisition guideline, JCCT 2016;10:435). Where the network ``motion`` says that a segment moved too far to be read, or a plaque
in it lets no degree be read, one further phase of the study is read whole, in the same way. An artery (its trunk with all that hangs on it)
of which more can be read there is taken from there, with its lesions, stents and bridges; its branches name their series
(`phase_joining`). At most one further phase is read, so the time is bounded, and which one it is does not depend on the order of the files.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import msgspec
import numpy as np

from appliance.analysis.cadrads import UNREADABLE, Bands
from appliance.analysis.locate import locate
from appliance.analysis.phase_choice import Chosen, candidates, look_at
from appliance.analysis.phase_joining import ARTERIES, Refusal, choose, join, parts, same_place
from appliance.analysis.phase_reading import PhaseReading, read_phase
from appliance.analysis.phases import other_rest
from appliance.analysis.quality import with_arteries, with_not_taken, with_segments
from appliance.analysis.reading import SeriesImages, SeriesSource, StudyInput
from appliance.anatomy import SEGMENTS, Vessel
from appliance.errors import AnalysisError, DeclinedError, VolumeError
from appliance.findings import Branch, Calcium, CalciumDeposit, Quality, VesselQuality
from appliance.geometry import arc_length
from appliance.inference.engine import Session

log = logging.getLogger(__name__)

CLEARLY_MM = 5.0
"""So much more of an artery must be readable in the other phase: the length of the shortest segment that is judged."""
PARTS = {"segment": (0.0, 0.7), "measure": (0.7, 0.97), "describe": (0.97, 1.0)}
"""Where each stage of the further phase begins and ends on its part of the progress bar."""


@dataclass(frozen=True)
class SecondLook:
    """The study as it is told after the second look.

    Attributes:
        reading: the chosen phase, with the arteries that were taken from the other one.
        other: the further phase that was read; None where none was needed or none could be read.
        taken: the arteries that were taken from it.
        elsewhere: how well the other phase shows the arteries.
        refused: the arteries of which it shows more and that could not be taken, and why.
    """

    reading: PhaseReading
    other: SeriesImages | None = None
    taken: frozenset[Vessel] = frozenset()
    elsewhere: tuple[VesselQuality, ...] = ()
    refused: tuple[tuple[Vessel, Refusal], ...] = ()

    def rate(self, main: Quality) -> Quality:
        """The quality of the study: that of the main phase, with each artery as the phase shows it from which it comes."""
        seen = self.reading.seen
        arteries = tuple(self._with_better(vessel) for vessel in seen.arteries)
        told = with_segments(with_arteries(main, arteries), seen.segments, seen.not_assessable)
        return with_not_taken(told, self.refused, None if self.other is None else self.other.header.phase_percent)

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
    source = further_phase(chosen.study) if _moving(reading) and not reading.grafts else None
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


def further_phase(study: StudyInput) -> SeriesSource | None:
    """The phase to look at: a series of its own, so that the findings can name it."""
    own = study.main.header
    able = [source for source in candidates(study) if source.header.series_uid != own.series_uid]
    number = other_rest(own.phase_percent, [source.header.phase_percent for source in able])
    return None if number is None else able[number]


def take_over(main: PhaseReading, other: PhaseReading) -> SecondLook:
    """The main reading with the arteries of which the other phase shows more."""
    ours, theirs = parts(main.measured.branches), parts(other.measured.branches)

    def gained(mine: frozenset[int], its: frozenset[int]) -> bool:
        unread = {branch for branch, _ in _unread(main)}
        return bool(unread & mine) and _readable_mm(other, its) >= _readable_mm(main, mine) + CLEARLY_MM

    blurred = {branch for branch, _ in _blurred(main)}
    wanted = frozenset(artery for artery in ARTERIES if blurred & ours.ids(artery) and gained(ours.ids(artery), theirs.ids(artery)))
    choice = choose(ours, theirs, wanted, gained)
    reading = join(main, other, choice) if choice.taken else main
    return SecondLook(reading, other.images, choice.taken, other.seen.arteries, choice.refused)


def _unread(reading: PhaseReading) -> frozenset[tuple[int, int]]:
    """Branch and first point of the segments that cannot be read, for whatever reason, or hold a plaque whose degree cannot be read."""
    told = {(each.branch, each.start) for each in reading.seen.not_assessable}
    return _blurred(reading) | {(branch, start) for branch, start in told if branch is not None and start is not None}


def _readable_mm(reading: PhaseReading, ids: frozenset[int]) -> float:
    """Length of the named segments of some branches that can be read."""
    unread = _unread(reading)
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
    place = same_place(old, deposit.point, after)
    return None if place is None else msgspec.structs.replace(deposit, branch=place[0], point=place[1])
