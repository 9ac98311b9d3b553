"""One coronary tree from two phases of a study: each main artery with its branches from the phase that shows it.

A part of the tree is an artery's trunk with all that hangs on it, up to where another artery's trunk begins; a ramus goes with the
circumflex (SYNTAX rule, as in `cadrads`). What the parts of one ostium hang on (the left main) is their stem. Between two phases the heart
has moved, so no line is moved either: a part keeps the points of its own phase, its branches name that series, and it hangs on the
branch and at the point where the same artery hangs in the phase of the stem. What is measured never crosses from one phase to the other.

A part is taken only where nothing is lost and nothing stands twice: the other phase must follow it as far, give every name that the main
one gives, and give none that stays; otherwise the main phase is kept, and `Choice.refused` says why.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import msgspec
import numpy as np

from appliance.analysis.cadrads import territory_of
from appliance.analysis.describe import Described
from appliance.analysis.naming_corrections import TRUNK_SEGMENTS, dominance_of
from appliance.analysis.phase_reading import PhaseReading
from appliance.anatomy import SEGMENTS, SegmentName, Vessel
from appliance.findings import Branch, Bridge, Lesion, NotAssessable, SegmentQuality, Stent, Variant
from appliance.geometry import arc_length

Seen = TypeVar("Seen", Bridge, Lesion, NotAssessable, SegmentQuality, Stent, Variant)
Part = Vessel | None
"""The artery that a branch belongs to; None for a stem and for vessels of no known artery."""
Refusal = Literal["shorter", "names"]

ARTERIES: tuple[Vessel, ...] = ("LAD", "LCX", "RCA")
AS_FAR = 0.85
"""So much of the trunk's length is as far: at end-systole a ventricle is shorter by some 12 %, and the arteries on it with it."""


@dataclass(frozen=True)
class Tree:
    """The branches of one phase by what they belong to: ``part`` and ``root`` (id of the branch at the ostium) by branch id."""

    branches: tuple[Branch, ...]
    part: Mapping[int, Part]
    root: Mapping[int, int]

    def ids(self, artery: Vessel) -> frozenset[int]:
        """The branches of one artery."""
        return frozenset(number for number, part in self.part.items() if part == artery)

    def stem(self, artery: Vessel) -> frozenset[int]:
        """What that artery shares with others of its ostium."""
        roots = {self.root[number] for number in self.ids(artery)}
        return frozenset(number for number, part in self.part.items() if part is None and self.root[number] in roots)

    def beside(self, artery: Vessel) -> frozenset[Vessel]:
        """The arteries that come from the same ostium, itself among them."""
        roots = {self.root[number] for number in self.ids(artery)}
        return frozenset(part for number, part in self.part.items() if part is not None and self.root[number] in roots)

    def of(self, ids: frozenset[int]) -> tuple[Branch, ...]:
        """The branches with these numbers."""
        return tuple(branch for branch in self.branches if branch.id in ids)

    def hangs_on(self, artery: Vessel) -> SegmentName | None:
        """The segment that the artery's trunk leaves; None at an ostium."""
        tops = [branch for branch in self.of(self.ids(artery)) if branch.parent is None or self.part[branch.parent] != artery]
        trunk = min(tops, key=lambda branch: (branch.name not in TRUNK_SEGMENTS[artery], branch.id))
        if trunk.parent is None or trunk.parent_index is None:
            return None
        return next(each for each in self.branches if each.id == trunk.parent).segment_at(trunk.parent_index)


@dataclass(frozen=True)
class Choice:
    """Which arteries are taken from the other phase (``stems``: those of them whose stem comes too), and which were not, and why."""

    taken: frozenset[Vessel] = frozenset()
    stems: frozenset[Vessel] = frozenset()
    refused: tuple[tuple[Vessel, Refusal], ...] = ()


def parts(branches: Sequence[Branch]) -> Tree:
    """Sort the branches of one phase, parents before children, into arteries and stems."""
    part: dict[int, Part] = {}
    root: dict[int, int] = {}
    for branch in branches:
        above = None if branch.parent is None else part[branch.parent]
        artery = territory_of(branch.vessel, branch.name)
        trunk = artery in ARTERIES and branch.name in TRUNK_SEGMENTS[artery]
        part[branch.id] = artery if artery in ARTERIES and (above is None or trunk) else above
        root[branch.id] = branch.id if branch.parent is None else root[branch.parent]
    return Tree(tuple(branches), part, root)


