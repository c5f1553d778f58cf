"""What tasks in a slot's child process use: measured, and cheap for short ones."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from executor.nursery import Nursery
from executor.records import ChildOptions
from tests.executor import workflows
from tests.executor.conversation import Conversation
from tests.executor.workflows import launch, py_task


@pytest.fixture
def sampling(nursery: Nursery, tmp_path: Path) -> Iterator[Conversation]:
    """Launches in a child whose executor wants samples."""
    child = nursery.spawn(ChildOptions("tester", 1, "local", {}, 60.0, samples=True))
    yield Conversation(child, tmp_path)
    child.kill()
    child.close()


def script(*lines: str) -> dict[str, object]:
    """A PyTask that runs a Python program as another process."""
    return py_task("subprocess.check_call", [sys.executable, "-c", "; ".join(lines)])


def test_a_long_task_is_sampled_with_what_it_started(sampling: Conversation) -> None:
    hungry = script(
        "import time",
        "data = bytearray(200_000_000)",
        "file = open('out', 'wb', 0)",
        "file.write(data[:3_000_000])",
        "end = time.monotonic() + 4.5",
        "sum(1 for _ in iter(time.monotonic, None) if _ > end and exit())",
    )
    sampling.run(launch(1, hungry))
    told = sampling.events()
    types = [event_type.removeprefix("job.execution.") for event_type, _ in told]
    assert types[0] == "started"
    assert types[-1] == "finished"
    samples = [fields for event_type, fields in told if event_type == "job.execution.sample"]
    assert len(types) == len(samples) + 2
    assert samples
    assert samples[0]["time"] >= 1.8
    assert samples[0]["memory"] > 200_000_000
    metrics = told[-1][1]["metrics"]
    assert metrics["memory"] >= metrics["memory_mean"] > 200_000_000
    assert metrics["written"] >= 3_000_000
    assert metrics["cpu_seconds"] > 0.5
    assert 0 < metrics["cpu_mean"] <= metrics["cpu_peak"]


def test_a_short_task_has_exact_figures_and_no_sample(sampling: Conversation) -> None:
    sampling.run(launch(1, script("open('out', 'wb').write(bytes(5_000_000))")))
    [_, (_, finished)] = sampling.events()
    assert finished["metrics"]["written"] >= 5_000_000
    assert finished["metrics"]["cpu_seconds"] > 0
    assert not {"cpu_mean", "memory_mean"} & set(finished["metrics"])


def test_the_peak_of_a_short_task_is_known_when_it_is_the_processes_highest(
    talk: Conversation,
) -> None:
    talk.run(launch(1, py_task("operator.mul", "x", 300_000_000)))
    [_, (_, finished)] = talk.events()
    assert 300_000_000 < finished["metrics"]["memory"] < 600_000_000
    talk.run(launch(2, py_task("time.sleep", 0)))
    [_, (_, finished)] = talk.events()
    assert "memory" not in finished["metrics"]


def test_no_job_costs_a_thread(talk: Conversation) -> None:
    names = py_task(workflows.thread_names, stored_data_varname="threads")
    seen = [talk.run(launch(n, names)).action["stored_data"]["threads"] for n in range(1, 6)]
    assert [threads.count("watcher") for threads in seen] == [1] * 5
