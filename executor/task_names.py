"""The names under which workflows may call this project's Firetasks, and those that a job calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fireworks.fw_config import FW_NAME_UPDATES

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


def register_task_names() -> None:
    """Let FireWorks in this process resolve these names; may be called again."""
    FW_NAME_UPDATES.update(TASK_NAMES)


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
