"""DockerTask on a real Docker Engine."""

from __future__ import annotations

import json
import os
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import docker
import pytest
from fireworks import Firework

from executor.containers.finding import job_labels, remove_containers
from executor.docker_task import DockerTask
from executor.failures import PhaseError, PhaseFailedError, PhaseOutageError
from messaging.errors import JobError, JobInterrupted, ServiceError
from tests.tasks.conftest import RecordingContext
from tests.waiting import wait_until

Run = Callable[..., Any]


@pytest.fixture
def client(docker_engine: str) -> Iterator[docker.DockerClient]:  # noqa: ARG001 - started first
    connection = docker.DockerClient(timeout=30)
    yield connection
    connection.close()


@pytest.fixture
def ours(
    client: docker.DockerClient, context: RecordingContext
) -> Iterator[Callable[[], list[Any]]]:
    """Lists the containers of this test's executor; at the end there must be none."""
    context.executor = f"executor-{os.getpid()}-{id(context)}"
    label: Any = {"label": f"portfire.executor={context.executor}"}

    def containers() -> list[Any]:
        return client.containers.list(all=True, filters=label, ignore_removed=True)

    yield containers
    left = containers()
    remove_containers(executor=context.executor)
    assert left == []


@pytest.fixture
def run(docker_engine: str, ours: Run) -> Run:  # noqa: ARG001 - checks the end
    """Runs a DockerTask with /data as the internal prefix."""

    def run_task(command: object, **parameters: Any) -> dict[str, Any]:
        defaults = {"name": "t", "image": docker_engine, "internal_prefix": "/data"}
        task = DockerTask(**{**defaults, "storage_prefix": "run", "command": command, **parameters})
        stored: dict[str, Any] = task.run_task({}).stored_data
        return stored

    return run_task


def failure(run: Run, command: object, **parameters: Any) -> PhaseError:
    with pytest.raises(PhaseError) as caught:
        run(command, **parameters)
    assert "\n" not in str(caught.value)
    json.dumps(caught.value.to_dict())
    return caught.value


def sh(line: str) -> list[str]:
    return ["sh", "-c", line]


def test_files_and_trees_go_in_and_out(run: Run, context: RecordingContext, store: Path) -> None:
    (store / "run/in/empty").mkdir(parents=True)
    (store / "run/in/a").write_text("one\n")
    (store / "run/b").write_text("two\n")
    stored = run(
        sh("cd /data; cat in/a b > out/both; mkdir tree/e; ls in > tree/l"),
        inputs=["/data/in/", "/data/b"],
        outputs=["/data/out/both", "/data/tree/", "> /data/printed"],
    )
    assert (store / "run/out/both").read_text() == "one\ntwo\n"
    assert (store / "run/tree/l").read_text() == "a\nempty\n"
    assert (store / "run/tree/e").is_dir()
    assert (store / "run/printed").read_text() == ""
    assert stored["exit_code"] == 0
    assert stored["bytes"]["stage_in"] == 8
    assert len(context.types) == 6
    assert context.fields("execution.finished")["metrics"]["seconds"] > 0


