"""The names under which workflows may call this project's Firetasks, and those that a job calls."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from fireworks.core.firework import FiretaskBase
from fireworks.fw_config import FW_NAME_UPDATES, USER_PACKAGES
from fireworks.user_objects import firetasks
from fireworks.utilities.fw_serializers import SAVED_FW_MODULES, get_default_serialization

from executor.policy import Policy, PolicyError

#: From a ``_fw_name`` to the one that says where the class is. FireWorks looks here before it
#: imports anything: the names of Borealis are ours also where Borealis is installed.
TASK_NAMES: Mapping[str, str] = {
    "CommandTask": "{{executor.command_task.CommandTask}}",
    "DockerTask": "{{executor.docker_task.DockerTask}}",
    "borealis.docker_task.DockerTask": "{{executor.docker_task.DockerTask}}",
    "{{borealis.docker_task.DockerTask}}": "{{executor.docker_task.DockerTask}}",
    "{{ borealis.docker_task.DockerTask }}": "{{executor.docker_task.DockerTask}}",
}

#: Where FireWorks looks for Firetasks unless its configuration names more.
_FIREWORKS_PACKAGES = {
    "fireworks.user_objects",
    "fireworks.utilities.tests",
    "fw_tutorials",
    "fireworks.features",
}


def register_task_names() -> None:
    """Let FireWorks in this process resolve these names; may be called again."""
    FW_NAME_UPDATES.update(TASK_NAMES)


def learn_firetasks_of_fireworks() -> None:
    """Let FireWorks in this process, and those forked from it, know where its own Firetasks are.

    The first time that it meets ``PyTask`` it else imports all that it has, its tests and theirs
    too: a tenth of a second in each new process. Where the user names packages of Firetasks, it
    goes on searching: two classes of one name are an error, which must not go unnoticed.
    """
    if not _FIREWORKS_PACKAGES.issuperset(USER_PACKAGES):
        return
    for module in pkgutil.iter_modules(firetasks.__path__, f"{firetasks.__name__}."):
        with contextlib.suppress(ImportError):  # what it needs is not installed
            _learn(importlib.import_module(module.name))


def _learn(module: ModuleType) -> None:
    for _, found in inspect.getmembers(module, inspect.isclass):
        if issubclass(found, FiretaskBase) and found.__module__ == module.__name__:
            name = getattr(found, "_fw_name", get_default_serialization(found))
            SAVED_FW_MODULES.setdefault(name, module.__name__)


def check_firetasks(firework: Mapping[str, Any], policy: Policy) -> None:
    """Raise PolicyError unless `policy` allows every Firetask of a Firework's document.

    Nothing is imported for it. A task of ours is allowed by any of its names.
    """
    for name in _task_names(firework):
        _check_name(name, policy)


def _check_name(name: str, policy: Policy) -> None:
    target = TASK_NAMES.get(name, name)
    others = [target, *(alias for alias, to in TASK_NAMES.items() if to == target)]
    try:
        policy.check_firetasks([name])
    except PolicyError:
        if not any(_is_allowed(other, policy) for other in others):
            raise


def _is_allowed(name: str, policy: Policy) -> bool:
    try:
        policy.check_firetasks([name])
    except PolicyError:
        return False
    return True


def _task_names(firework: Mapping[str, Any]) -> Iterator[str]:
    """The names of its tasks and of those that run beside them, in whatever form FireWorks takes.

    What has no name is no task; building the Firework will say so.
    """
    spec = firework.get("spec")
    if not isinstance(spec, Mapping):
        return
    background = _documents(spec.get("_background_tasks"))
    for tasks in (spec.get("_tasks"), *(document.get("tasks") for document in background)):
        for task in _documents(tasks):
            if "_fw_name" in task:
                yield str(task["_fw_name"])
            elif "@module" in task and "@class" in task:
                yield f"{{{{{task['@module']}.{task['@class']}}}}}"


def _documents(value: object) -> list[Mapping[str, Any]]:
    listed = value if isinstance(value, list) else [value]
    return [document for document in listed if isinstance(document, Mapping)]
