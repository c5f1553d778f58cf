"""Which containers are kept, for how long, and what replaces one that is gone."""

from __future__ import annotations

import logging
import random
import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import docker
import pytest

from executor.containers.spec import Resources
from executor.warm.container import NotReusableError
from messaging.errors import JobInterrupted, ServiceError
from tests.tasks.warm.conftest import Slot
from tests.tasks.warm.shells import shell_image
from tests.waiting import wait_until


def test_other_settings_have_another_container(slot: Slot) -> None:
    slot.run(["true"])
    slot.run(["true"], environment={"A": "1"})
    slot.run(["true"], resources=Resources(memory=64 << 20))
    slot.run(["true"], prefix="/other")
    assert len(slot.containers()) == 4


def test_command_entrypoint_and_times_are_the_jobs_own(slot: Slot) -> None:
    slot.run(["true"])
    slot.run("b c", entrypoint=["echo", "a"], timeout=9.0, stop_grace=1.0, labels={"of": "job"})
    assert slot.said == "a b c\n"
    assert len(slot.containers()) == 1


def test_the_least_recently_used_one_makes_room(slot: Slot) -> None:
    slot.reopen(limit=2)
    names = {}
    for user in ("1:1", "2:2", "1:1", "3:3"):
        slot.run(["hostname"], user=user)
        names[user] = slot.said.strip()
    left = {container[:12] for container in slot.containers()}
    assert left == {names["1:1"], names["3:3"]}


def test_idle_ones_go_and_the_next_job_starts_another(slot: Slot) -> None:
    slot.reopen(idle_seconds=0.3)
    for _ in range(2):
        assert slot.run(["true"]).cause == "success"
        wait_until(lambda: slot.containers() == [])
        wait_until(lambda: list((slot.directory / "kept").iterdir()) == [])


@pytest.mark.parametrize("how", ["remove_container", "kill", "stop", "restart"])
def test_one_that_ended_while_idle_is_replaced(
    slot: Slot, client: docker.APIClient, how: str
) -> None:
    slot.run(["true"])
    (container,) = slot.containers()
    options = {"remove_container": {"force": True}, "kill": {}}.get(how, {"timeout": 0})
    getattr(client, how)(container, **options)
    assert slot.run(["echo", "here"]).cause == "success"
    assert slot.said == "here\n"
    assert container not in slot.containers()


def test_one_that_does_not_answer_is_replaced(
    slot: Slot, client: docker.APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("executor.warm.run._BEGINNING", 1.0)
    slot.run(["true"])
    (container,) = slot.containers()
    client.pause(container)
    slot.next_job()
    (slot.files / "in").touch()
    slot.again(["sh", "-c", "ls /data; echo once >> /data/runs"])
    assert slot.said == "in\n"
    assert (slot.files / "runs").read_text() == "once\n"
    assert container not in slot.containers()


def test_an_image_without_a_shell_is_refused_with_one_warning(
    make_slot: Callable[[str], Slot], client: docker.APIClient, caplog: pytest.LogCaptureFixture
) -> None:
    slot = make_slot(shell_image(client, ""))
    slot.next_job()
    (slot.files / "in").touch()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            with pytest.raises(NotReusableError, match="no usable sh"):
                slot.again(["echo", "x"])
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert (slot.files / "in").exists()
    assert slot.containers() == []


@pytest.mark.parametrize(
    "settings",
    [{"environment": {"a.b": "1"}}, {"environment": {"UID": "1"}}, {"prefix": "/"}],
)
def test_what_a_shell_cannot_keep_is_refused(slot: Slot, settings: dict[str, Any]) -> None:
    with pytest.raises(NotReusableError):
        slot.run(["true"], **settings)
    assert slot.containers() == []
    assert slot.run(["true"]).cause == "success"


def test_files_on_another_file_system_are_refused(slot: Slot, tmp_path: Path) -> None:
    shared_memory = Path("/dev/shm")
    if shared_memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is only one file system")
    slot.next_job()
    slot.files.rmdir()
    elsewhere = shared_memory / slot.executor
    elsewhere.mkdir()
    (elsewhere / "in").touch()
    slot.files.symlink_to(elsewhere)
    try:
        with pytest.raises(NotReusableError, match="two file systems"):
            slot.again(["true"])
        assert (elsewhere / "in").exists()
    finally:
        (elsewhere / "in").unlink()
        elsewhere.rmdir()


def test_an_engine_that_is_away_is_infrastructure(
    slot: Slot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    with pytest.raises(ServiceError, match="no Docker Engine answers"):
        slot.run(["true"])


def test_without_its_slot_a_kept_container_ends_by_itself(
    slot: Slot, client: docker.APIClient
) -> None:
    slot.run(["true"])
    (container,) = slot.containers()
    slot.warm._kept[0].remove(None)  # what the end of the process does
    wait_until(lambda: not client.inspect_container(container)["State"]["Running"])


def test_an_interruption_at_any_moment_leaves_nothing_wrong(slot: Slot) -> None:
    chance = random.Random(4)
    armed = False

    def interrupt(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's signature
        nonlocal armed
        if armed:
            armed = False
            raise JobInterrupted("stop")

    before = signal.signal(signal.SIGALRM, interrupt)
    interrupted = 0
    try:
        for _ in range(40):
            # From the first step to after the end, with a container's start and without.
            signal.setitimer(
                signal.ITIMER_REAL, chance.choice((0.01, 0.5)) * chance.random() + 1e-4
            )
            armed = True
            try:
                slot.sh("sleep 0.005; exit $(( $$ % 2 ))", stop_grace=0.2)
            except JobInterrupted:
                interrupted += 1
            armed = False
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert interrupted > 5
    assert slot.run(["echo", "here"]).cause == "success"
    assert slot.said == "here\n"
    assert len(slot.containers()) == 1
