"""What is counted of events, however they come."""

from __future__ import annotations

import time

import pytest

from events.exporters.collection import Collection
from events.exporters.ended_runs import LOST_SECONDS, POOL_SECONDS, SETTLE_SECONDS
from events.exporters.meters import METERS
from events.types import Event, decode, make_event
from tests.events.exporters.receiving import Seen
from tests.events.timelines import T0, Story, executor_event


class Clock:
    """Stands still unless told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def collection(seen: Seen, clock: Clock) -> Collection:
    return Collection([seen], clock=clock)


def ready(executor: str = "a", pool: str = "gpu") -> Event:
    return executor_event("executor.ready", 0, executor, pool=pool, threads=4)


def test_a_run_counts_once_when_it_has_settled(
    collection: Collection, seen: Seen, clock: Clock
) -> None:
    events = list(Story().run())
    collection.take([ready(), *events])
    assert seen.of("portfire_jobs_total") == {}
    clock.now = SETTLE_SECONDS
    collection.take([])
    collection.take(events)  # come again after a restart of Pub/Sub's
    clock.now = 1000.0
    collection.take([])
    collection.finish()
    assert seen.of("portfire_jobs_total") == {("gpu", "COMPLETED"): 1}
    assert seen.of("portfire_job_seconds") == {("gpu", "COMPLETED"): 10.0}
    assert seen.of("portfire_job_phase_seconds") == {
        ("gpu", "queued"): 3.0,
        ("gpu", "stage-in"): 1.0,
        ("gpu", "execution"): 7.0,
        ("gpu", "stage-out"): 2.0,
    }
    assert seen.of("portfire_bytes_total") == {
        ("gpu", "stage-in", "unknown"): 1000,
        ("gpu", "stage-out", "unknown"): 500,
    }
    assert seen.of("portfire_cached_bytes_total") == {("gpu",): 200}
    assert [job.job for job in seen.jobs] == ["1"]
    assert seen.of("portfire_job_failures_total") == {}


def test_an_end_that_comes_before_its_phases_counts_with_them(
    collection: Collection, seen: Seen, clock: Clock
) -> None:
    *phases, end = Story().run()
    collection.take([ready(), phases[0], end])
    collection.take(phases[1:])
    clock.now = SETTLE_SECONDS
    collection.take([])
    assert seen.of("portfire_job_phase_seconds")["gpu", "stage-out"] == 2.0


def test_failures_are_counted_by_phase(collection: Collection, seen: Seen) -> None:
    collection.take([ready(), *Story().run(state="FIZZLED", phase="execution", reason="no reads")])
    collection.take([executor_event("job.rejected", 1, "a", id="2", reason="no job")])
    collection.finish()
    assert seen.of("portfire_job_failures_total") == {("gpu", "execution"): 1}
    assert seen.of("portfire_jobs_total") == {("gpu", "FIZZLED"): 1, ("gpu", "rejected"): 1}


def test_processor_time_is_what_the_execution_says(collection: Collection, seen: Seen) -> None:
    for number, used in enumerate((1.5, 2, None, "much", -1)):
        events = [
            make_event({**event.model_dump(), "metrics": {"cpu_seconds": used}})
            if event.type == "job.execution.finished"
            else event
            for event in Story(str(number)).run()
        ]
        collection.take([ready(), *events])
    collection.finish()
    assert seen.of("portfire_job_cpu_seconds_total") == {("gpu",): 3.5}


def test_the_backend_is_what_the_stage_says(collection: Collection, seen: Seen) -> None:
    events = [
        event.model_copy(update={"backend": "gcs"}) if "stage-in" in event.type else event
        for event in Story().run()
    ]
    collection.take([ready(), *[make_event(event.model_dump()) for event in events]])
    collection.finish()
    assert ("gpu", "stage-in", "gcs") in seen.of("portfire_bytes_total")


def test_the_pool_of_an_executor_that_was_there_before_is_waited_for(
    collection: Collection, seen: Seen, clock: Clock
) -> None:
    collection.take([*Story(executor="old").run(), *Story("2", "silent").run()])
    clock.now = SETTLE_SECONDS + 1
    collection.take([])
    assert seen.of("portfire_jobs_total") == {}
    collection.take([executor_event("executor.heartbeat", 20, "old", pool="cpu", threads=1)])
    assert seen.of("portfire_jobs_total") == {("cpu", "COMPLETED"): 1}
    clock.now = POOL_SECONDS
    collection.take([])
    assert seen.of("portfire_jobs_total")["unknown", "COMPLETED"] == 1


def test_a_lost_run_that_turns_up_counts_in_its_true_state_too(
    collection: Collection, seen: Seen, clock: Clock
) -> None:
    story = Story()
    *begun, end = story.run()
    stopped = executor_event("executor.stopped", 5, "a")
    collection.take([ready(), *begun[:4], stopped])
    clock.now = SETTLE_SECONDS
    collection.take([])
    assert seen.of("portfire_jobs_total") == {}
    clock.now = LOST_SECONDS
    collection.take([])
    assert seen.of("portfire_jobs_total") == {("gpu", "lost"): 1}
    collection.take([*begun[4:], end])
    collection.finish()
    assert seen.of("portfire_jobs_total") == {("gpu", "lost"): 1, ("gpu", "COMPLETED"): 1}
    assert len(seen.of("portfire_job_seconds")) == 1, "its seconds are told once"


def test_gauges_say_how_things_stand_and_go_back_to_nothing(
    collection: Collection, seen: Seen
) -> None:
    now = time.time()
    beat = {"pool": "gpu", "threads": 4, "memory": 7, "disk": 9, "timestamp": now}
    collection.take(
        [
            make_event({"type": "executor.heartbeat", "executor": "a", **beat}),
            make_event({"type": "executor.heartbeat", "executor": "b", **beat, "disk": 5}),
            make_event({"type": "executor.draining", "executor": "b", "timestamp": now}),
            *list(Story().run(now - T0, state=None))[:4],
        ]
    )
    assert seen.of("portfire_executors") == {("gpu", "ready"): 1, ("gpu", "draining"): 1}
    assert seen.of("portfire_executor_slots") == {("gpu", "busy"): 1, ("gpu", "idle"): 7}
    assert seen.of("portfire_jobs_running") == {("gpu", "execution"): 1}
    assert seen.of("portfire_executor_memory_bytes") == {("gpu",): 7}
    assert seen.of("portfire_executor_disk_free_bytes") == {("gpu",): 5}
    gone = [
        make_event({"type": "executor.stopped", "executor": name, "timestamp": now + 1e6})
        for name in "ab"
    ]
    collection.take(gone)
    for name in ("executors", "executor_slots", "jobs_running", "executor_disk_free_bytes"):
        assert seen.of(f"portfire_{name}") == {}


def test_events_that_executors_lost_are_counted_from_when_we_came(
    collection: Collection, seen: Seen
) -> None:
    def beat(at: float, lost: int, executor: str = "a") -> Event:
        kind = "executor.heartbeat"
        return executor_event(kind, at, executor, pool="gpu", lost_events=lost)

    collection.take([beat(1, 10), beat(2, 12), ready("b"), beat(3, 3, "b")])
    collection.take([ready("b"), beat(9, 1, "b")])  # started again: counts anew
    collection.take([executor_event("executor.stopped", 10, "a", lost_events=16)])
    assert seen.of("portfire_events_lost_total") == {("gpu",): 2 + 3 + 1 + 4}


def test_garbage_makes_no_new_series_without_end(collection: Collection, seen: Seen) -> None:
    events = [
        decode(b'{"type": "job.%d", "executor": "e%d", "id": "%d", "name": "x"}' % (n, n, n))
        for n in range(300)
    ]
    events += [
        make_event({"type": "executor.ready", "executor": f"e{n}", "pool": f"pool {n}\n" * 50})
        for n in range(300)
    ]
    collection.take([*events, *Story(executor="e7", attempt=-3).run(-1e9)], malformed=3)
    collection.take([], malformed=5)
    collection.finish()
    assert seen.of("portfire_events_malformed_total") == {(): 5}
    assert seen.of("portfire_events_total")[("other",)] == 300
    assert all(value >= 0 for value in seen.values.values())
    for meter in METERS:
        assert len(seen.of(meter.name)) < 300
    assert all("\n" not in text for _, labels in seen.values for text in labels)


def test_a_collector_that_is_started_again_counts_no_job_twice(clock: Clock) -> None:
    before, after = list(Story("1").run()), list(Story("2").run(20.0))
    total = 0.0
    for events in ([ready(), *before, *after[:3]], after[3:]):
        seen = Seen()
        collection = Collection([seen], clock=clock)
        collection.take(events)
        collection.finish()
        total += sum(seen.of("portfire_jobs_total").values())
    assert total == 2
