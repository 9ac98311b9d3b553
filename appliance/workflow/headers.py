"""Reading the identification of one image, whatever a peer has sent.

Pixels are never read here. Nesting bombs and lengths that lie end in a typed error, so that intake can put the file aside, visibly.
"""

from __future__ import annotations

from pathlib import Path

from appliance.analysis.slices import read_headers
from appliance.errors import WorkflowError
from appliance.study import StudyHeader


def read_identity(path: Path) -> StudyHeader:
    """Patient, study and series of one image.

    Raises:
        WorkflowError: WF-010 the file cannot be read as DICOM; WF-011 it does not say which study or series it belongs to.
    """
    try:
        header = read_headers([path])[0].study
    except Exception as error:
        # A hostile or broken file may raise anything (RecursionError and MemoryError too); it goes to the visible quarantine. The
        # message of the error is not kept: it may hold what stands in the file.
        raise WorkflowError(
            "WF-010", zh="影像文件无法读取", en="an image file cannot be read", cause=type(error).__name__, file=path.name
        ) from error
    if not header.study_uid or not header.series_uid:
        raise WorkflowError(
            "WF-011",
            zh="影像没有检查或序列 UID",
            en="an image has no Study or Series Instance UID",
            file=path.name,
        )
    return header
