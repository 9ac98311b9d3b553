"""Settings of the engines that run the networks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from appliance.settings.base import Section


class InferenceSettings(Section, frozen=True, kw_only=True):
    """``[inference]``: GPU and precision."""

    gpu: Literal["auto", "off"] = "auto"
    gpu_number: Annotated[int, msgspec.Meta(ge=0, le=15)] = 0
    engines: Path | None = None
    """Folder for engines built on this box; ``engines`` in the data folder if not given."""
    quantised: bool = True
    """Whether the processor may run networks in INT8 that were measured to be good enough in it."""
