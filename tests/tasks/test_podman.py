"""DockerTask on Podman, which speaks Docker's API on a socket of its own, by DOCKER_HOST."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from executor.docker_task import DockerTask
from executor.failures import PhaseError
from tests.services.podman import IMAGE, start_podman
from tests.tasks.conftest import RecordingContext
from tests.waiting import wait_until

Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def podman() -> Iterator[str]:
    with start_podman() as address:
        yield address


@pytest.fixture
def containers(podman: str) -> Iterator[Callable[[], list[Any]]]:
    """Lists Podman's containers; at the end there must be none."""
    client = docker.DockerClient(base_url=podman, timeout=30)

    def listed() -> list[Any]:
        return client.containers.list(all=True, ignore_removed=True)

    yield listed
    assert listed() == []
    client.close()


@pytest.fixture
def run(
    podman: str,
    containers: object,  # noqa: ARG001 - checks the end
    context: RecordingContext,  # noqa: ARG001 - the job's
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """Runs a line of shell in /data."""
    monkeypatch.setenv("DOCKER_HOST", podman)

    def run_line(line: str, image: str = IMAGE, **parameters: Any) -> dict[str, Any]:
        task = DockerTask(
            name="t",
            image=image,
            command=["sh", "-c", line],
            internal_prefix="/data",
            storage_prefix="run",
            working_dir="/data",
            network="none",
            **parameters,
        )
        stored: dict[str, Any] = task.run_task({}).stored_data
        return stored

    return run_line


def failed(run: Run, line: str, **parameters: Any) -> dict[str, Any]:
    with pytest.raises(PhaseError) as caught:
        run(line, **parameters)
    assert "\n" not in str(caught.value)
    facts: dict[str, Any] = caught.value.to_dict()
    return facts


def test_files_go_in_and_out_and_all_that_it_prints_is_stored(run: Run, store: Path) -> None:
    (store / "run").mkdir()
    (store / "run/in").write_text("one\n")
    stored = run(
        "cat in > out; id -u >> out; echo deep > tree/deep; echo said; echo more >&2",
        inputs=["in"],
        outputs=["out", "tree/", ">said", ">>a.log"],
    )
    assert stored["exit_code"] == 0
    assert (store / "run/out").read_text() == f"one\n{os.getuid()}\n"
    assert (store / "run/tree/deep").read_text() == "deep\n"
    assert sorted((store / "run/said").read_text().split()) == ["more", "said"]
    [log] = (store / "run").glob("*_a.log")
    assert "SUCCESSFUL" in log.read_text()


def test_it_has_no_more_rights_than_on_docker(run: Run, store: Path) -> None:
    run("grep -E 'CapEff|NoNewPrivs' /proc/self/status > out", outputs=["out"])
    facts = dict(line.split(":\t") for line in (store / "run/out").read_text().splitlines())
    assert (int(facts["CapEff"], 16), facts["NoNewPrivs"]) == (0, "1")


@pytest.mark.parametrize(
    ("line", "parameters", "cause", "exit_code"),
    [
        ("exit 3", {}, "exit", 3),
        ("kill -SEGV $$", {}, "signal", 139),
        ("trap '' TERM; sleep 60", {"timeout": 1, "stop_grace": 0}, "timeout", 137),
    ],
)
def test_how_it_ended_is_told(
    run: Run, line: str, parameters: dict[str, Any], cause: str, exit_code: int
) -> None:
    facts = failed(run, line, **parameters)
    assert (facts["cause"], facts["exit_code"]) == (cause, exit_code)


def test_who_was_killed_from_outside_is_told_from_others(
    run: Run, containers: Callable[[], list[Any]]
) -> None:
    def kill() -> None:
        wait_until(lambda: [c for c in containers() if c.status == "running"], what="it")
        containers()[0].kill()

    killer = threading.Thread(target=kill)
    killer.start()
    facts = failed(run, "sleep 60")
    killer.join()
    assert (facts["cause"], facts["signal"], facts["retry"]) == ("killed", "SIGKILL", False)


def test_an_image_that_is_not_there_is_the_jobs_fault(run: Run) -> None:
    facts = failed(run, "true", image="localhost/portfire-test:none", pull="never")
    assert facts["phase"] == "execution"
    assert "is not on this executor" in facts["reason"]
