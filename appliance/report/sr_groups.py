"""The measurement groups (TID 1501, PS3.16) of the structured report."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    FindingSite,
    Measurement,
    MeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    RelationshipTypeValues,
    TextContentItem,
    TrackingIdentifier,
)

from appliance.findings import Bridge, Calcium, Findings, Graft, Lesion, NotAssessable, PlaqueVolume, Stent
from appliance.report import codes
from appliance.report.comparison_text import comparison
from appliance.report.instance import MANUFACTURER, Origin
from appliance.report.phase_text import other_phase, read_in
from appliance.report.phrases import IN_STENT, degree_unknown
from appliance.report.regions import length_mm, span_segments
from appliance.report.sentences import capital, entered_by_person, graft_sentence, variant_sentences


def study_group(origin: Origin) -> MeasurementsAndQualitativeEvaluations:
    """What holds for the whole heart: status, quality, dominance, plaque, scores, calcium, CAD-RADS; engine and models."""
    findings = origin.findings
    scores = [
        *_measured(codes.INVOLVEMENT_SCORE, findings.segment_involvement_score, codes.NO_UNITS),
        *_measured(codes.STENOSIS_SCORE, findings.segment_stenosis_score, codes.NO_UNITS),
    ]
    reason, result = findings.reason, findings.cad_rads
    return _group(
        "study",
        origin,
        sites=[codes.CORONARY_ARTERY],
        measurements=[*_plaque(findings.plaque_total_mm3), *scores, *_calcium(findings.calcium)],
        evaluations=[*_state(findings), *_cad_rads(findings)],
        comments=[
            *([] if reason is None else [f"{reason.code}: {reason.zh} / {reason.en}"]),
            *([] if result is None else [result.text]),
            *(sentence.en for sentence in entered_by_person(findings)),
            *(sentence.en for sentence in (*variant_sentences(findings), *other_phase(findings), *comparison(findings))),
        ],
        algorithm=_algorithm(findings, parameters=_engine_and_models(findings)),
    )


def lesion_group(lesion: Lesion, origin: Origin) -> MeasurementsAndQualitativeEvaluations:
    """One plaque: finding by grade, segment, all measurements, grade and its source, plaque type, high-risk features."""
    finding = {"none": codes.PLAQUE, "occluded": codes.OCCLUSION}.get(lesion.grade, codes.STENOSIS)
    evaluations = [
        # no degree at all is not the degree 'none'
        *(() if degree_unknown(lesion) else (QualitativeEvaluation(codes.STENOSIS_GRADE, codes.GRADES[lesion.grade]),)),
        QualitativeEvaluation(codes.LESION_MORPHOLOGY, codes.PLAQUES[lesion.plaque_type]),
        *(QualitativeEvaluation(codes.HIGH_RISK_FEATURE, codes.HIGH_RISK[feature]) for feature in lesion.high_risk),
    ]
    if lesion.grade_source == "corrected":
        evaluations.append(QualitativeEvaluation(codes.GRADE_SOURCE, codes.GRADE_CORRECTED))
    return _group(
        f"lesion-{lesion.id}",
        origin,
        finding=finding,
        sites=[codes.segment_site(lesion.segment)],
        measurements=[
            *_measured(codes.DIAMETER_STENOSIS, lesion.diameter_stenosis_percent, codes.PERCENT),
            *_measured(codes.AREA_STENOSIS, lesion.area_stenosis_percent, codes.PERCENT),
            *_measured(codes.LESION_LENGTH, lesion.length_mm, codes.MILLIMETRE),
            *_measured(codes.LUMEN_DIAMETER, lesion.minimum_lumen_diameter_mm, codes.MILLIMETRE, derivation=codes.MINIMUM),
            *_measured(codes.REFERENCE_DIAMETER, lesion.reference_diameter_mm, codes.MILLIMETRE),
            *_measured(codes.REMODELING_INDEX, lesion.remodeling_index, codes.RATIO),
            *_measured(codes.PLAQUE_BURDEN, lesion.plaque_burden_percent, codes.PERCENT),
            *_plaque(lesion.volume_mm3),
        ],
        evaluations=evaluations,
        comments=_phase(origin, lesion.branch),
    )


def bridge_group(number: int, bridge: Bridge, origin: Origin) -> MeasurementsAndQualitativeEvaluations:
    """A myocardial bridge: segments, tunnelled length, depth."""
    branch = origin.findings.branch(bridge.branch)
    return _group(
        f"bridge-{number}",
        origin,
        finding=codes.MUSCLE_BRIDGE,
        sites=[codes.segment_site(name) for name in span_segments(branch, bridge.start, bridge.end)],
        measurements=[
            *_measured(codes.LENGTH, length_mm(branch, bridge.start, bridge.end), codes.MILLIMETRE),
            *_measured(codes.DEPTH, bridge.depth_mm, codes.MILLIMETRE),
        ],
        comments=_phase(origin, bridge.branch),
    )


def stent_group(number: int, stent: Stent, origin: Origin) -> MeasurementsAndQualitativeEvaluations:
    """A stent: segments, length, whether its lumen can be read."""
    branch = origin.findings.branch(stent.branch)
    assessable = codes.ASSESSABLE if stent.assessable else codes.NOT_ASSESSABLE
    return _group(
        f"stent-{number}",
        origin,
        finding=codes.STENT,
        sites=[codes.segment_site(name) for name in span_segments(branch, stent.start, stent.end)],
        measurements=_measured(codes.STENT_LENGTH, length_mm(branch, stent.start, stent.end), codes.MILLIMETRE),
        evaluations=[QualitativeEvaluation(codes.ASSESSABILITY, assessable)],
        comments=[*_phase(origin, stent.branch), *([] if stent.inside is None else [capital(f"{IN_STENT[stent.inside].en}.")])],
    )


def graft_group(graft: Graft, origin: Origin) -> MeasurementsAndQualitativeEvaluations:
    """A bypass graft: the native segment that it feeds, kind, length, calibre, patency."""
    length = math.fsum(math.dist(a, b) for a, b in itertools.pairwise(graft.points_mm))
    patency = [] if graft.patency is None else [QualitativeEvaluation(codes.PATENCY, codes.PATENCIES[graft.patency])]
    return _group(
        f"graft-{graft.id}",
        origin,
        finding=codes.GRAFT,
        sites=[codes.CORONARY_ARTERY if graft.target is None else codes.segment_site(graft.target)],
        measurements=[
            *_measured(codes.LENGTH, length, codes.MILLIMETRE),
            *_measured(codes.LUMEN_DIAMETER, graft.lumen_diameter_mm, codes.MILLIMETRE),
        ],
        evaluations=[QualitativeEvaluation(codes.GRAFT_KIND, codes.GRAFT_KINDS[graft.kind]), *patency],
        comments=[graft_sentence(graft).en],
    )


def unassessable_group(item: NotAssessable, origin: Origin) -> MeasurementsAndQualitativeEvaluations:
    """A segment that cannot be read, and why."""
    return _group(
        f"not-assessable-{item.segment}",
        origin,
        sites=[codes.segment_site(item.segment)],
        evaluations=[
            QualitativeEvaluation(codes.ASSESSABILITY, codes.NOT_ASSESSABLE),
            QualitativeEvaluation(codes.NOT_ASSESSABLE_REASON, codes.NOT_ASSESSABLE_REASONS[item.reason]),
        ],
    )


def _phase(origin: Origin, branch: int) -> list[str]:
    """The phase that a branch was measured in, where that is not the main one."""
    phase = read_in(origin.findings, origin.findings.branch(branch).series_uid)
    return [] if phase is None else [phase.en]


def _group(
    name: str,
    origin: Origin,
    *,
    sites: Sequence[CodedConcept],
    finding: CodedConcept | None = None,
    measurements: Sequence[Measurement] = (),
    evaluations: Sequence[QualitativeEvaluation] = (),
    comments: Sequence[str] = (),
    algorithm: AlgorithmIdentification | None = None,
) -> MeasurementsAndQualitativeEvaluations:
    """A TID 1501 group; ``comments`` become text items at its end."""
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=origin.uids(), identifier=name),
        finding_type=finding,
        algorithm_id=algorithm or _algorithm(origin.findings),
        finding_sites=[FindingSite(site) for site in sites],
        measurements=list(measurements),
        qualitative_evaluations=list(evaluations),
    )
    for comment in comments:
        group[0].ContentSequence.append(
            TextContentItem(name=codes.COMMENT, value=comment, relationship_type=RelationshipTypeValues.CONTAINS)
        )
    return group


def _algorithm(findings: Findings, *, parameters: Sequence[str] = ()) -> AlgorithmIdentification:
    """Software name and version (TID 4019)."""
    version = f"{findings.software.version} ({findings.software.commit})"
    return AlgorithmIdentification(name=MANUFACTURER, version=version, parameters=list(parameters) or None, manufacturer=MANUFACTURER)


def _engine_and_models(findings: Findings) -> list[str]:
    lines = []
    if findings.engine is not None:
        lines.append(f"engine {findings.engine.name} on {findings.engine.device}, {findings.engine.precision}")
    for model in findings.models:
        validated = "validated" if model.validated_on_patients else "not validated"
        lines.append(f"model {model.name} {model.version}, {validated} on patients, sha256 {model.sha256}")
    return lines


def _measured(name: CodedConcept, value: float | None, unit: CodedConcept, *, derivation: CodedConcept | None = None) -> list[Measurement]:
    """A measurement, or none where the value is unknown."""
    return [] if value is None else [Measurement(name=name, value=round(value, 3), unit=unit, derivation=derivation)]


def _plaque(volume: PlaqueVolume | None) -> list[Measurement]:
    if volume is None:
        return []
    return [
        *_measured(codes.TOTAL_PLAQUE_VOLUME, volume.total, codes.CUBIC_MILLIMETRE),
        *_measured(codes.CALCIFIED_VOLUME, volume.calcified, codes.CUBIC_MILLIMETRE),
        *_measured(codes.NONCALCIFIED_VOLUME, volume.noncalcified, codes.CUBIC_MILLIMETRE),
        *_measured(codes.LOW_ATTENUATION_VOLUME, volume.low_attenuation, codes.CUBIC_MILLIMETRE),
    ]


def _calcium(calcium: Calcium | None) -> list[Measurement]:
    """Agatston score of the heart and of each vessel, volume and mass."""
    if calcium is None:
        return []
    sites = [(None, calcium.agatston), *((codes.VESSEL_SITES[vessel], score) for vessel, score in calcium.vessels.items())]
    return [
        *(
            Measurement(
                name=codes.CALCIUM_SCORE,
                value=round(score, 3),
                unit=codes.NO_UNITS,
                method=codes.AGATSTON_METHOD,
                finding_sites=None if site is None else [FindingSite(site)],
            )
            for site, score in sites
        ),
        *_measured(codes.CALCIUM_VOLUME, calcium.volume_mm3, codes.CUBIC_MILLIMETRE),
        *_measured(codes.CALCIUM_MASS, calcium.mass_mg, codes.MILLIGRAM),
    ]


def _state(findings: Findings) -> list[QualitativeEvaluation]:
    """Whether it was analysed; image quality; dominance."""
    evaluations = [QualitativeEvaluation(codes.SUMMARY_OF_ANALYSES, codes.STATUSES[findings.status])]
    if findings.quality is not None:
        evaluations.append(QualitativeEvaluation(codes.STUDY_QUALITY, codes.QUALITY_SCORES[findings.quality.score]))
    if findings.dominance is not None:
        evaluations.append(QualitativeEvaluation(codes.DOMINANCE, codes.DOMINANCES[findings.dominance]))
    return evaluations


def _cad_rads(findings: Findings) -> list[QualitativeEvaluation]:
    result = findings.cad_rads
    if result is None:
        return []
    evaluations = [QualitativeEvaluation(codes.CAD_ASSESSMENT, codes.CATEGORIES[result.category])]
    if result.plaque_burden is not None:
        evaluations.append(QualitativeEvaluation(codes.CAD_PLAQUE_BURDEN, codes.plaque_burden(result.plaque_burden)))
    return evaluations + [QualitativeEvaluation(codes.CAD_MODIFIER, codes.modifier(text)) for text in result.modifiers]
