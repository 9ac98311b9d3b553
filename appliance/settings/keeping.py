"""``[retention]`` and ``[backup]``: how long things are kept, and the copies of the index."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from appliance.settings.base import Count, Positive, Section

Days = Annotated[float, msgspec.Meta(ge=0, le=36500)]
Part = Annotated[float, msgspec.Meta(gt=0, lt=1)]


class RetentionSettings(Section, frozen=True, kw_only=True):
    """``[retention]``: what goes when the disk fills or time has passed. Only what was delivered ever goes, never a protected study."""

    enabled: bool = True
    high_watermark: Part = 0.85
    """Part of the disk in use above which the oldest delivered images are removed ..."""
    low_watermark: Part = 0.80
    """... until so much is in use."""
    minimum_days: Days = 2.0
    """Nothing that changed more recently is removed for want of room."""
    images_days: Days = 0.0
    """Images older than this are removed though there is room; 0: they are not."""
    results_days: Days = 0.0
    """Drafts and releases of studies whose images have gone are removed after this; 0: they are kept."""
    images_must_be_archived: bool = True
    """False where the CT itself sends its images to the archive, so that ours are copies."""
    series_reserve_bytes: Annotated[int, msgspec.Meta(ge=0)] = 2 << 30
    """With less than this on top of ``receiver.minimum_free_bytes`` a new association is refused, so that no series breaks off."""
    check_seconds: Positive = 60.0


class BackupSettings(Section, frozen=True, kw_only=True):
    """``[backup]``: snapshots of the index on the data disk, from which a damaged database is restored."""

    snapshot_hours: Positive = 24.0
    snapshots: Count = 7
    """How many are kept."""
    folder: Path | None = None
    """Where snapshots lie; ``snapshots/`` in the data folder if not given. A disk of its own is better."""
    check_limit_s: Positive = 60.0
    """Time that the check of the database may take at start."""
