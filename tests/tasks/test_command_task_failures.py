"""CommandTasks that cannot run, or fail: what is wrong is named on one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from executor.failures import PhaseFailedError, PhaseOutageError
from messaging.errors import JobError, JobInterrupted, ServiceError
from storage_backends import StorageBackend, open_backend
from storage_backends.errors import StorageTransientError
from tests.storage_backends.stores import FaultyBackend
from tests.tasks.commands import failure, run
from tests.tasks.conftest import RecordingContext


def test_an_input_that_does_not_exist_is_named(context: RecordingContext) -> None:
    error = failure("true", inputs=["no/such"])
    assert isinstance(error, JobError)
    assert error.phase == "stage-in"
    assert "'no/such'" in error.reason
    assert context.types == ["stage-in.started", "stage-in.finished"]
    assert context.fields("stage-in.finished")["error"] == error.reason
    assert context.fields("stage-in.finished")["backend"] == "nfs"


def test_an_output_that_was_not_written_is_named(context: RecordingContext, store: Path) -> None:
    error = failure("echo 1 > good", outputs=["good", "forgotten", "tree/"])
    assert error.phase == "stage-out"
    assert "'forgotten', 'tree/'" in error.reason
    assert list(store.iterdir()) == []
    assert context.fields("stage-out.finished")["error"] == error.reason


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "", "a/../../b", "a\0b", 7])
def test_a_name_that_leads_elsewhere_is_refused(context: RecordingContext, name: object) -> None:
    for error in (failure("true", inputs=[name]), failure("true", outputs=[name])):
        assert isinstance(error, PhaseFailedError)
        assert error.phase == "stage-in"
    assert context.events == []


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"inputs": ["a", "a"]}, "twice"),
        ({"inputs": "a"}, "expected a list"),
        ({"env": {"a=b": "c"}}, "env"),
        ({"env": ["a"]}, "env"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": "1h"}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"outputs": [">tree/"]}, "expected a file"),
        ({"outputs": [">a", "a"]}, "twice"),
        ({"outputs": [">a"], "stdout": "b"}, "stdout"),
        ({"stdin": "../x"}, "stdin"),
        ({"stdout": "/etc/x"}, "stdout"),
        ({"storage": "tape", "inputs": ["a"]}, "unknown storage backend 'tape'"),
        ({"storage_prefix": "gs://bucket/../x"}, "'..' part"),
        ({"storage_prefix": "../up"}, "storage prefix"),
        ({"storage": 5}, "storage"),
        ({"options": "workdir"}, "options"),
        ({"workdir": "relative"}, "workdir"),
        ({"workdir": "/no/such/directory"}, "/no/such/directory"),
    ],
)
def test_a_wrong_parameter_is_named(
    context: RecordingContext, parameters: dict[str, Any], said: str
) -> None:
    error = failure("true", **parameters)
    assert said in error.reason
    assert isinstance(error, JobError)
    assert context.events == []


@pytest.mark.parametrize("command", ["", "  ", [], [""], None, {"a": 1}, [["a"]], ["a\0"]])
def test_a_command_that_is_none_is_refused(context: RecordingContext, command: object) -> None:
    assert "command" in failure(command).reason
    assert context.events == []


def test_a_symlink_to_outside_is_not_uploaded(context: RecordingContext, store: Path) -> None:
    error = failure("ln -s /etc/passwd out", outputs=["out"])
    assert error.phase == "stage-out"
    assert "symbolic link" in error.reason
    error = failure("mkdir tree; ln -s /etc tree/out", outputs=["tree/"])
    assert "symbolic link" in error.reason
    assert not [path for path in store.rglob("*") if path.is_file()]
    assert context.asked == 2


def test_without_its_lease_an_attempt_stores_nothing(
    context: RecordingContext, store: Path, launch_directory: Path
) -> None:
    context.lease_is_lost = True
    with pytest.raises(JobInterrupted):
        run("echo 1 > out", outputs=["out", ">>log"])
    with pytest.raises(JobInterrupted):
        run("exit 1", outputs=["out", ">>log"])
    assert list(store.iterdir()) == []
    assert list(launch_directory.iterdir()) == []
    assert "stage-out.started" not in context.types


def test_a_store_that_is_away_is_infrastructure(
    context: RecordingContext, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (store / "a").write_text("1")

    def fault(call: str, name: str) -> None:
        if call == "store":
            raise StorageTransientError(f"{name}: the server is away")

    def faulty(name: str, options: dict[str, Any]) -> StorageBackend:
        return FaultyBackend(open_backend(name, options), fault)

    monkeypatch.setattr("executor.context.open_backend", faulty)
    error = failure("cp a b", inputs=["a"], outputs=["b"])
    assert isinstance(error, PhaseOutageError)
    assert isinstance(error, ServiceError)
    assert error.phase == "stage-out"
    assert error.to_dict()["retry"] is True
    assert context.fields("stage-out.finished")["error"] == "b: the server is away"


def test_failure_details_have_what_a_program_wants(context: RecordingContext) -> None:
    details = failure("seq 300; echo oops >&2; exit 3").to_dict()
    assert details["phase"] == "execution"
    assert details["exit_code"] == 3
    assert details["signal"] is None
    assert details["timed_out"] is False
    assert details["retry"] is False
    assert "201\n" in details["output"]
    assert "\n200\n" not in details["output"]
    assert "oops" in details["output"]
    assert context.fields("execution.finished")["exit_code"] == 3
    assert "exit code 3" in context.fields("execution.finished")["error"]


def test_a_wrong_value_of_env_or_options_is_not_shown(context: RecordingContext) -> None:
    cases: list[dict[str, Any]] = [
        {"env": {"TOKEN": ["hunter2"]}},
        {"env": "hunter2"},
        {"options": "hunter2"},
    ]
    for parameters in cases:
        assert "hunter2" not in failure("true", **parameters).reason
    assert context.events == []