def choose(main: Tree, other: Tree, wanted: frozenset[Vessel], better_stem: Callable[[frozenset[int], frozenset[int]], bool]) -> Choice:
    """Of the arteries that are ``wanted`` from the other phase, those that can be had without losing or doubling a vessel.

    Args:
        main: the phase that was analysed first.
        other: the further one.
        wanted: arteries of which the other phase shows more.
        better_stem: whether the second of two stems (ids of the main and of the other phase) is to be preferred.
    """
    refused: dict[Vessel, Refusal] = {}
    for artery in sorted(wanted):
        why = _why_not_alone(main, other, artery)
        if why is not None:
            refused[artery] = why
    while True:
        taken = wanted - refused.keys()
        clash = next((artery for artery in sorted(taken) if _clashes(main, other, artery, taken)), None)
        if clash is None:
            break
        refused[clash] = "names"
    stems = frozenset(artery for artery in taken if _takes_stem(main, other, artery, taken, better_stem))
    return Choice(taken, stems, tuple(sorted(refused.items())))


def _why_not_alone(main: Tree, other: Tree, artery: Vessel) -> Refusal | None:
    ours, theirs = main.of(main.ids(artery)), other.of(other.ids(artery))
    if main.hangs_on(artery) != other.hangs_on(artery):
        return "names"
    trunk = frozenset(TRUNK_SEGMENTS[artery])
    if _names(ours) - _names(theirs) or named_mm(theirs, trunk) < AS_FAR * named_mm(ours, trunk):
        return "shorter"
    return None


def _clashes(main: Tree, other: Tree, artery: Vessel, taken: frozenset[Vessel]) -> bool:
    """Whether a name of the artery's would stand twice, or one vessel perhaps under two names.

    The second: the other phase has a further branch here and lacks one of those that stay on the same ostium; it may be the same vessel.
    """
    ours, theirs = _names(main.of(main.ids(artery))), _names(other.of(other.ids(artery)))
    staying = frozenset(branch.id for branch in main.branches if main.part[branch.id] not in taken)
    beside = frozenset(main.root[number] for number in main.ids(artery))
    near = frozenset(number for number in staying if main.root[number] in beside)
    twice = theirs & _names(main.of(staying))
    return bool(twice) or bool(theirs - ours and _names(main.of(near)) - _names(other.branches))


def _takes_stem(
    main: Tree, other: Tree, artery: Vessel, taken: frozenset[Vessel], better: Callable[[frozenset[int], frozenset[int]], bool]
) -> bool:
    """Whether the stem comes with the artery: where all that hangs on it comes, or where the other phase shows it better."""
    beside = main.beside(artery)
    if beside <= taken:
        return True
    ours, theirs = main.stem(artery), other.stem(artery)
    return beside <= other.beside(artery) and _names(main.of(ours)) <= _names(other.of(theirs)) and better(ours, theirs)


def _names(branches: Sequence[Branch]) -> frozenset[SegmentName]:
    return frozenset(name for branch in branches for _, _, name in branch.segments) - {"other"}


def named_mm(branches: Sequence[Branch], names: frozenset[SegmentName]) -> float:
    """Length of the segments with these names."""
    total = 0.0
    for branch in branches:
        along = arc_length(np.asarray(branch.points_mm, np.float64))
        total += sum(float(along[end - 1] - along[start]) for start, end, name in branch.segments if name in names)
    return total


def join(main: PhaseReading, other: PhaseReading, choice: Choice) -> PhaseReading:
    """The main reading with the arteries of ``choice`` from the other one; numbered anew, parents before children."""
    trees = parts(main.measured.branches), parts(other.measured.branches)
    gone, new = (
        frozenset[int]().union(*(tree.ids(artery) for artery in choice.taken), *(tree.stem(artery) for artery in choice.stems))
        for tree in trees
    )
    uid = other.images.header.series_uid
    kept = (
        tuple(branch for branch in trees[0].branches if branch.id not in gone),
        tuple(msgspec.structs.replace(branch, series_uid=uid) for branch in trees[1].of(new)),
    )
    ordered = _parents_first([(phase, branch, _hung(phase, branch, trees, kept)) for phase in (0, 1) for branch in kept[phase]])
    ours, theirs = ({branch.id: number for number, (at, branch, _) in enumerate(ordered) if at == phase} for phase in (0, 1))
    branches = tuple(_numbered(number, branch, place, (ours, theirs)) for number, (_, branch, place) in enumerate(ordered))
    seen = _seen_in_both(main.seen, other.seen, ours, theirs, choice.taken)
    measured = dataclasses.replace(
        main.measured, branches=branches, lesions=seen.lesions, dominance=dominance_of(branches) or main.measured.dominance
    )
    return dataclasses.replace(main, measured=measured, seen=seen)


