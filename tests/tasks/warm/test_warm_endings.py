"""Each way in which a job in a kept container can fail, provoked; then the next job runs."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from types import FrameType

import docker
import pytest

from executor.containers.spec import Resources
from messaging.errors import JobInterrupted, ServiceError
from tests.tasks.warm.conftest import Slot


@pytest.fixture(autouse=True)
def next_job_runs(slot: Slot) -> Iterator[None]:
    """In every test: its failed job's container is gone, and another job is not impaired."""
    yield
    assert slot.containers() == []
    assert slot.run(["true"]).cause == "success"


@pytest.mark.parametrize("first", [True, False])
def test_an_exit_code(slot: Slot, first: bool) -> None:
    if not first:
        slot.run(["true"])
    ended = slot.sh("exit 7")
    assert (ended.cause, ended.exit_code, ended.oom_killed) == ("exit", 7, False)


def test_a_command_that_is_not_there(slot: Slot) -> None:
    assert slot.run(["not-there"]).exit_code == 127
    assert "not-there" in slot.said


def test_a_signal(slot: Slot) -> None:
    ended = slot.sh("kill -SEGV $$")
    assert (ended.cause, ended.signal) == ("signal", "SIGSEGV")


def test_the_whole_output_of_a_failure_is_there(slot: Slot) -> None:
    ended = slot.sh("head -c 5000000 /dev/zero; exit 1")
    assert ended.exit_code == 1
    assert slot.printed.stat().st_size == 5_000_000


@pytest.mark.parametrize("line", ["kill -9 $PPID; sleep 60", "kill -9 -1; kill -9 $$"])
def test_a_job_that_kills_the_shell_is_no_success(slot: Slot, line: str) -> None:
    slot.run(["true"])
    ended = slot.sh(line)
    assert (ended.cause, ended.signal) == ("signal", "SIGKILL")


def test_out_of_memory_is_told_from_other_kills(slot: Slot) -> None:
    limit = Resources(memory=32 << 20)
    eat = "tail -c 100000000 /dev/zero"
    slot.run(["true"], resources=limit)
    ended = slot.sh(f"exec {eat}", resources=limit)
    assert (ended.cause, ended.signal) == ("out-of-memory", "SIGKILL")
    assert slot.sh("kill -9 $$", resources=limit).cause == "signal"


def test_an_earlier_job_that_ran_out_of_memory_is_not_held_against_this_one(slot: Slot) -> None:
    limit = Resources(memory=32 << 20)
    assert slot.sh("tail -c 100000000 /dev/zero; exit 0", resources=limit).cause == "success"
    assert slot.containers() == []
    ended = slot.sh("exit 5", resources=limit)
    assert (ended.cause, ended.oom_killed) == ("exit", False)


def test_a_kill_from_outside(slot: Slot, client: docker.APIClient) -> None:
    slot.run(["true"])
    (container,) = slot.containers()
    slot.next_job()
    with slot.when_begun(lambda: client.kill(container)):
        ended = slot.again(["sh", "-c", "touch /data/began; sleep 60"])
    assert (ended.cause, ended.foreign_signals) == ("killed", ("SIGKILL",))


def test_a_timeout_asks_the_job_first(slot: Slot) -> None:
    slot.run(["true"])
    began = time.monotonic()
    ended = slot.sh("trap 'echo asked; exit 9' TERM; sleep 60 & wait", timeout=1.0)
    assert time.monotonic() - began < 1.0 + 5.0 + 2.0
    assert (ended.cause, ended.exit_code, ended.timed_out) == ("timeout", 9, True)
    assert slot.said == "asked\n"


@pytest.mark.parametrize("line", ["trap '' TERM; sleep 60 & wait; sleep 60", "kill -STOP $$"])
def test_a_job_that_does_not_listen_is_killed_after_the_grace(slot: Slot, line: str) -> None:
    began = time.monotonic()
    ended = slot.sh(f"echo there; {line}", timeout=1.0, stop_grace=1.0)
    assert (ended.cause, ended.exit_code) == ("timeout", 137)
    assert slot.said == "there\n"
    assert time.monotonic() - began < 20.0  # with a container's start on a busy machine


def test_a_job_that_stops_the_shell_times_out(slot: Slot) -> None:
    ended = slot.sh("kill -STOP $PPID", timeout=1.0, stop_grace=1.0)
    assert ended.cause == "timeout"


def test_a_job_without_an_end_to_its_output_times_out(slot: Slot) -> None:
    ended = slot.sh("yes", timeout=0.5, stop_grace=0.5)
    assert ended.cause == "timeout"
    assert slot.printed.stat().st_size > 0


def test_an_interruption_stops_the_job_and_goes_on(slot: Slot) -> None:
    def interrupt(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's signature
        raise JobInterrupted("stop")

    def terminate() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    slot.run(["true"])
    before = signal.signal(signal.SIGTERM, interrupt)
    slot.next_job()
    line = "trap 'echo asked; exit' TERM; touch /data/began; sleep 60 & wait"
    try:
        with pytest.raises(JobInterrupted), slot.when_begun(terminate):
            slot.again(["sh", "-c", line])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert slot.said == "asked\n"


def test_a_container_that_somebody_removes_is_no_success(
    slot: Slot, client: docker.APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("executor.containers.watch._PATIENCE", 0.5)
    slot.run(["true"])
    (container,) = slot.containers()
    slot.next_job()
    with slot.when_begun(lambda: client.remove_container(container, force=True)):
        try:
            # The engine kills it first, and says so to who asks before it is gone.
            assert slot.again(["sh", "-c", "touch /data/began; sleep 60"]).cause == "killed"
        except ServiceError as exc:
            assert "No such container" in str(exc)  # noqa: PT017 - one of two right answers


def test_output_that_cannot_be_written_ends_the_job(slot: Slot) -> None:
    slot.next_job()
    slot.printed.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        slot.again(["yes"])
