"""What is seen beside plaque on the measured tree: stents, bridges, variants, how well each artery is shown, and what cannot be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from appliance.analysis.bridges import find_bridges
from appliance.analysis.cadrads import UNREADABLE
from appliance.analysis.motion_network import motions_along
from appliance.analysis.plaque_total import total_of as total_of
from appliance.analysis.quality_segments import look_at_segments
from appliance.analysis.quality_vessels import grade_arteries
from appliance.analysis.stages import Heart
from appliance.analysis.stents import find_stents
from appliance.analysis.variants import find_variants
from appliance.findings import (
    Branch,
    Bridge,
    Lesion,
    NotAssessable,
    NotAssessableReason,
    Quality,
    SegmentQuality,
    Stent,
    Variant,
    VesselQuality,
)
from appliance.inference.engine import Session
from appliance.volume import Volume

EDGE_POINTS = 2
"""A lesion whose narrowest point lies so near to a stent is the stent's."""
UNKNOWN_NOISE_HU = 30.0
UNREAD_THROUGHOUT: frozenset[NotAssessableReason] = frozenset({"motion", "noise"})
"""What spoils a segment from end to end; calcium, stents and the border of the images spoil a place."""


@dataclass(frozen=True)
class Described:
    """What was seen.

    Attributes:
        not_assessable, segments: which cannot be read, and how well each is shown.
        lesions: those that are not made of a stent's metal.
        arteries: how well each main artery is shown, with its branches; empty without the network ``motion``.
    """

    stents: tuple[Stent, ...]
    bridges: tuple[Bridge, ...]
    variants: tuple[Variant, ...]
    not_assessable: tuple[NotAssessable, ...]
    lesions: tuple[Lesion, ...]
    segments: tuple[SegmentQuality, ...] = ()
    arteries: tuple[VesselQuality, ...] = ()


def describe(
    volume: Volume,
    heart: Heart,
    branches: Sequence[Branch],
    lesions: Sequence[Lesion],
    quality: Quality,
    *,
    motion: Session | None = None,
) -> Described:
    """Look along the branches of one measured study; ``motion`` is the network of that name, None for the written rule."""
    moved = motions_along(volume, branches, quality.aorta_mean_hu, motion)
    stents = find_stents(volume, branches, noise_hu=quality.aorta_noise_hu or UNKNOWN_NOISE_HU)
    segments = look_at_segments(volume, branches, quality, stents=stents, motions=moved)
    return Described(
        stents=stents,
        bridges=tuple(
            Bridge(branch=branch, start=start, end=end, depth_mm=depth)
            for branch, start, end, depth in find_bridges(volume, heart, branches)
        ),
        variants=find_variants(heart, branches),
        not_assessable=segments.not_assessable,
        segments=segments.quality,
        lesions=readable(outside_stents(lesions, stents), segments.not_assessable),
        arteries=grade_arteries(branches, segments.quality, quality.aorta_noise_hu),
    )


def outside_stents(lesions: Sequence[Lesion], stents: Sequence[Stent]) -> tuple[Lesion, ...]:
    """The lesions without those that the metal of a stent makes: inside a stent only a narrowing that its blood shows too is kept."""
    kept = [lesion for lesion in lesions if not any(_made_by(stent, lesion) for stent in stents)]
    return tuple(msgspec.structs.replace(lesion, id=number) for number, lesion in enumerate(kept))


def readable(lesions: Sequence[Lesion], not_assessable: Sequence[NotAssessable]) -> tuple[Lesion, ...]:
    """The lesions, without a degree where their whole segment moved or is drowned in noise: only a person can grade them.

    CAD-RADS 2.0 (JCCT 2022;16:536): a segment that cannot be read makes N; a category beside it stands for half or more elsewhere.
    """
    unread = [entry for entry in not_assessable if entry.reason in UNREAD_THROUGHOUT]
    return tuple(_ungraded(lesion) if any(_within(lesion, entry) for entry in unread) else lesion for lesion in lesions)


def _within(lesion: Lesion, entry: NotAssessable) -> bool:
    if entry.branch is None or entry.start is None or entry.end is None:
        return lesion.segment == entry.segment
    return lesion.branch == entry.branch and entry.start <= lesion.minimum < entry.end


def _ungraded(lesion: Lesion) -> Lesion:
    return msgspec.structs.replace(
        lesion,
        diameter_stenosis_percent=None,
        diameter_stenosis_percent_reason=UNREADABLE,
        area_stenosis_percent=None,
        area_stenosis_percent_reason=UNREADABLE,
        grade="none",
    )


def _made_by(stent: Stent, lesion: Lesion) -> bool:
    inside = lesion.branch == stent.branch and stent.start - EDGE_POINTS <= lesion.minimum < stent.end + EDGE_POINTS
    return inside and (not stent.assessable or stent.inside not in ("narrowed", "occluded"))
