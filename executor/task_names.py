"""The names under which workflows may call this project's Firetasks."""

from __future__ import annotations

from collections.abc import Mapping

from fireworks.fw_config import FW_NAME_UPDATES

#: From a ``_fw_name`` to the one that says where the class is.
TASK_NAMES: Mapping[str, str] = {
    "CommandTask": "{{executor.command_task.CommandTask}}",
    "DockerTask": "{{executor.docker_task.DockerTask}}",
}


def register_task_names() -> None:
    """Let FireWorks in this process resolve the short names; may be called again."""
    FW_NAME_UPDATES.update(TASK_NAMES)