@dataclass(frozen=True)
class _Place:
    """Where a branch hangs: the phase (0 main, 1 other), and the branch and point there."""

    phase: int
    branch: int
    point: int


def _numbered(number: int, branch: Branch, place: _Place | None, numbers: tuple[Mapping[int, int], Mapping[int, int]]) -> Branch:
    if place is not None:
        return msgspec.structs.replace(branch, id=number, parent=numbers[place.phase][place.branch], parent_index=place.point)
    if branch.parent is None:
        return msgspec.structs.replace(branch, id=number)
    alone = "not_determined"  # what it left was not taken along, and nothing of that name was kept
    return msgspec.structs.replace(branch, id=number, parent=None, parent_index=None, parent_reason=alone, parent_index_reason=alone)


def _hung(phase: int, branch: Branch, trees: tuple[Tree, Tree], kept: tuple[Sequence[Branch], Sequence[Branch]]) -> _Place | None:
    """Where a branch hangs: as before where what it leaves is kept, else as its like does in the other phase; None where on nothing."""
    if branch.parent is None or branch.parent_index is None:
        return None
    if any(each.id == branch.parent for each in kept[phase]):
        return _Place(phase, branch.parent, branch.parent_index)
    across = 1 - phase
    held = {each.id for each in kept[across]}
    for like in trees[across].branches:
        if like.name == branch.name != "other" and like.parent in held and like.parent is not None and like.parent_index is not None:
            return _Place(across, like.parent, like.parent_index)
    above = next(each for each in trees[phase].branches if each.id == branch.parent)
    place = same_place(above, branch.parent_index, kept[across])
    return None if place is None else _Place(across, *place)


def same_place(branch: Branch, point: int, after: Sequence[Branch]) -> tuple[int, int] | None:
    """The branch and point as far along the segment of the same name; None where no branch has it."""
    name = branch.segment_at(point)
    like = next((each for each in after if name != "other" and any(other == name for _, _, other in each.segments)), None)
    if like is None:
        return None
    start, end, _ = next(each for each in branch.segments if each[2] == name)
    first, last, _ = next(each for each in like.segments if each[2] == name)
    part = (point - start) / max(end - 1 - start, 1)
    return like.id, first + round(part * (last - 1 - first))


def _parents_first(branches: Sequence[tuple[int, Branch, _Place | None]]) -> list[tuple[int, Branch, _Place | None]]:
    """In the order given, but each after what it hangs on."""
    ordered: list[tuple[int, Branch, _Place | None]] = []
    waiting, there = list(branches), set[tuple[int, int]]()
    while waiting:
        ready = [each for each in waiting if each[2] is None or (each[2].phase, each[2].branch) in there]
        first = ready[0]
        waiting.remove(first)
        ordered.append(first)
        there.add((first[0], first[1].id))
    return ordered


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
    variants = {each.name: _at(each, numbers) for seen, numbers in both for each in seen.variants if each.branch in numbers}
    order = list(SEGMENTS)
    arteries = [each for each in main.arteries if each.vessel not in taken] + [each for each in other.arteries if each.vessel in taken]
    return Described(
        stents=tuple(_at(each, numbers) for seen, numbers in both for each in seen.stents if each.branch in numbers),
        bridges=tuple(_at(each, numbers) for seen, numbers in both for each in seen.bridges if each.branch in numbers),
        variants=tuple(variants.values()),
        not_assessable=tuple(unread[name] for name in sorted(unread, key=order.index)),
        segments=tuple(rated[name] for name in sorted(rated, key=order.index)),
        lesions=tuple(msgspec.structs.replace(lesion, id=number) for number, lesion in enumerate(lesions)),
        arteries=tuple(sorted(arteries, key=lambda each: each.vessel)),
    )


def _at(item: Seen, numbers: Mapping[int, int]) -> Seen:
    assert item.branch is not None  # noqa: S101 - only what lies on a branch is asked for
    return msgspec.structs.replace(item, branch=numbers[item.branch])
