"""How the box is, in one message: what the bar on top of the kiosk shows."""

from __future__ import annotations

import shutil

from appliance.archive.archive import Archive
from appliance.errors import Reason
from appliance.worklist import Health


def health_of(archive: Archive, *, receiver_ready: bool) -> Health:
    """The parts that are ready, the disk, and every trouble with its reason."""
    analyst = archive.components.get("analyst")
    warnings = archive.components.troubles()
    put_aside = len(archive.index.quarantined())
    if put_aside:
        zh, en = f"{put_aside} 幅影像无法读取,已隔离保存", f"{put_aside} images cannot be read and are put aside"
        warnings.append(Reason(code="WF-058", zh=zh, en=en))
    usage = shutil.disk_usage(archive.data)
    return Health(
        receiver_ready=receiver_ready,
        analyst_ready=analyst.ready,
        engine=analyst.detail,
        disk_free_fraction=usage.free / usage.total,
        warnings=tuple(warnings),
    )
