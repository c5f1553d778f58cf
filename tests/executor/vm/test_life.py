"""`portfire executor` on a VM: a real process, told by metadata, preempted, idle, and deleted."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from executor.vm.place import ATTRIBUTES
from messaging.wire import LaunchJob, decode_job
from tests.executor import workflows
from tests.executor.engine import Engine
from tests.executor.installation import Installation
from tests.executor.vm.conftest import VM, Announce, StartService
from tests.executor.workflows import launch, py_task
from tests.faults.site import Daemon
from tests.services.gce import FakeGce, Fault
from tests.services.metadata_server import MetadataServer
from tests.waiting import wait_until

#: What Portfire promises of a preemption, in seconds.
PROMISE = 10.0


def run_a_job(
    installation: Installation, tmp_path: Path, function: object = workflows.wait_for_file
) -> tuple[LaunchJob, Path]:
    """A job that runs now, and the file that ends it."""
    go, running = tmp_path / "go", tmp_path / "running"
    files = (str(running),) if function is workflows.stubborn else (str(go), str(running))
    job = launch(1, py_task(function, *files))
    installation.submit(job)
    wait_until(running.exists, what="the job")
    return job, go


@contextmanager
def repeating(announce: Announce, **state: int) -> Iterator[None]:
    """Announce the pool's state until the end: executors may not listen yet at first."""
    done = threading.Event()

    def go_on() -> None:
        while not done.wait(0.2):
            announce(**state)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_it_is_called_like_its_vm_and_obeys_its_attributes(
    installation: Installation, metadata: MetadataServer, start_service: StartService
) -> None:
    metadata.set_attributes(threads="3", thread="5")
    service = start_service(THREADS="2")
    ready = installation.event("executor.ready")
    assert (ready["executor"], ready["threads"]) == (VM, 3)
    assert service.said.count("attribute thread is no setting and not used: did you mean thr") == 1
    service.send(signal.SIGTERM)
    assert service.wait() == 0


def test_quit_soon_lets_the_running_job_end_and_deletes_the_vm(
    installation: Installation,
    metadata: MetadataServer,
    start_service: StartService,
    gce: FakeGce,
    tmp_path: Path,
) -> None:
    # The grace is for other stops.
    service = start_service(gce=gce)
    metadata.set_attributes(quit="banana")
    _, go = run_a_job(installation, tmp_path)
    wait_until(lambda: "attribute quit is 'banana'" in service.said, what="the complaint")
    metadata.set_attributes(quit="soon")
    assert installation.event("executor.draining")["reason"] == "quit=soon"
    installation.submit(launch(2, py_task("time.sleep", 0)))
    go.touch()
    assert service.wait(60.0) == 0
    assert [each.launch_id for each in installation.finished()] == [1]
    [left] = installation.waiting_jobs()
    assert decode_job(left.data).launch_id == 2  # type: ignore[union-attr]
    assert gce.called("instances.delete")
    assert service.said.count("banana") == 1


def test_quit_when_idle_waits_for_the_last_job_and_not_for_those_that_wait(
    installation: Installation,
    metadata: MetadataServer,
    start_service: StartService,
    announce: Announce,
    gce: FakeGce,
    tmp_path: Path,
) -> None:
    metadata.set_attributes(idle_for_rockets="1.5", idle_for_waiters="600")
    service = start_service(gce=gce)
    _, go = run_a_job(installation, tmp_path)
    with repeating(announce, waiting=7):
        waits = len(metadata.asked_for(ATTRIBUTES, waiting=True))
        metadata.set_attributes(quit="when-idle")
        # It has heard of it, for it waits for the next change.
        wait_until(
            lambda: len(metadata.asked_for(ATTRIBUTES, waiting=True)) > waits, what="the watch"
        )
        assert installation.seen("executor.draining") == []
        go.touch()
        assert service.wait(60.0) == 0
    assert installation.event("executor.draining")["reason"] == "quit=when-idle"
    assert len(installation.finished()) == 1
    assert gce.called("instances.delete")


def test_with_nothing_ready_it_goes_and_with_something_it_stays(
    installation: Installation,
    start_service: StartService,
    announce: Announce,
    gce: FakeGce,
) -> None:
    service = start_service(gce=gce, PORTFIRE_IDLE_FOR_ROCKETS="1", PORTFIRE_IDLE_FOR_WAITERS="600")
    began = time.monotonic()
    with repeating(announce, ready=1):
        wait_until(lambda: time.monotonic() - began > 3.0, what="three seconds of READY")
    with repeating(announce, waiting=1):
        wait_until(lambda: time.monotonic() - began > 6.0, what="three seconds of waiting")
    assert service.is_alive
    with repeating(announce):
        assert service.wait(60.0) == 0
    reason = installation.event("executor.draining")["reason"]
    assert reason == "idle for 1 s: nothing READY"
    assert gce.called("instances.delete")
    assert f"VM {VM} is being deleted" in service.said


def test_in_development_and_off_compute_engine_the_vm_stays(
    start_service: StartService, metadata: MetadataServer, gce: FakeGce
) -> None:
    metadata.set_attributes(quit="soon")
    kept = start_service("--development", gce=gce)
    assert kept.wait(60.0) == 0
    assert "this VM is kept: development" in kept.said
    elsewhere = start_service(
        gce=gce,
        GCE_METADATA_HOST="",
        PORTFIRE_IDLE_FOR_ROCKETS="0.5",
        PORTFIRE_IDLE_FOR_WAITERS="1",
    )
    assert elsewhere.wait(60.0) == 0
    assert "nothing READY, the dispatcher is silent" in elsewhere.said
    assert gce.called("instances.delete") == []


