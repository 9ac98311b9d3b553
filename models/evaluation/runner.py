"""Cases side by side: worker processes with one thread each, which is what two cores do best."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from models.evaluation.cases import Case
from models.training.families import load_families

THREAD_VARIABLES = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Job:
    """One case to be worked out: a patient of a kind of family, the catalog of the networks, and where its picture goes."""

    seed: int
    kind: str
    catalog: Path
    pictures: Path


def run_jobs(jobs: Sequence[Job], *, workers: int, done: Callable[[Case], None], work: Callable[[Job], Case] | None = None) -> None:
    """Work out all jobs; ``done`` is told each case as it is finished, in whatever order.

    Raises:
        Exception: what a case raised that is no typed failure of the product; the other cases go on first.
    """
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))  # read by the workers as they start
    errors = []
    try:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            for future in as_completed([pool.submit(work or work_out, job) for job in jobs]):
                error = future.exception()
                if error is None:
                    done(future.result())
                else:
                    errors.append(error)
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
    if errors:
        raise errors[0]


def work_out(job: Job) -> Case:
    """One case, in this process, with its picture."""
    from skimage.morphology import skeletonize  # of the extras "dev" and "train"

    from appliance.analysis.pipeline import Models
    from models.evaluation.cases import evaluate_case
    from models.evaluation.pictures import draw_case

    models = Models.load(catalog=job.catalog, threads=1)
    design = load_families()[job.kind].design_of(job.seed)
    case, seen = evaluate_case(job.seed, design, models=models, skeletonize=skeletonize)
    draw_case(case, seen, job.pictures / f"{job.seed}.png")
    return case
