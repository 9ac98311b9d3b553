"""cor-seg's task with a hospital's own cases as the source of its samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from appliance.errors import CoronetError
from appliance.inference.catalog import ModelCatalog, installed_catalog
from appliance.inference.choose import best_engine
from models.training.coronary_task import CORONARY_WEIGHTS
from models.training.hospital import HospitalDataError, Kind, find_cases, prepare
from models.training.hospital_samples import UNIONS, hospital_patches
from models.training.segmentation import segmentation_terms
from models.training.task import Task

STORE = Path("build/hospital")
_UNION_WEIGHTS = (2.0, 1.0)


@dataclass(frozen=True)
class HospitalSource:
    """Prepared cases, and the share of samples that stay virtual."""

    files: tuple[Path, ...]
    replay: float


def prepare_all(folder: Path, *, kind: Kind, log: Callable[[str], None], store: Path = STORE) -> tuple[Path, ...]:
    """Prepare every case of a family; a case that cannot be used is named in the log and left out.

    Raises:
        HospitalDataError: the folder holds no case, or none of them can be used.
    """
    cases = [case for case in find_cases(folder) if case.kind == kind]
    heart = best_engine().load(ModelCatalog.load(installed_catalog())["heart-loc"])
    files = []
    for case in cases:
        try:
            files.append(prepare(case, heart=heart, store=store))
        except (HospitalDataError, CoronetError) as error:
            log(f"left out: {case.name}: {error}")
    if not files:
        raise HospitalDataError(f"{folder}: none of its {len(cases)} cases of the family '{kind}' can be used")
    log(f"{folder}: {len(files)} of {len(cases)} cases of the family '{kind}'")
    return tuple(files)


def hospital_task(task: Task, own: HospitalSource) -> Task:
    """The task with the hospital's samples and a loss that knows what their label maps do not say."""
    weights = replace(CORONARY_WEIGHTS, unions=UNIONS, union_weights=_UNION_WEIGHTS)
    source = partial(hospital_patches, files=own.files, replay=own.replay)
    return replace(task, source=source, loss=segmentation_terms(weights))