@pytest.mark.parametrize("function", [workflows.wait_for_file, workflows.stubborn])
def test_a_preempted_vm_gives_its_jobs_back_in_time(
    installation: Installation,
    metadata: MetadataServer,
    start_service: StartService,
    gce: FakeGce,
    tmp_path: Path,
    function: object,
) -> None:
    service = start_service(gce=gce)
    job, _ = run_a_job(installation, tmp_path, function)
    began = time.monotonic()
    metadata.preempt()
    [message] = installation.waiting_jobs(timeout=30.0)
    took = time.monotonic() - began
    assert service.wait(60.0) == 0
    assert took < PROMISE
    assert decode_job(message.data) == job
    assert message.delivery_attempt == 1
    assert installation.event("executor.draining")["reason"] == "preempted"
    assert installation.event("job.released")["reason"] == "the executor's VM is preempted"
    installation.event("executor.stopped")
    # It goes anyway; and whether it is deleted or stopped is its owner's to say.
    assert gce.called("instances.delete") == []


def test_the_container_of_a_preempted_job_is_told_and_gone(
    installation: Installation,
    metadata: MetadataServer,
    start_service: StartService,
    engine: Engine,
    tmp_path: Path,
) -> None:
    (tmp_path / "store").mkdir()
    place = (tmp_path / "store").as_uri()
    service = start_service("--log-format", "text", "--log-tasks", STORAGE=place)
    job = engine.name("job")
    line = "trap 'echo told' TERM; echo runs; while true; do sleep 0.1; done"
    installation.submit(launch(1, engine.task(line), job=job))
    wait_until(lambda: "runs" in service.said, timeout=60.0, what="the container")
    began = time.monotonic()
    metadata.preempt()
    [message] = installation.waiting_jobs(timeout=30.0)
    assert time.monotonic() - began < PROMISE
    assert message.delivery_attempt == 1
    assert service.wait(60.0) == 0
    assert "told" in service.said
    assert engine.of(job=job) == []


def test_preempted_while_it_quits_soon_it_does_not_wait_any_longer(
    installation: Installation,
    metadata: MetadataServer,
    start_service: StartService,
    tmp_path: Path,
) -> None:
    service = start_service()
    run_a_job(installation, tmp_path)
    metadata.set_attributes(quit="soon")
    installation.event("executor.draining")
    began = time.monotonic()
    metadata.preempt()
    assert installation.waiting_jobs(timeout=30.0)
    assert time.monotonic() - began < PROMISE
    assert service.wait(60.0) == 0
    installation.event("executor.stopped")
    reasons = [event["reason"] for event in installation.seen("executor.draining")]
    assert reasons == ["quit=soon", "preempted"]


def test_a_signal_means_preemption_on_a_vm_that_can_be_preempted(
    installation: Installation,
    metadata: MetadataServer,
    start_service: StartService,
    tmp_path: Path,
) -> None:
    metadata.make_preemptible()
    service = start_service()
    run_a_job(installation, tmp_path)
    began = time.monotonic()
    service.send(signal.SIGTERM)
    assert installation.waiting_jobs(timeout=30.0)
    assert time.monotonic() - began < PROMISE
    assert service.wait(60.0) == 0


def test_without_its_metadata_it_runs_jobs_all_the_same(
    installation: Installation,
    metadata: MetadataServer,
    start_service: StartService,
) -> None:
    metadata.troubles.status = 500
    service = start_service()
    installation.submit(launch(1, py_task("time.sleep", 0)))
    installation.finished()
    assert "going on without this VM's metadata" in service.said
    # One for the start, one for each of the two watches.
    wait_until(lambda: service.said.count(" with 500") >= 3, what="the watches' complaints")
    service.send(signal.SIGTERM)
    assert service.wait() == 0
    assert service.said.count(" with 500") == 3


def _error_line(service: Daemon) -> str:
    [line] = [line for line in service.said.splitlines() if line.startswith("portfire: ")]
    assert "Traceback" not in service.said
    return line


def test_after_an_error_the_vm_stays_for_a_while(
    metadata: MetadataServer, start_service: StartService, gce: FakeGce
) -> None:
    metadata.set_attributes(threads="four", linger_seconds="0.5")
    service = start_service(gce=gce)
    assert service.wait(60.0) == 2
    assert "metadata attribute threads is 'four'" in _error_line(service)
    assert "this VM will be deleted in 0.5 s" in service.said
    assert gce.called("instances.delete")


def test_whoever_stops_the_service_meanwhile_keeps_the_vm(
    metadata: MetadataServer, start_service: StartService, gce: FakeGce
) -> None:
    metadata.set_attributes(threads="four")
    service = start_service(gce=gce, until="this VM will be deleted in 900 s")
    service.send(signal.SIGTERM)
    assert service.wait() == -signal.SIGTERM
    assert gce.called("instances.delete") == []


def test_a_vm_that_may_not_be_deleted_is_switched_off(
    metadata: MetadataServer, start_service: StartService, gce: FakeGce, tmp_path: Path
) -> None:
    gce.faults.append(Fault("instances.delete", 403, "forbidden", "Required permission"))
    metadata.set_attributes(quit="soon")
    runtime = tmp_path / "run"
    runtime.mkdir()
    service = start_service(gce=gce, RUNTIME_DIRECTORY=str(runtime))
    assert service.wait(60.0) == 1
    assert "may not delete VM vm-1: give its service account" in _error_line(service)
    assert (runtime / "power-off").exists()
