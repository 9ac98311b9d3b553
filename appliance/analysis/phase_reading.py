"""One phase of a study, read as a whole: segmented, measured, and described."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from appliance.analysis.cadrads import Bands
from appliance.analysis.describe import Described, describe
from appliance.analysis.grafts import part_grafts
from appliance.analysis.locate import Located
from appliance.analysis.measure import measure
from appliance.analysis.reading import SeriesImages
from appliance.analysis.segment import segment
from appliance.analysis.stages import Measured, Segmentation
from appliance.findings import Graft, Quality, SetAside
from appliance.inference.engine import Session

Stage = Callable[[str], AbstractContextManager[Callable[[float], None]]]
"""Opens a stage by its name, and gives what is told the part of it that is done."""


@dataclass(frozen=True)
class PhaseReading:
    """What one phase shows.

    Attributes:
        images: the phase.
        located: its heart.
        segmentation: its coronaries, voxel by voxel.
        measured: its tree without the grafts, its lesions with those that the metal of stents makes.
        seen: stents, bridges, variants, segments that cannot be read, and the lesions that count.
        grafts: vessels of their own.
        set_aside: what went with them.
    """

    images: SeriesImages
    located: Located
    segmentation: Segmentation
    measured: Measured
    seen: Described
    grafts: tuple[Graft, ...] = ()
    set_aside: SetAside = field(default_factory=SetAside)


def read_phase(
    images: SeriesImages, located: Located, quality: Quality, *, sessions: Mapping[str, Session], bands: Bands, stage: Stage
) -> PhaseReading:
    """Read one phase whose heart is located and whose quality is rated.

    Args:
        images: the phase.
        located: its heart.
        quality: its own.
        sessions: networks by name, ``cor-seg`` among them.
        bands: which table of degrees.
        stage: opens ``segment``, ``measure`` and ``describe`` in this order.

    Raises:
        AnalysisError, InferenceError: a stage could not do its work.
    """
    volume, heart = images.volume, located.heart
    with stage("segment") as report:
        segmentation = segment(volume, located, session=sessions["cor-seg"], progress=report)
    with stage("measure") as report:
        kvp = images.header.kvp
        measured = measure(volume, heart, segmentation, progress=lambda _, part: report(part), bands=bands, kvp=kvp, sessions=sessions)
    with stage("describe"):
        grafted = part_grafts(heart, measured.branches, measured.lesions, volume.geometry)
        measured = dataclasses.replace(measured, branches=grafted.branches, lesions=grafted.lesions)
        seen = describe(volume, heart, measured.branches, measured.lesions, quality, motion=sessions.get("motion"))
    return PhaseReading(images, located, segmentation, measured, seen, grafted.grafts, grafted.set_aside)
