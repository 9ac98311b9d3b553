"""From a study with several phases to the one that is analysed: each is read, its heart located, its quality rated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal

import msgspec

from appliance.analysis.locate import Located, locate
from appliance.analysis.phases import Phase, best_phase, with_better, worth_rating
from appliance.analysis.quality import better_elsewhere, by_rules, with_network
from appliance.analysis.quality_network import Rated, rate
from appliance.analysis.reading import SeriesSource, StudyInput
from appliance.errors import DeclinedError, VolumeError
from appliance.findings import Quality
from appliance.inference.engine import Session
from appliance.volume import Volume

WHOLE = 0.9
"""A further series counts as a phase to choose from if it has at least this part of the main one's slices: others leave the heart out."""


@dataclass(frozen=True)
class Look:
    """What one phase shows: its heart, its quality by the rules and by the network (None without one)."""

    located: Located
    rules: Quality
    rated: Rated | None

    @property
    def quality(self) -> Quality:
        """Both together, with their warnings."""
        return with_network(self.rules, self.rated)


@dataclass(frozen=True)
class Chosen:
    """The phase to analyse.

    Attributes:
        study: the study with that phase as its main volume; the others are its phases.
        located, quality: of that phase.
        others: what was found out about each of ``study.phases``, in their order.
    """

    study: StudyInput
    located: Located
    quality: Quality
    others: tuple[Phase, ...] = ()


def look_at(volume: Volume, located: Located, session: Session | None) -> Look:
    """Rate one volume whose heart is located.

    Raises:
        DeclinedError: DEC-102, the aorta shows no arterial contrast.
        InferenceError: the network's output must not be used.
    """
    rules = by_rules(volume, located.heart)
    return Look(located, rules, rate(volume, located.heart, session) if session is not None else None)


def choose_phase(
    study: StudyInput, main: Look, *, heart: Session, quality: Session | None, progress: Callable[[float], None] | None = None
) -> Chosen:
    """Look at the further phases of a study and take the best one; without a network for quality the header decides.

    Args:
        study: with phases or without.
        main: what its main volume shows.
        heart: the network that locates it.
        quality: the network that rates, None for rules alone.
        progress: told the part of the phases that was looked at.

    Raises:
        VolumeError: the chosen phase cannot be read again.
        InferenceError: a network's output must not be used.
    """
    sources = candidates(study)
    headers = [study.main.header, *(source.header for source in sources)]
    unrated = [Phase(header.series_uid, header.phase_percent, None) for header in headers]
    wanted = {*worth_rating([each.percent for each in unrated])} if quality is not None else {best_phase(unrated)}
    looks = {0: main}
    for number, index in enumerate(sorted(wanted - {0})):
        # A phase that cannot be read, or shows no heart or contrast, is no choice; the main volume stands.
        with suppress(DeclinedError, VolumeError):
            volume = sources[index - 1].read().volume
            looks[index] = look_at(volume, locate(volume, session=heart), quality)
        if progress is not None:
            progress((number + 1) / len(wanted))
    phases = [replace(phase, rated=looks[index].rated) if index in looks else phase for index, phase in enumerate(unrated)]
    seen = sorted(looks)
    best = seen[best_phase([phases[index] for index in seen])]
    chosen, others = exchange(study, sources, phases, best)
    return Chosen(chosen, looks[best].located, _quality(looks[best], chosen, phases, best), others)


def candidates(study: StudyInput) -> tuple[SeriesSource, ...]:
    """The further series that may take the place of the main one."""
    if study.main_source is None:
        return ()
    slices = study.main.volume.geometry.shape[0]
    return tuple(source for source in study.phases if len(source.slices) >= WHOLE * slices)


def exchange(
    study: StudyInput, sources: tuple[SeriesSource, ...], phases: Sequence[Phase], best: int
) -> tuple[StudyInput, tuple[Phase, ...]]:
    """The study with the best phase as its main volume, and what is known of the other series, in their order."""
    known = {id(source): phase for source, phase in zip(sources, phases[1:], strict=True)}
    others = {
        id(source): known.get(id(source), Phase(source.header.series_uid, source.header.phase_percent, None)) for source in study.phases
    }
    if best == 0 or study.main_source is None:
        return study, tuple(others.values())
    taken = sources[best - 1]
    kept = tuple(source for source in study.phases if source is not taken)
    changed = replace(study, main=taken.read(), phases=(study.main_source, *kept), main_source=taken)
    return changed, (phases[0], *(others[id(source)] for source in kept))


def _quality(look: Look, study: StudyInput, phases: Sequence[Phase], best: int) -> Quality:
    quality = look.quality
    vessels = with_better(quality.vessels, [phase for index, phase in enumerate(phases) if index != best])
    quality = msgspec.structs.replace(quality, vessels=vessels)
    by: Literal["network", "header"] = "network" if look.rated is not None else "header"
    return msgspec.structs.replace(
        quality,
        phase_choice="only" if len(phases) == 1 else by,
        warnings=(*study.main.warnings, *quality.warnings, *better_elsewhere(quality)),
    )
