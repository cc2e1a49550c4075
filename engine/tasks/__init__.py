"""Tasks: from a model's outputs to scores and decisions, one module and one row a task."""

from megaseg.engine.tasks.act import Acts
from megaseg.engine.tasks.scene import Scenes
from megaseg.engine.tasks.task import Task, register

register(Scenes("scene"))
register(Acts("act"))
register(Task("synopsis"))  # rows for act training
register(Task("embedding"))
register(Task("gap"))  # log-odds that a scene ends between two blocks
