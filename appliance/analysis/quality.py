"""Image quality: contrast and noise in the aorta, contrast to the fat around the vessels, coverage of the heart, how each artery is shown.

Definitions: clinical practice values of the SCCT acquisition guideline (JCCT 2016;10:435); one table below.

    DEC-102  the aorta shows no arterial contrast

Warnings: DEC-151 an artery is shown too poorly, DEC-154 noise, DEC-155 faint contrast, DEC-156 the heart is cut off, DEC-157 another phase
shows an artery better, DEC-158 and could not be used for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from appliance.analysis.aorta import MINIMUM_VOXELS, aortic_values, values_within
from appliance.analysis.heart_bulk import CARDIAC
from appliance.analysis.quality_vessels import NON_DIAGNOSTIC
from appliance.analysis.stages import Heart, Structure
from appliance.anatomy import Vessel
from appliance.errors import DeclinedError, Reason
from appliance.findings import NotAssessable, Quality, SegmentQuality, VesselQuality
from appliance.volume import Volume

ARTERIAL_CONTRAST_HU = 200.0
"""Below this mean in the aorta there is no arterial phase to read."""
SCORES: tuple[tuple[int, float, float], ...] = ((5, 350.0, 15.0), (4, 300.0, 12.0), (3, 250.0, 8.0), (2, 200.0, 5.0))
"""Score, lowest aortic HU and lowest contrast-to-noise ratio for it; 1 below the last row."""
FAT_HU = (-150, -30)
CHAMBERS = tuple(structure for structure in CARDIAC if structure is not Structure.PERICARDIUM)
CUT_MM2 = 100.0
NOISY_HU = 30.0
FAINT_HU = 250.0
WORST_MOTION_MM = 3.0
"""Blur as wide as a proximal artery: ``motion`` 1."""
UNREAD_SCORE = 3
"""Most that a scan gets in which a segment cannot be read. A choice of this project."""
NAMES = {"LAD": ("前降支", "LAD"), "LCX": ("回旋支", "LCx"), "RCA": ("右冠状动脉", "RCA")}
NOT_TAKEN: dict[str, tuple[str, str]] = {
    "shorter": ("未追踪到同样远", "is not followed as far there"),
    "names": ("分支命名与主期相不一致", "has its branches named otherwise there"),
}
"""Why an artery stays with the main phase although another one shows more of it (`phase_joining`)."""


def assess(volume: Volume, heart: Heart) -> Quality:
    """Contrast, noise and coverage, with their warnings. How the arteries are shown is known once they are traced: ``with_arteries``.

    Raises:
        DeclinedError: DEC-102, the aorta shows no arterial contrast.
    """
    quality = _measured(volume, heart)
    return msgspec.structs.replace(quality, warnings=warnings(quality))


def with_arteries(quality: Quality, vessels: tuple[VesselQuality, ...]) -> Quality:
    """The quality completed by how well each artery is shown; unchanged where that is not known (motion is then None, not 0).

    The worst artery bounds the score. Arteries that cannot be read are warned of first, a phase that shows one better is named last.
    """
    if not vessels:
        return quality
    motion = max(vessel.motion_mm or 0.0 for vessel in vessels)
    poor = tuple(_poor(vessel) for vessel in vessels if vessel.grade <= NON_DIAGNOSTIC)
    better = tuple(_better(vessel) for vessel in vessels if vessel.better_series_uid is not None)
    return msgspec.structs.replace(
        quality,
        score=min(quality.score, _vessel_score(vessels)),
        motion=round(min(motion / WORST_MOTION_MM, 1.0), 3),
        motion_reason=None,
        vessels=vessels,
        warnings=(*poor, *quality.warnings, *better),
    )


def with_segments(quality: Quality, segments: Sequence[SegmentQuality], not_assessable: Sequence[NotAssessable]) -> Quality:
    """The quality completed by what was measured along the traced segments; where one cannot be read, it is moderate at best."""
    return msgspec.structs.replace(
        quality,
        score=min(quality.score, UNREAD_SCORE) if not_assessable else quality.score,
        segments=tuple(segments),
        not_assessable=tuple(not_assessable),
    )


def with_not_taken(quality: Quality, refused: Sequence[tuple[Vessel, str]], percent: float | None) -> Quality:
    """The quality with a warning for each artery of which the other phase (``percent``) shows more and that could not be taken from it."""
    phase = "" if percent is None else f" {percent:.0f}%"
    told = tuple(
        Reason(
            "DEC-158",
            zh=f"另一期相{phase}可评价更多{NAMES[vessel][0]},但{NOT_TAKEN[why][0]},仍采用主期相",
            en=f"another phase{phase} shows more of the {NAMES[vessel][1]}, which {NOT_TAKEN[why][1]}: the main phase was kept",
        )
        for vessel, why in refused
    )
    return msgspec.structs.replace(quality, warnings=(*quality.warnings, *told))


def warnings(quality: Quality) -> tuple[Reason, ...]:
    """What a reader should know about the scan before trusting the result, most serious first."""
    found = []
    if quality.aorta_noise_hu is not None and quality.aorta_noise_hu > NOISY_HU:
        noise = f"{quality.aorta_noise_hu:.0f} HU"
        found.append(Reason("DEC-154", zh=f"图像噪声偏高({noise})", en=f"much noise ({noise})"))
    if quality.aorta_mean_hu is not None and quality.aorta_mean_hu < FAINT_HU:
        mean = f"{quality.aorta_mean_hu:.0f} HU"
        found.append(Reason("DEC-155", zh=f"血管强化偏低(主动脉 {mean})", en=f"faint contrast (aorta {mean})"))
    if not quality.coverage_complete:
        found.append(Reason("DEC-156", zh="心脏未完全包括在扫描范围内", en="the heart is cut off by the scan"))
    return tuple(found)


def _better(vessel: VesselQuality) -> Reason:
    zh, en = NAMES[vessel.vessel]
    percent = f" {vessel.better_phase_percent:.0f}%" if vessel.better_phase_percent is not None else ""
    return Reason("DEC-157", zh=f"{zh}在另一期相{percent}显示更好", en=f"the {en} is shown better by another phase{percent}")


def _poor(vessel: VesselQuality) -> Reason:
    zh, en = NAMES[vessel.vessel]
    blur = f",运动模糊约 {vessel.motion_mm:.1f} mm" if vessel.motion_mm else ""
    blurred = f", motion blur about {vessel.motion_mm:.1f} mm" if vessel.motion_mm else ""
    return Reason("DEC-151", zh=f"{zh}图像质量不足以诊断{blur}", en=f"the {en} is shown too poorly for diagnosis{blurred}")


def _vessel_score(vessels: tuple[VesselQuality, ...]) -> int:
    """On the scale of the report, 1 to 5: a grade above that of the worst artery, and 1 where no artery can be read."""
    grades = [vessel.grade for vessel in vessels]
    return 1 if max(grades) <= NON_DIAGNOSTIC else min(grades) + 1


def _measured(volume: Volume, heart: Heart) -> Quality:
    aorta = aortic_values(volume, heart)
    covered = _covered(heart)
    if len(aorta) < MINIMUM_VOXELS:
        return _unmeasured(covered)
    # Median and difference-based noise: a bright calcification or a mislabelled edge in the region moves neither.
    mean = float(np.median(aorta))
    if mean < ARTERIAL_CONTRAST_HU:
        raise DeclinedError(
            "DEC-102",
            zh=f"主动脉 CT 值 {mean:.0f} HU,未见动脉期强化,无法进行冠状动脉分析。",
            en=f"The aorta measures {mean:.0f} HU: no arterial contrast, the coronary analysis was not done.",
        )
    noise = float(1.4826 * np.median(np.abs(aorta - mean)))
    fat = values_within(volume, heart, heart.mask(Structure.PERICARDIUM))
    fat = fat[(fat >= FAT_HU[0]) & (fat <= FAT_HU[1])]
    cnr = (mean - float(np.median(fat))) / noise if len(fat) >= MINIMUM_VOXELS and noise > 0 else None
    return Quality(
        score=_score(mean, cnr),
        aorta_mean_hu=round(mean, 1),
        aorta_noise_hu=round(noise, 1),
        cnr=None if cnr is None else round(cnr, 1),
        motion=None,
        coverage_complete=covered,
        not_assessable=(),
        cnr_reason="no_pericardial_fat" if cnr is None else None,
        motion_reason="not_measured",
    )


def _unmeasured(covered: bool) -> Quality:
    reason = "aorta_too_small"
    return Quality(
        score=1,
        aorta_mean_hu=None,
        aorta_noise_hu=None,
        cnr=None,
        motion=None,
        coverage_complete=covered,
        not_assessable=(),
        aorta_mean_hu_reason=reason,
        aorta_noise_hu_reason=reason,
        cnr_reason=reason,
        motion_reason="not_measured",
    )


def _score(mean_hu: float, cnr: float | None) -> int:
    for score, lowest_hu, lowest_cnr in SCORES:
        if mean_hu >= lowest_hu and cnr is not None and cnr >= lowest_cnr:
            return score
    return 1


def _covered(heart: Heart) -> bool:
    """True unless a chamber is cut by the first or last slices of the scan (more than ``CUT_MM2`` of it lies there)."""
    chambers = heart.mask(*CHAMBERS).sum(axis=(1, 2)) * heart.structures.geometry.spacing[0] * heart.structures.geometry.spacing[1]
    return not bool(chambers[0] > CUT_MM2 or chambers[-1] > CUT_MM2)
