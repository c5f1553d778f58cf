"""The names of Firetasks: which class they mean, and whether an executor allows them."""

from __future__ import annotations

from typing import Any

import pytest
from fireworks.utilities.fw_serializers import load_object

from executor.docker_task import DockerTask
from executor.policy import Policy, PolicyError
from executor.rocket_run import RocketRun
from executor.task_names import TASK_NAMES, check_firetasks, register_task_names
from tests.executor import workflows
from tests.executor.workflows import launch, py_task
from tests.tasks.conftest import RecordingContext

BOREALIS = "{{borealis.docker_task.DockerTask}}"
OURS = "{{executor.docker_task.DockerTask}}"
DOCKER_NAMES = ["DockerTask", BOREALIS, "borealis.docker_task.DockerTask", OURS]


@pytest.mark.parametrize("name", DOCKER_NAMES)
def test_every_name_of_dockertask_means_ours(name: str) -> None:
    register_task_names()
    fields = ("name", "image", "command", "internal_prefix", "storage_prefix")
    task = load_object({"_fw_name": name, **dict.fromkeys(fields, "x")})
    assert type(task) is DockerTask
    assert task.to_dict()["_fw_name"] == OURS
    assert set(TASK_NAMES.values()) >= {OURS}


def document(*names: str, **spec: Any) -> dict[str, Any]:
    return {"spec": {"_tasks": [{"_fw_name": name} for name in names], **spec}}


@pytest.mark.parametrize("name", DOCKER_NAMES)
@pytest.mark.parametrize("allowed", [*DOCKER_NAMES, "{{executor.*}}", "Docker*", "*borealis*"])
def test_a_task_of_ours_is_allowed_by_any_of_its_names(name: str, allowed: str) -> None:
    pattern = allowed.replace("[", "[[]")
    check_firetasks(document(name), Policy(allowed_firetasks=(pattern,)))


@pytest.mark.parametrize(
    ("firework", "refused"),
    [
        (document("DockerTask", "ScriptTask"), "ScriptTask"),
        (document("{{evil.DockerTask}}"), "{{evil.DockerTask}}"),
        ({"spec": {"_tasks": {"_fw_name": "ScriptTask"}}}, "ScriptTask"),
        ({"spec": {"_tasks": [{"@module": "a.b", "@class": "C"}]}}, "{{a.b.C}}"),
        (
            document(
                "DockerTask",
                _background_tasks=[
                    {"_fw_name": "BackgroundTask", "tasks": [{"_fw_name": "PyTask"}]}
                ],
            ),
            "PyTask",
        ),
        (
            document("DockerTask", _background_tasks=[{"tasks": {"_fw_name": "PyTask"}}]),
            "PyTask",
        ),
    ],
)
def test_every_task_that_would_run_is_asked_for(firework: dict[str, Any], refused: str) -> None:
    with pytest.raises(PolicyError) as caught:
        check_firetasks(firework, Policy(allowed_firetasks=("DockerTask",)))
    assert repr(refused) in str(caught.value)
    assert "allowed_firetasks has DockerTask" in str(caught.value)
    check_firetasks(firework, Policy())


def test_a_refused_firework_fizzles_and_nothing_of_it_is_run_or_imported() -> None:
    context = RecordingContext(policy=Policy(allowed_firetasks=("PyTask",)))
    first = py_task(workflows.note, "notes")
    job = launch(1, first, {"_fw_name": "{{no_such_package.Task}}"})
    ended = RocketRun(job, context, on_ping=lambda _ping: None, interrupted=lambda: False).run()
    assert ended is not None
    assert (ended.state, ended.phase, ended.retry) == ("FIZZLED", "job", "")
    assert str(ended.reason).startswith("Firetask '{{no_such_package.Task}}' is not allowed")
    assert ended.action["stored_data"]["_message"] == ended.reason
    assert context.events == []
