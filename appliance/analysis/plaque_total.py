"""All plaque of a study."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.findings import Lesion, PlaqueVolume


def total_of(lesions: Sequence[Lesion]) -> PlaqueVolume:
    """All plaque of a study."""
    volumes = [lesion.volume_mm3 for lesion in lesions]
    return PlaqueVolume(
        total=round(sum(volume.total for volume in volumes), 2),
        calcified=round(sum(volume.calcified for volume in volumes), 2),
        noncalcified=round(sum(volume.noncalcified for volume in volumes), 2),
        low_attenuation=round(sum(volume.low_attenuation for volume in volumes), 2),
        fibrofatty=_sum_of([volume.fibrofatty for volume in volumes]),
        fibrous=_sum_of([volume.fibrous for volume in volumes]),
        fibrofatty_reason="too_thin" if any(volume.fibrofatty is None for volume in volumes) else None,
        fibrous_reason="too_thin" if any(volume.fibrous is None for volume in volumes) else None,
    )


def _sum_of(parts: Sequence[float | None]) -> float | None:
    """The sum, None where a part is not known; without any plaque it is 0."""
    known = [part for part in parts if part is not None]
    return round(sum(known), 2) if len(known) == len(parts) else None
