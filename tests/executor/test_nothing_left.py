"""What executors leave behind on their machine: nothing, however they and their jobs end."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from executor.containers.finding import warm_job
from executor.daemon import Executor
from executor.held_job import HeldJobs
from executor.housekeeping import Housekeeping
from tests.executor import workflows
from tests.executor.engine import Engine
from tests.executor.installation import Installation, held
from tests.executor.processes import executor_process, runs
from tests.executor.workflows import launch, py_task
from tests.waiting import wait_until

Start = Callable[..., Executor]


def private_directories(workdir: Path) -> list[Path]:
    return [path for path in workdir.glob("*/.portfire-*") if path.parent.name != ".portfire"]


@pytest.mark.parametrize("with_children", [False, True])
def test_the_next_executor_clears_up_after_a_killed_one_and_after_no_other(
    installation: Installation,
    start_executor: Start,
    engine: Engine,
    store: dict[str, Any],
    with_children: bool,
) -> None:
    dead, living = engine.name("dead"), engine.name("living")
    job = launch(1, engine.task("sleep 300", outputs=["/data/out/"]), job=engine.name("first"))
    victim = executor_process(installation, executor_id=dead, **store)
    try:
        installation.submit(job)
        wait_until(lambda: engine.of(executor=dead), timeout=40, what="the container")
        family = psutil.Process(victim.pid).children(recursive=True)
        start_executor(executor_id=living, **store)
        second = launch(2, engine.task("sleep 300"), job=engine.name("second"))
        installation.submit(second)
        wait_until(lambda: engine.of(executor=living), timeout=40, what="the other container")
    finally:
        victim.kill()
        for process in family if with_children else []:
            with contextlib.suppress(psutil.Error):
                process.kill()
        victim.wait()
    assert private_directories(installation.workdir)
    [kept] = engine.of(executor=living)

    start_executor(pool="idle", **store)
    wait_until(lambda: not engine.of(executor=dead), timeout=40, what="the container's end")
    residents = installation.workdir / ".portfire/executors"
    wait_until(lambda: not (residents / dead).exists(), what="the clearing up")
    first = list(installation.workdir.glob(f"{job.job}*/.portfire-*"))
    wait_until(lambda: not any(path.exists() for path in first), what="no private directory")
    wait_until(lambda: not any(runs(process.pid) for process in family), what="no process")
    assert engine.of(executor=living) == [kept]
    assert (residents / living).exists()


def test_an_executor_leaves_no_entry_when_it_stops(
    installation: Installation, start_executor: Start, engine: Engine, store: dict[str, Any]
) -> None:
    executor = start_executor(executor_id=engine.name("e"), **store)
    installation.submit(launch(1, engine.task("true"), job=engine.name("job")))
    assert installation.finished(timeout=40)[0].state == "COMPLETED"
    assert (installation.workdir / ".portfire/executors" / executor.id).exists()
    leftover = engine.begin(executor=executor.id, job="gone", attempt="1")
    executor.stop()
    assert list((installation.workdir / ".portfire/executors").iterdir()) == []
    assert not engine.has(leftover)
    assert private_directories(installation.workdir) == []


def test_a_job_that_comes_again_first_ends_the_container_that_runs_for_it(
    installation: Installation, start_executor: Start, engine: Engine
) -> None:
    job = engine.name("job")
    earlier = engine.begin(executor="another", job=job, attempt="1", prefix="portfire")
    namesake = engine.begin(executor="another", job=job, attempt="1", prefix="elsewhere")
    start_executor()
    installation.submit(launch(1, py_task("time.sleep", 0), job=job, attempt=2))
    installation.finished(timeout=40)
    assert not engine.has(earlier)
    assert engine.has(namesake)


def test_a_job_whose_process_was_killed_leaves_no_private_directory(
    installation: Installation, start_executor: Start, tmp_path: Path
) -> None:
    start_executor()
    installation.submit(launch(1, py_task(workflows.die_in_private, str(tmp_path / "mark"))))
    installation.update("released")
    installation.finished()
    left = Path((tmp_path / "mark").read_text())
    assert left.parent.exists()
    assert not left.exists()


def test_a_container_whose_job_is_over_is_removed_and_no_other(
    engine: Engine, tmp_path: Path
) -> None:
    executor = engine.name("e")
    lost = engine.begin(executor=executor, job="over", attempt="1")
    earlier = engine.begin(executor=executor, job="job-1", attempt="1")
    running = engine.begin(executor=executor, job="job-1", attempt="2")
    warm = engine.begin(executor=executor, job=warm_job(1, os.getpid()))
    others = engine.begin(executor=engine.name("other"), job="over", attempt="1")
    jobs = HeldJobs()
    jobs.add(held(launch(1, attempt=2)))
    housekeeping = Housekeeping(30.0, executor=executor, workdir=tmp_path, jobs=jobs)
    housekeeping.clear_up()
    assert engine.has(lost)  # an engine that no job has used is left alone
    housekeeping.note_engine()
    housekeeping.clear_up()
    assert not engine.has(lost)
    assert not engine.has(earlier)
    assert all(engine.has(container) for container in (running, warm, others))


def test_kept_containers_end_with_their_slots_process(
    installation: Installation, start_executor: Start, engine: Engine, store: dict[str, Any]
) -> None:
    executor = start_executor(executor_id=engine.name("e"), **store)
    installation.submit(launch(1, engine.task("true", reuse=True), job=engine.name("job-1")))
    installation.finished(timeout=40)
    [kept] = engine.of(executor=executor.id)
    installation.submit(launch(2, py_task(workflows.kill_self), max_attempts=1))
    installation.finished(2)
    assert not engine.has(kept)
    places = installation.workdir / ".portfire/executors" / executor.id
    assert not list(places.glob("warm-*"))


def test_nobody_is_told_lines_that_nobody_reads(
    installation: Installation, start_executor: Start
) -> None:
    start_executor()
    installation.submit(launch(1, py_task(workflows.context_facts, stored_data_varname="it")))
    [finished] = installation.finished()
    assert finished.action["stored_data"]["it"]["wants_output"] is False


def test_a_job_knows_the_settings_of_its_executor(
    installation: Installation, start_executor: Start
) -> None:
    start_executor(max_memory="1g", stop_grace=3.0, container_network="none")
    task = py_task(workflows.context_facts, stored_data_varname="it")
    installation.submit(launch(1, task, memory_step=2))
    [finished] = installation.finished()
    assert finished.action["stored_data"]["it"] == {
        "wants_output": False,
        "prefix": "portfire",
        "max_memory": 1 << 30,
        "stop_grace": 3.0,
        "container_network": "none",
        "image_turns": str(installation.workdir / ".portfire/pulls"),
        "memory_step": 2,
    }
