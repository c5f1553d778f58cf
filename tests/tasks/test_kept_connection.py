"""The connection to the engine that a thread keeps from one job to the next."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import docker
import pytest
import requests

from executor.containers import kept
from executor.containers.kept import kept_connection
from executor.docker_task import DockerTask
from messaging.errors import ServiceError
from tests.tasks.conftest import RecordingContext


@pytest.fixture
def asked(docker_engine: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:  # noqa: ARG001 - started first
    """Method and last part of each request to the engine, in order. Nothing is kept yet."""
    monkeypatch.setattr(kept, "_thread", kept._Thread())
    requests_made: list[str] = []
    send = requests.Session.send

    def record(
        self: requests.Session, request: requests.PreparedRequest, **options: object
    ) -> requests.Response:
        last = (request.url or "").partition("?")[0].rpartition("/")[2]
        requests_made.append(f"{request.method} {last}")
        return send(self, request, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(requests.Session, "send", record)
    return requests_made


def used() -> docker.APIClient:
    """The connection, after it was used."""
    with kept_connection() as client:
        assert client.ping()
    return client


@pytest.mark.usefixtures("asked")
def test_the_next_job_has_the_same_connection() -> None:
    assert used() is used()


@pytest.mark.usefixtures("asked")
def test_threads_have_connections_of_their_own() -> None:
    together = threading.Barrier(4, timeout=30)

    def two_jobs() -> docker.APIClient:
        first = used()
        together.wait()
        assert used() is first
        return first

    with ThreadPoolExecutor(4) as pool:
        clients = [job.result(60) for job in [pool.submit(two_jobs) for _ in range(4)]]
    assert len({id(client) for client in clients}) == 4


@pytest.mark.usefixtures("asked")
def test_after_trouble_there_is_another_one() -> None:
    with pytest.raises(KeyboardInterrupt), kept_connection() as before:
        raise KeyboardInterrupt
    assert used() is not before


def test_after_a_pause_the_engine_is_asked_for_its_version(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "_SURE", 0.0)
    before = used()
    asked.clear()
    with kept_connection() as client:
        assert client is before
    assert asked == ["GET _ping"]


def test_an_engine_of_another_version_gets_another_connection(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "_SURE", 0.0)
    before = used()
    monkeypatch.setattr(before, "_version", "1.25")
    assert used() is not before
    assert asked.count("GET version") == 2


@pytest.mark.usefixtures("asked")
def test_another_address_is_another_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    used()
    monkeypatch.setenv("DOCKER_HOST", f"unix:///nowhere-{os.getpid()}.sock")
    with pytest.raises(ServiceError, match="no Docker Engine answers at unix:///nowhere"):
        used()


@pytest.mark.usefixtures("context")
def test_a_job_costs_few_requests(docker_engine: str, asked: list[str]) -> None:
    task = DockerTask(
        name="t", image=docker_engine, command=["true"], internal_prefix="/data", storage_prefix=""
    )
    task.run_task({})
    asked.clear()
    task.run_task({})
    # A slow machine may see a first sample of what it uses, or a pause.
    made = [request for request in asked if request not in ("GET stats", "GET _ping")]
    assert [request.partition(" ")[0] for request in made] == ["GET", *["POST"] * 4, "DELETE"]


def test_nothing_is_taken_for_success_but_the_engines_word(
    docker_engine: str, context: RecordingContext
) -> None:
    task = DockerTask(
        name="t",
        image=docker_engine,
        command=["sh", "-c", "exec >&- 2>&-; sleep 1; exit 3"],
        internal_prefix="/data",
        storage_prefix="",
    )
    with pytest.raises(Exception, match="exit code 3"):
        task.run_task({})
    assert context.fields("execution.finished")["exit_code"] == 3
