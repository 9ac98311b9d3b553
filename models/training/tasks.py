"""All networks that can be trained, by name."""

from __future__ import annotations

from models.training.coronary_task import coronary_task
from models.training.heart_task import heart_task
from models.training.lesions_task import lesions_task
from models.training.motion_task import motion_task
from models.training.naming_task import naming_task
from models.training.ostia_task import ostia_task
from models.training.repair_task import repair_task
from models.training.task import Task

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        heart_task(),
        coronary_task(),
        lesions_task(),
        ostia_task(),
        repair_task(),
        naming_task(),
        motion_task(),
    )
}
