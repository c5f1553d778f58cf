"""Jobs whose files go through the transfer process: stops, deaths, events and the input cache."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from executor.context import StandaloneContext
from executor.daemon import Executor
from executor.files.moving import AnnouncingWatch
from executor.records import Done
from messaging.errors import UsageError
from messaging.wire import LaunchJob
from storage_backends.service.client import RemoteBackend
from storage_backends.watch import TransferStoppedError
from tests.executor.conversation import Conversation
from tests.executor.installation import Installation
from tests.executor.processes import executor_process, runs
from tests.executor.workflows import launch
from tests.storage_backends.memory import MemoryBackend
from tests.storage_backends.serving import serving_one
from tests.storage_backends.stalling import Stall
from tests.waiting import wait_until

Start = Callable[..., Executor]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The directory behind the served backend."""
    directory = tmp_path / "store"
    directory.mkdir()
    return directory


def command(number: int, line: str, **fields: Any) -> LaunchJob:
    """A launch of a CommandTask that runs a line for the shell."""
    return launch(number, {"_fw_name": "CommandTask", "command": line, **fields})


@pytest.mark.parametrize("ask", ["interrupt", "kill"])
def test_the_upload_of_a_job_that_is_stopped_stops(talk: Conversation, ask: str) -> None:
    memory = MemoryBackend()
    stall = memory.before_block = Stall()
    with serving_one(memory) as talk.transfer_address:
        job = command(1, "head -c 1000000 /dev/zero > out", outputs=["out"], storage="nfs")
        talk.start(job)
        done: list[Done | None] = []
        wait_until_stalled = talk.end_in_thread(done)
        assert stall.begun.wait(20)
        getattr(talk.child, ask)()
        wait_until_stalled.join(20)
        assert done == [Done(None) if ask == "interrupt" else None]
        wait_until(lambda: stall.stopped, what="the stop of the upload")
    assert memory.files == {}


def test_a_stopped_child_runs_the_next_job(talk: Conversation) -> None:
    memory = MemoryBackend()
    stall = memory.before_block = Stall()
    with serving_one(memory) as talk.transfer_address:
        job = command(1, "head -c 1000000 /dev/zero > out", outputs=["out"], storage="nfs")
        talk.start(job)
        done: list[Done | None] = []
        conversation = talk.end_in_thread(done)
        assert stall.begun.wait(20)
        talk.child.interrupt()
        conversation.join(20)
        assert talk.run(job).state == "COMPLETED"
        assert len(memory.files["out"][0]) == 1_000_000


def test_a_long_transfer_is_announced(tmp_path: Path) -> None:
    memory = MemoryBackend()
    memory.put("in", bytes(200_000))
    memory.before_block = Stall()
    announced: list[tuple[str, dict[str, Any]]] = []

    class Listening(StandaloneContext):
        def emit(self, event_type: str, **fields: Any) -> None:
            announced.append((event_type, fields))
            if fields["bytes"]:
                watch.stop()

    watch = AnnouncingWatch("stage-in", Listening(), interval=0.3)
    with (
        serving_one(memory) as address,
        closing(RemoteBackend(lambda: address, "memory", {})) as backend,
        pytest.raises(TransferStoppedError),
    ):
        backend.fetch("in", tmp_path / "in", watch=watch)
    assert {event_type for event_type, _ in announced} == {"job.stage-in.progress"}
    last = announced[-1][1]
    assert last["bytes"] == 2 << 16
    assert last["time"] >= 0.3


def test_a_job_goes_through_the_transfer_process(
    installation: Installation, start_executor: Start, store: Path
) -> None:
    start_executor(storage="nfs", storage_options={"workdir": str(store)}, cache_gb=0.01)
    (store / "in").write_text("two words")
    (store / "tree/empty").mkdir(parents=True)
    (store / "tree/file").write_text("x")
    task = {"inputs": ["in", "tree/"], "outputs": ["out"]}
    installation.submit(command(1, "test -d tree/empty && wc -w < in > out", **task))
    assert [job.state for job in installation.finished()] == ["COMPLETED"]
    assert (store / "out").read_text().strip() == "2"
    fetched = installation.event("job.stage-in.finished")
    assert fetched["bytes"] == 10
    assert fetched["cached"] == 0
    named = [(file["name"], file["bytes"]) for file in fetched["files"]]
    assert named == [("in", 9), ("tree/", 1)]
    [stored] = installation.event("job.stage-out.finished")["files"]
    assert stored["name"] == "out"


def test_inputs_come_from_the_cache_until_they_change(
    installation: Installation, start_executor: Start, store: Path
) -> None:
    start_executor(storage="nfs", storage_options={"workdir": str(store)}, cache_gb=0.01)
    task = {"inputs": ["in"], "outputs": ["out"]}
    for number, content in enumerate(["first", "first", "second"], 1):
        if not (store / "in").exists() or (store / "in").read_text() != content:
            (store / "in").write_text(content)
        installation.submit(command(number, "chmod u+w in; cat in > out; echo x > in", **task))
        installation.finished(number)
        assert (store / "out").read_text() == content
    installation.wait(lambda: len(installation.seen("job.finished")) == 3, 20.0, "all events")
    ends = installation.seen("job.stage-in.finished")
    assert [end["cached"] for end in ends] == [0, 5, 0]


def test_the_death_of_the_transfer_process_costs_no_job(
    installation: Installation, start_executor: Start, store: Path, tmp_path: Path
) -> None:
    executor = start_executor(storage="nfs", storage_options={"workdir": str(store)}, threads=2)
    (store / "in").write_text("input")
    running, go = tmp_path / "running", tmp_path / "go"
    line = f"touch {running}; while [ ! -e {go} ]; do sleep 0.1; done; cp in out-$0"
    for number in (1, 2):
        task = {"inputs": ["in"], "outputs": [f"out-{number}"]}
        installation.submit(command(number, line.replace("$0", str(number)), **task))
    wait_until(running.exists, what="a job")
    pid = executor.transfers.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    go.touch()
    assert [job.state for job in installation.finished(2)] == ["COMPLETED"] * 2
    assert (store / "out-1").read_text() == (store / "out-2").read_text() == "input"
    assert executor.transfers.pid != pid


def test_a_wrong_default_storage_stops_the_start(
    installation: Installation, tmp_path: Path
) -> None:
    wrong = {"workdir": str(tmp_path / "not mounted")}
    executor = Executor(installation.settings(storage="nfs", storage_options=wrong))
    with pytest.raises(UsageError, match="not mounted"):
        executor.start()
    assert executor.transfers.pid is None


def test_nothing_is_left_of_a_killed_executor(installation: Installation, store: Path) -> None:
    options = {"workdir": str(store)}
    process = executor_process(installation, storage="nfs", storage_options=options)
    installation.event("executor.ready")
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 3  # the fork server, a slot's child, the transfer process
    process.kill()
    process.wait()
    wait_until(lambda: not [p for p in family if runs(p.pid)], what="the end of all its processes")
