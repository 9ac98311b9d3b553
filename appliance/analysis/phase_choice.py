"""From a study with several phases to the one that is analysed first: by the headers, if a heart with contrast is seen in it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec

from appliance.analysis.locate import Located, locate
from appliance.analysis.phases import best_phase
from appliance.analysis.quality import assess
from appliance.analysis.reading import SeriesImages, SeriesSource, StudyInput
from appliance.errors import DeclinedError, VolumeError
from appliance.findings import Quality
from appliance.inference.engine import Session
from appliance.volume import Volume

log = logging.getLogger(__name__)

WHOLE = 0.9
"""A further series counts as a phase to choose from if it has at least this part of the main one's slices: others leave the heart out."""


@dataclass(frozen=True)
class Look:
    """What one phase shows before its vessels are looked at: its heart, and its quality by rules."""

    located: Located
    quality: Quality


@dataclass(frozen=True)
class Chosen:
    """The phase to analyse.

    Attributes:
        study: the study with that phase as its main volume; the others are its phases.
        located, quality: of that phase.
    """

    study: StudyInput
    located: Located
    quality: Quality


def look_at(volume: Volume, located: Located) -> Look:
    """Rate one volume whose heart is located.

    Raises:
        DeclinedError: DEC-102, the aorta shows no arterial contrast.
    """
    return Look(located, assess(volume, located.heart))


def choose_phase(study: StudyInput, main: Look, *, heart: Session, progress: Callable[[float], None] | None = None) -> Chosen:
    """Take the phase whose header says that the heart rests.

    Args:
        study: with phases or without.
        main: what its main volume shows.
        heart: the network that locates it.
        progress: told the part that is done.

    Raises:
        InferenceError: the network's output must not be used.
    """
    sources = candidates(study)
    best = best_phase([study.main.header.phase_percent, *(source.header.phase_percent for source in sources)])
    look = main
    if best > 0:
        # A phase that cannot be read, or shows no heart or contrast, is no choice; the main volume stands.
        try:
            images = sources[best - 1].read()
            look = look_at(images.volume, locate(images.volume, session=heart))
            study = exchange(study, sources[best - 1], images)
        except (DeclinedError, VolumeError) as error:
            log.warning("the phase that the headers prefer could not be taken: %s", error.code)
    if progress is not None:
        progress(1.0)
    quality = msgspec.structs.replace(
        look.quality,
        phase_choice="header" if sources else "only",
        warnings=(*study.main.warnings, *look.quality.warnings),
    )
    return Chosen(study, look.located, quality)


def candidates(study: StudyInput) -> tuple[SeriesSource, ...]:
    """The further series that may take the place of the main one, by their UID: the order in which they came never decides."""
    if study.main_source is None:
        return ()
    slices = study.main.volume.geometry.shape[0]
    whole = (source for source in study.phases if len(source.slices) >= WHOLE * slices)
    return tuple(sorted(whole, key=lambda source: source.header.series_uid))


def exchange(study: StudyInput, taken: SeriesSource, images: SeriesImages) -> StudyInput:
    """The study with one of its phases, already read, as its main volume; the former main one is the first of its phases."""
    assert study.main_source is not None  # noqa: S101 - there are no candidates without it
    kept = tuple(source for source in study.phases if source is not taken)
    return replace(study, main=images, phases=(study.main_source, *kept), main_source=taken)