def test_the_command_finds_its_trace(
    run: Run, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACEPARENT", "00-1-2-01")
    for environment, found in (({}, "00-1-2-01"), ({"TRACEPARENT": "own"}, "own")):
        run(sh("echo $TRACEPARENT"), environment=environment, outputs=["> /data/said"])
        assert (store / "run/said").read_text().strip() == found


def test_outputs_that_are_wanted_on_failure_are_stored_then(run: Run, store: Path) -> None:
    failure(
        run,
        sh("cd /data; echo 1 > result; echo 2 > core; echo 3 > plots/p; exit 3"),
        outputs=["/data/result"],
        outputs_on_failure=["/data/core", "plots/", "/data/unwritten"],
    )
    stored = [path.name for path in sorted(store.rglob("*")) if path.is_file()]
    assert stored == ["core", "p"]


def test_inputs_that_are_read_only_cannot_be_altered(run: Run, store: Path) -> None:
    (store / "run").mkdir()
    (store / "run/in").write_text("as it was\n")
    tries = sh("cat /data/in; echo x > /data/in")
    error = failure(run, tries, inputs=["in"], read_only_inputs=True)
    assert error.phase == "execution"
    assert "as it was" in error.details["output"]
    assert "Read-only" in error.details["output"]


@pytest.mark.parametrize(("name", "output"), [("x", "x"), ("data/", "data/sub/"), ("a/b", "a/")])
def test_read_only_inputs_are_no_outputs(run: Run, name: str, output: str) -> None:
    error = failure(run, ["true"], inputs=[name], outputs=[output], read_only_inputs=True)
    assert error.phase == "stage-in"
    assert "share files" in error.reason


def test_outputs_belong_to_the_executors_user(run: Run, store: Path) -> None:
    run(sh("id -u > /data/me"), outputs=["me"])
    assert (store / "run/me").read_text() == f"{os.getuid()}\n"
    assert (store / "run/me").stat().st_uid == os.getuid()


def test_printed_output_is_captured_and_logged(run: Run, store: Path) -> None:
    run(
        sh("echo out; echo err >&2"),
        name="print",
        outputs=[">/data/printed", ">>/data/log/task.log"],
    )
    assert sorted((store / "run/printed").read_text().split()) == ["err", "out"]
    (log,) = (store / "run/log").iterdir()
    assert log.name.endswith("_task.log")
    text = log.read_text()
    assert text.index("DockerTask: print") < text.index("out\n") < text.index("SUCCESSFUL")
    assert "image id: sha256:" in text


def test_a_failed_command_stores_its_log_and_nothing_else(
    run: Run, context: RecordingContext, store: Path
) -> None:
    error = failure(
        run,
        sh("echo said; echo half > /data/out; exit 3"),
        outputs=["/data/out", ">/data/printed", ">>/data/log"],
    )
    assert error.phase == "execution"
    assert "exit code 3" in error.reason
    assert "said" in error.to_dict()["output"]
    (log,) = (store / "run").iterdir()
    assert "FAILED" in log.read_text()
    assert context.types[-1] == "execution.finished"


def test_a_command_as_text_is_split_without_a_shell(run: Run, store: Path) -> None:
    run("echo 'one argument' $HOME", outputs=[">said"])
    assert (store / "run/said").read_text() == "one argument $HOME\n"


def test_an_empty_output_counts_and_a_missing_one_does_not(run: Run, store: Path) -> None:
    run(sh(": > /data/empty"), outputs=["/data/empty"])
    assert (store / "run/empty").read_bytes() == b""
    error = failure(run, ["true"], outputs=["/data/file", "/data/tree/"])
    assert error.phase == "stage-out"
    assert "'file', 'tree/'" in error.reason


def test_local_storage_is_mounted_itself(run: Run, context: RecordingContext, store: Path) -> None:
    (store / "run").mkdir()
    (store / "run/a").write_text("1\n")
    run(
        ["cp", "/data/a", "/data/b"],
        storage="local",
        workdir=str(store),
        inputs=["a"],
        outputs=["b"],
    )
    assert (store / "run/b").read_text() == "1\n"
    assert context.types == ["execution.started", "execution.finished"]
    failure(run, ["true"], storage="local", workdir=str(store), outputs=["c"])
    assert not (store / "run/c").exists()


def test_a_symlink_in_local_storage_mounts_nothing_outside(
    run: Run, store: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("1")
    (store / "run").mkdir()
    (store / "run/out").symlink_to(tmp_path / "outside")
    cases: list[dict[str, Any]] = [
        {"inputs": ["out/secret"]},
        {"inputs": ["out/"]},
        {"outputs": ["out/new"]},
    ]
    for files in cases:
        error = failure(run, ["true"], storage="local", workdir=str(store), **files)
        assert "by a symbolic link" in error.reason
    assert [path.name for path in (tmp_path / "outside").iterdir()] == ["secret"]


def test_a_command_that_is_not_in_the_image_is_refused(run: Run) -> None:
    error = failure(run, ["no-such-program"])
    assert isinstance(error, JobError)
    assert "no-such-program" in error.reason


def test_an_image_that_is_nowhere_is_named(run: Run) -> None:
    error = failure(run, ["true"], image="127.0.0.1:9/nobody/nothing:7")
    assert error.phase == "execution"
    assert "127.0.0.1:9/nobody/nothing:7" in error.reason


def test_a_timeout_stops_the_container(run: Run, store: Path) -> None:
    error = failure(run, sh("echo begun; sleep 60"), timeout=1, outputs=[">>log"])
    assert "timed out after 1 s" in error.reason
    assert error.to_dict()["timed_out"] is True
    (log,) = (store / "run").iterdir()
    assert "begun" in log.read_text()


def test_an_interruption_stops_the_container(
    run: Run, ours: Callable[[], list[Any]], store: Path
) -> None:
    def interrupt(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's signature
        raise JobInterrupted("the job was stopped")

    def send() -> None:
        wait_until(lambda: [c for c in ours() if c.status == "running"], what="the container")
        os.kill(os.getpid(), signal.SIGTERM)

    previous = signal.signal(signal.SIGTERM, interrupt)
    sender = threading.Thread(target=send)
    sender.start()
    try:
        with pytest.raises(JobInterrupted):
            run(["sleep", "60"], outputs=[">>log"])
    finally:
        sender.join()
        signal.signal(signal.SIGTERM, previous)
    assert list(store.iterdir()) == []


def test_100_mb_of_output_stay_out_of_memory(run: Run, store: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run(sh("head -c 100000000 /dev/zero | tr '\\0' x"), outputs=[">big"])
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert (store / "run/big").stat().st_size == 100_000_000
    assert grown < 30_000  # KiB
    (store / "run/big").unlink()


def test_containers_left_behind_are_found_by_their_labels(
    client: docker.DockerClient,
    docker_engine: str,
    ours: Callable[[], list[Any]],
    context: RecordingContext,
) -> None:
    for job, attempt in (("a", 1), ("a", 2), ("b", 1)):
        labels = job_labels(replace(context, job=job, attempt=attempt))
        client.containers.run(docker_engine, ["sleep", "60"], labels=labels, detach=True)
    assert remove_containers(executor="another") == 0
    assert remove_containers(executor=context.executor, job="a", attempt=1) == 1
    assert remove_containers(executor=context.executor, job="a") == 1
    assert len(ours()) == 1
    assert remove_containers(executor=context.executor) == 1
    assert ours() == []


def test_a_container_that_somebody_removed_is_no_fault_of_the_job(
    run: Run, ours: Callable[[], list[Any]], context: RecordingContext
) -> None:
    def remove() -> None:
        wait_until(lambda: [c for c in ours() if c.status == "running"], what="the container")
        remove_containers(executor=context.executor, job=context.job)

    remover = threading.Thread(target=remove)
    remover.start()
    error = failure(run, ["sleep", "60"])
    remover.join()
    assert error.reason


def test_an_engine_that_is_not_there_is_said_in_one_line(
    context: RecordingContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    task = DockerTask(
        name="t", image="x:1", command=["true"], internal_prefix="/d", storage_prefix=""
    )
    with pytest.raises(PhaseOutageError) as caught:
        task.run_task({})
    assert isinstance(caught.value, ServiceError)
    assert caught.value.reason == (
        f"no Docker Engine answers at unix://{tmp_path}/no.sock: "
        "install or start it on this executor, or set DOCKER_HOST"
    )
    assert caught.value.phase == "execution"
    assert context.fields("execution.finished")["error"] == caught.value.reason
    assert remove_containers(executor="e") == 0


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"internal_prefix": "relative"}, "internal_prefix"),
        ({"internal_prefix": "/a/../b"}, "internal_prefix"),
        ({"inputs": ["/elsewhere/x"]}, "not below internal_prefix"),
        ({"inputs": ["/database/x"]}, "not below internal_prefix"),
        ({"inputs": ["/data/../x"]}, "'..'"),
        ({"outputs": ["/data/"]}, "empty"),
        ({"outputs": [">/data/tree/"]}, "expected a file"),
        ({"outputs": [7]}, "expected a path"),
        ({"outputs": ["/data/x", "x"]}, "twice"),
        ({"storage_prefix": "gs://bucket?x"}, "no query"),
        ({"storage_prefix": "a/../.."}, "storage prefix"),
        ({"image": ""}, "image"),
        ({"image": 7}, "image"),
        ({"command": "'open"}, "command"),
        ({"command": {"a": 1}}, "command"),
        ({"timeout": -1}, "timeout"),
    ],
)
def test_a_wrong_parameter_is_named(
    context: RecordingContext, parameters: dict[str, Any], said: str
) -> None:
    defaults = {"name": "t", "image": "x:1", "command": ["true"], "storage_prefix": ""}
    task = DockerTask(**{"internal_prefix": "/data", **defaults, **parameters})
    with pytest.raises(PhaseFailedError) as caught:
        task.run_task({})
    assert said in caught.value.reason
    assert context.events == []


@pytest.mark.parametrize(
    ("parameter", "said"),
    [
        ("memroy", "'memroy' is no parameter of this task: did you mean memory?"),
        ("zzz", "'zzz' is no parameter of this task: the documentation lists all"),
    ],
)
def test_a_misspelt_parameter_is_refused(
    context: RecordingContext, parameter: str, said: str
) -> None:
    document = {"name": "t", "image": "x:1", "command": ["true"], "internal_prefix": "/data"}
    task = DockerTask.from_dict({**document, "storage_prefix": "", parameter: "64m"})
    with pytest.raises(PhaseFailedError) as caught:
        task.run_task({})
    assert caught.value.reason == said
    assert context.events == []


def test_it_travels_through_fireworks() -> None:
    task = DockerTask(name="t", image="x:1", command="ls", internal_prefix="/d", storage_prefix="p")
    document = json.loads(json.dumps(Firework([task]).to_dict()))
    assert type(Firework.from_dict(document).tasks[0]) is DockerTask
