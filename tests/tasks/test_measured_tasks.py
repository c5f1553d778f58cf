"""What programs and containers use, in the same words; and what they said before they failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from executor.containers.finding import remove_containers
from executor.docker_task import DockerTask
from executor.failures import PhaseError
from executor.raw_job import run_raw_job
from messaging.wire import RawJob
from tests.tasks.commands import failure, run
from tests.tasks.conftest import RecordingContext

#: Busy for some seconds, with at least 50 MB in memory.
BUSY = (
    'data=$(head -c 50000000 /dev/zero | tr "\\0" x); end=$(($(date +%s) + 5)); '
    'while [ $(date +%s) -lt $end ]; do :; done; [ "$data" ]'
)
COMMON = {"cpu_seconds", "cpu_mean", "cpu_peak", "memory", "memory_mean"}
DISKS = {"block_read", "block_written"}

Docker = Callable[..., Any]


@pytest.fixture
def in_docker(docker_engine: str, context: RecordingContext) -> Iterator[Docker]:
    def run_task(line: str) -> Any:
        return DockerTask(
            name="t",
            image=docker_engine,
            internal_prefix="/data",
            storage_prefix="run",
            command=["sh", "-c", line],
        ).run_task({})

    yield run_task
    remove_containers(executor=context.executor)


def samples(context: RecordingContext) -> list[dict[str, Any]]:
    return [fields for kind, fields in context.events if kind == "job.execution.sample"]


def check(metrics: dict[str, Any], seen: list[dict[str, Any]]) -> None:
    """That a busy program's figures fit each other, and its samples."""
    assert metrics["memory"] >= metrics["memory_mean"] > 5_000_000
    assert metrics["memory"] > 50_000_000
    assert 0 < metrics["cpu_mean"] <= metrics["cpu_peak"]
    assert metrics["cpu_seconds"] > 0.3
    assert seen
    assert {"time", "cpu_seconds", "memory", *DISKS} <= set(seen[0])
    assert max(sample["memory"] for sample in seen) <= metrics["memory"]
    assert max(sample["cpu_seconds"] for sample in seen) <= metrics["cpu_seconds"] + 0.01


def test_a_program_is_measured_and_sampled(context: RecordingContext) -> None:
    context.samples = True
    run(BUSY)
    metrics = context.fields("execution.finished")["metrics"]
    assert set(metrics) == {"seconds", *COMMON, *DISKS, "read", "written"}
    assert metrics["read"] > 50_000_000
    check(metrics, samples(context))


def test_nobody_is_told_samples_who_did_not_ask(context: RecordingContext) -> None:
    run("sleep 3")
    assert samples(context) == []
    assert set(context.fields("execution.finished")["metrics"]) >= COMMON


def test_a_short_program_is_counted_to_its_end(context: RecordingContext) -> None:
    run("head -c 3000000 /dev/zero > out")
    metrics = context.fields("execution.finished")["metrics"]
    assert 3_000_000 <= metrics["written"] < 4_000_000
    assert metrics["read"] >= 3_000_000
    assert "memory_mean" not in metrics


def test_a_container_is_measured_and_sampled(context: RecordingContext, in_docker: Docker) -> None:
    context.samples = True
    in_docker(BUSY)
    metrics = context.fields("execution.finished")["metrics"]
    assert set(metrics) >= {"seconds", *COMMON, *DISKS, "network_received", "network_sent"}
    check(metrics, samples(context))


def test_the_last_lines_of_a_failed_program_are_in_its_event(context: RecordingContext) -> None:
    failure("seq 30; echo; printf 'caf\\351: no reads\\n' >&2; exit 3")
    output = context.fields("execution.finished")["output"]
    assert output.splitlines() == [*map(str, range(12, 31)), "caf\ufffd: no reads"]


def test_a_success_and_a_program_that_never_started_have_no_output(
    context: RecordingContext,
) -> None:
    run("echo fine")
    assert "output" not in context.fields("execution.finished")
    context.events.clear()
    failure(["no-such-program"])
    assert "output" not in context.fields("execution.finished")


def test_raw_jobs_and_containers_tell_their_last_lines_too(
    context: RecordingContext, in_docker: Docker, launch_directory: Path
) -> None:
    line = "echo reading; echo giving up >&2; exit 3"
    run_raw_job(RawJob(executable="sh", args=["-c", line]), "raw", launch_directory)
    assert context.fields("execution.finished")["output"] == "reading\ngiving up"
    context.events.clear()
    with pytest.raises(PhaseError):
        in_docker(line)
    # The engine's two streams have no order between them.
    output = context.fields("execution.finished")["output"]
    assert set(output.splitlines()) == {"reading", "giving up"}
