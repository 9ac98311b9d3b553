"""All networks that can be trained, by name."""

from __future__ import annotations

from models.training.coronary_task import coronary_task
from models.training.heart_task import heart_task
from models.training.task import Task

TASKS: dict[str, Task] = {task.name: task for task in (heart_task(), coronary_task())}
