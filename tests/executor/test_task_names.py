"""The names of Firetasks: which class they mean, and whether an executor allows them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fireworks.fw_config import USER_PACKAGES
from fireworks.user_objects.firetasks.script_task import PyTask
from fireworks.utilities.fw_serializers import SAVED_FW_MODULES, load_object

from executor.docker_task import DockerTask
from executor.policy import Policy, PolicyError
from executor.rocket_run import RocketRun
from executor.task_names import (
    TASK_NAMES,
    check_firetasks,
    learn_firetasks_of_fireworks,
    register_task_names,
)
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


@pytest.fixture
def known() -> Iterator[None]:
    """FireWorks' memory of where Firetasks are: empty, and as before afterwards."""
    before = dict(SAVED_FW_MODULES)
    SAVED_FW_MODULES.clear()
    yield
    SAVED_FW_MODULES.clear()
    SAVED_FW_MODULES.update(before)


@pytest.mark.usefixtures("known")
def test_firetasks_of_fireworks_are_found_without_a_search() -> None:
    learn_firetasks_of_fireworks()
    # As FireWorks itself finds them.
    learned = dict(SAVED_FW_MODULES)
    assert {"PyTask", "ScriptTask", "FileTransferTask", "TemplateWriterTask"} <= set(learned)
    for name in ("PyTask", "ScriptTask"):
        SAVED_FW_MODULES.clear()
        load_object({"_fw_name": name, "func": "x", "script": "x"})
        assert SAVED_FW_MODULES[name] == learned[name]
    assert type(load_object({"_fw_name": "PyTask", "func": "x"})) is PyTask


@pytest.mark.usefixtures("known")
def test_where_the_user_has_packages_of_firetasks_fireworks_searches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("executor.task_names.USER_PACKAGES", [*USER_PACKAGES, "our_tasks"])
    learn_firetasks_of_fireworks()
    assert not SAVED_FW_MODULES


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
