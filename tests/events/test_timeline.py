"""The timeline: what ran where and when, whatever way the events came."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.job_run import Changes, Counters, JobRun
from events.timeline import Timeline
from events.types import Event
from tests.events.timelines import T0, Story, crowd, executor_event


def _folded(events: Iterable[Event], **options: int) -> Timeline:
    timeline = Timeline(**options)
    for event in events:
        timeline.add(event)
    return timeline


def _only(timeline: Timeline) -> JobRun:
    (run,) = timeline.runs()
    return run


def test_a_run_has_its_phases_bytes_and_end() -> None:
    run = _only(_folded(Story().run()))
    assert [(span.phase, span.start - T0, span.seconds, span.open) for span in run.spans] == [
        ("queued", -3.0, 3.0, False),
        ("stage-in", 0.0, 1.0, False),
        ("execution", 1.0, 7.0, False),
        ("stage-out", 8.0, 2.0, False),
    ]
    assert (run.state, run.started, run.ended, run.total) == ("COMPLETED", T0, T0 + 10, 10.0)
    assert (run.input_bytes, run.cached_bytes, run.output_bytes) == (1000, 200, 500)
    assert (run.name, run.thread, run.executable, run.exit_code) == ("align", 0, "bwa", 0)


def test_a_running_run_says_which_phase_it_is_in() -> None:
    events = list(Story().run())
    run = _only(_folded(events[:4]))
    assert (run.state, run.phase, run.ended) == ("running", "execution", None)
    assert run.spans[-1].open
    assert [span.open for span in run.spans[:-1]] == [False, False]


def test_progress_of_a_transfer_counts_until_its_end() -> None:
    story = Story()
    begin = [story.tell("started", 0), story.tell("stage-in.started", 0)]
    first = story.tell("stage-in.progress", 10, time=10.0, bytes=100)
    second = story.tell("stage-in.progress", 20, time=20.0, bytes=200)
    run = _only(_folded([*begin, second, first]))
    assert (run.input_bytes, run.seconds("stage-in"), run.running) == (200, 20.0, True)


def test_a_failure_has_its_phase_reason_and_last_output() -> None:
    story = Story()
    events = [
        *story.run(state=None),
        story.tell("execution.finished", 9, exit_code=3, output=["no reads", "giving up"]),
        story.tell("finished", 10, state="FIZZLED", phase="execution", reason="exit code 3"),
    ]
    run = _only(_folded(events))
    assert run.failed
    assert (run.phase, run.reason, run.exit_code) == ("execution", "exit code 3", 3)
    assert run.output == "no reads\ngiving up"


def test_a_missing_end_of_a_phase_is_where_the_next_begins() -> None:
    events = [event for event in Story().run() if event.type != "job.execution.finished"]
    run = _only(_folded(events))
    assert run.seconds("execution") == 7.0


def test_a_job_with_several_tasks_has_several_spans_of_a_phase() -> None:
    story = Story()
    first, second = list(story.run(state=None)), list(story.run(10, state=None))[1:]
    run = _only(_folded([*first, *second, story.tell("finished", 20, state="COMPLETED")]))
    assert run.seconds("execution") == 14.0
    assert run.input_bytes == 2000
    assert len(run.spans) == 7


def test_a_run_given_back_and_taken_up_again_is_two() -> None:
    story = Story()
    events = [
        story.tell("started", 0),
        story.tell("released", 2, reason="the executor stops"),
        *story.run(5),
    ]
    first, second = _folded(reversed(events)).runs()
    assert (first.state, first.ended) == ("released", T0 + 2)
    assert (second.state, second.started) == ("COMPLETED", T0 + 5)
    assert first.key != second.key


def test_late_words_of_a_cancelled_job_do_not_open_it_again() -> None:
    story = Story()
    events = [
        story.tell("started", 0),
        story.tell("execution.started", 0),
        story.tell("cancelled", 2, reason="defused"),
        story.tell("execution.finished", 3, time=3.0, exit_code=-15),
    ]
    run = _only(_folded(events))
    assert (run.state, run.ended) == ("cancelled", T0 + 3)


def test_a_run_whose_lease_was_lost_is_lost() -> None:
    story = Story()
    events = [story.tell("started", 0), story.tell("released", 60, reason="lease lost")]
    assert _only(_folded(events)).state == "lost"


def _died_at_40() -> list[Event]:
    """Executor a runs job 1 and says nothing any more after second 40."""
    return [
        executor_event("executor.ready", 0, threads=1, pool="gpu"),
        *list(Story().run())[:4],
        executor_event("executor.heartbeat", 10, threads=1, pool="gpu"),
        executor_event("executor.heartbeat", 40, threads=1, pool="gpu"),
    ]


def test_a_dead_executors_run_ends_at_its_last_heartbeat_when_it_is_silent() -> None:
    timeline = _folded(_died_at_40())
    timeline.tick(T0 + 100)
    assert _only(timeline).running
    timeline.tick(T0 + 131)
    run = _only(timeline)
    assert (run.state, run.phase, run.ended) == ("lost", "execution", T0 + 40)
    assert run.spans[-1].end == T0 + 40
    assert timeline.executors()[0].state == "lost"
    assert timeline.counters() == Counters(lost=1, input_bytes=1000)


def test_an_executor_that_speaks_again_takes_its_run_up_again() -> None:
    timeline = _folded(_died_at_40())
    timeline.tick(T0 + 131)
    timeline.add(executor_event("executor.heartbeat", 135))
    timeline.tick(T0 + 136)
    assert _only(timeline).running
    assert timeline.executors()[0].state == "ready"


def test_a_run_taken_up_elsewhere_ends_where_its_executor_was_last_heard_of() -> None:
    lost, again = _folded([*_died_at_40(), *Story(executor="b").run(100)]).runs()
    assert (lost.executor, lost.state, lost.ended) == ("a", "lost", T0 + 40)
    assert "executor b took" in str(lost.reason)
    assert (again.executor, again.state) == ("b", "COMPLETED")


def test_a_run_ends_with_its_executor() -> None:
    run = _only(_folded([*_died_at_40(), executor_event("executor.stopped", 50)]))
    assert (run.state, run.ended) == ("lost", T0 + 50)


def test_a_run_whose_end_was_lost_is_over_when_its_slot_has_another() -> None:
    first = list(Story("1").run())[:-1]
    events = [
        executor_event("executor.ready", 0, threads=1),
        *first,
        *Story("2").run(20),
        executor_event("executor.heartbeat", 30),
    ]
    lost, done = _folded(events).runs()
    assert (lost.state, lost.ended) == ("lost", T0 + 10)
    assert done.state == "COMPLETED"


def test_an_end_that_comes_late_is_not_taken_for_lost_meanwhile() -> None:
    *first, end = Story("1").run()
    timeline = _folded([executor_event("executor.ready", 0, threads=1), *first])
    timeline.add(Story("2").tell("started", 10.1))
    assert [run.state for run in timeline.runs()] == ["running", "running"]
    timeline.add(end)
    assert [run.state for run in timeline.runs()] == ["COMPLETED", "running"]


def test_the_dispatchers_end_of_a_lost_job_is_a_failure_in_no_slot() -> None:
    verdict = executor_event(
        "job.finished", 200, "dispatcher", id="1", state="FIZZLED", phase="job", reason="5 deaths"
    )
    timeline = _folded([verdict, *_died_at_40()])
    lost, failure = timeline.runs()
    assert (lost.state, lost.ended, lost.reason) == ("lost", T0 + 40, "5 deaths")
    assert (failure.state, failure.thread, failure.total) == ("FIZZLED", None, 0.0)
    assert [info.id for info in timeline.executors()] == ["a"]


def test_the_dispatchers_word_on_an_ended_job_is_the_last() -> None:
    verdict = executor_event(
        "job.finished",
        11,
        "dispatcher",
        id="1",
        state="FIZZLED",
        phase="job",
        reason="bad FWAction",
    )
    run = _only(_folded([*Story().run(), verdict]))
    assert (run.state, run.reason, run.executor) == ("FIZZLED", "bad FWAction", "a")


def test_clocks_that_differ_and_go_backwards_never_make_a_negative_time() -> None:
    story = Story()
    events = [
        story.tell("started", 100, queued=-5.0),
        story.tell("stage-in.started", 90),
        story.tell("stage-in.finished", 80),
        story.tell("execution.started", 70),
        story.tell("finished", 60, state="COMPLETED"),
    ]
    timeline = _folded([*events, *Story(executor="b", attempt=2).run(-5000)])
    assert len(timeline.runs()) == 2
    for run in timeline.runs():
        _check_times(run)


def test_rejected_messages_without_an_id_stay_apart() -> None:
    events = [executor_event("job.rejected", at, id="", reason="no JSON") for at in (1, 2)]
    timeline = _folded(events)
    assert timeline.counters().rejected == 2


def test_unknown_types_and_samples_make_no_run() -> None:
    events = [
        executor_event("job.reincarnated", 1, id="9"),
        executor_event("executor.dreaming", 2),
        executor_event("moon.rises", 3),
    ]
    timeline = _folded(events)
    assert timeline.runs() == []
    assert timeline.executors()[0].last_seen == T0 + 3


def test_an_executor_tells_of_itself() -> None:
    timeline = _folded(
        [
            executor_event(
                "executor.heartbeat",
                30,
                threads=8,
                busy=3,
                memory=10,
                disk=20,
                pool="gpu",
                load=1.5,
            ),
            executor_event("executor.ready", 0, host="vm-1", pool="gpu", threads=8),
            executor_event("executor.draining", 31, reason="preempted"),
        ]
    )
    (info,) = timeline.executors()
    assert (info.host, info.pool, info.threads, info.busy) == ("vm-1", "gpu", 8, 3)
    assert (info.memory, info.disk, info.load) == (10, 20, 1.5)
    assert (info.state, info.reason, info.heard) == ("draining", "preempted", T0 + 31)


def test_until_an_executor_tells_its_pool_it_is_that_of_its_jobs() -> None:
    timeline = _folded([event.model_copy(update={"pool": "cpu"}) for event in Story().run()])
    assert _only(timeline).pool == "cpu"
    timeline.add(executor_event("executor.heartbeat", 30, pool="gpu"))
    assert _only(timeline).pool == "gpu"


def test_a_pool_told_late_is_that_of_earlier_runs() -> None:
    timeline = _folded([*Story().run()])
    assert _only(timeline).pool is None
    timeline.add(executor_event("executor.heartbeat", 30, pool="gpu"))
    assert _only(timeline).pool == "gpu"


def test_only_what_changed_is_told() -> None:
    timeline = _folded([*Story("1").run(), *Story("2", thread=1).run()])
    first = timeline.changes_since(0)
    assert first.reset
    assert {run.id for run in first.runs} == {"1", "2"}
    assert timeline.changes_since(first.version).runs == ()
    timeline.add(Story("3", thread=2).tell("started", 20))
    second = timeline.changes_since(first.version)
    assert not second.reset
    assert [run.id for run in second.runs] == ["3"]
    assert second.counters.running == 1


def test_an_event_that_comes_again_changes_no_run() -> None:
    events = list(Story().run())
    timeline = _folded(events)
    before = timeline.changes_since(0)
    for event in events:
        timeline.add(event)
    assert timeline.changes_since(before.version).runs == ()


def test_the_jobs_that_ended_first_are_forgotten_and_stay_so() -> None:
    events = list(crowd(50, slots=8))
    timeline = Timeline(keep=10)
    seen: dict[str, JobRun] = {}
    version = 0
    for event in events:
        timeline.add(event)
        changes = timeline.changes_since(version)
        version = changes.version
        _apply(changes, seen)
    for event in events[:20]:
        timeline.add(event)
    assert [run.id for run in timeline.runs()] == [str(number) for number in range(40, 50)]
    assert timeline.counters().ended == 50
    _apply(timeline.changes_since(version), seen)
    assert set(seen) == {run.key for run in timeline.runs()}


def test_who_asks_after_too_long_gets_everything_anew() -> None:
    timeline = Timeline(keep=5)
    events = list(crowd(100, slots=8))
    for event in events[:100]:
        timeline.add(event)
    early = timeline.changes_since(0).version
    for event in events[100:]:
        timeline.add(event)
    assert timeline.changes_since(early).reset
    assert timeline.changes_since(10**9).reset


def test_one_new_job_among_thousands_is_all_that_is_told() -> None:
    timeline = _folded(crowd(3_000))
    assert timeline.counters().ended == 3_000
    assert len(timeline.executors()) == 25
    version = timeline.changes_since(0).version
    timeline.add(Story("new", "e1", 3).tell("started", 9_000))
    assert [run.id for run in timeline.changes_since(version).runs] == ["new"]


def _apply(changes: Changes, seen: dict[str, JobRun]) -> None:
    if changes.reset:
        seen.clear()
    for run in changes.runs:
        seen[run.key] = run
    for key in changes.removed:
        seen.pop(key, None)


def _check_times(run: JobRun) -> None:
    assert run.ended is None or run.ended >= run.started
    for span in run.spans:
        assert span.seconds >= 0.0
        assert run.ended is None or run.ended >= span.end
        assert run.ended is None or not span.open


_TYPES = (
    *("started", "stage-in.started", "stage-in.progress", "stage-in.finished"),
    *("execution.started", "execution.finished", "stage-out.started", "stage-out.finished"),
    *("finished", "released", "cancelled", "image-pull.finished"),
)
_seconds = st.floats(-50, 50).map(lambda seconds: round(seconds, 1))


@st.composite
def _job_events(draw: st.DrawFn) -> Event:
    """Any event of a few jobs, executors and slots, with any clock."""
    fields = {
        "id": draw(st.sampled_from("12")),
        "thread": draw(st.sampled_from((0, 1, None))),
        "attempt": draw(st.sampled_from((1, 2, None))),
        "seq": draw(st.none() | st.integers(1, 9)),
        "time": draw(st.none() | _seconds),
        "queued": draw(st.none() | _seconds),
        "reason": draw(st.sampled_from((None, "lease lost", "stopping"))),
        "state": draw(st.sampled_from(("COMPLETED", "FIZZLED"))),
    }
    kind = f"job.{draw(st.sampled_from(_TYPES))}"
    executor = draw(st.sampled_from(("a", "b", "dispatcher")))
    return executor_event(kind, draw(_seconds), executor, **fields)


@st.composite
def _executor_events(draw: st.DrawFn) -> Event:
    kind = draw(st.sampled_from(("ready", "heartbeat", "draining", "stopped")))
    pool = draw(st.sampled_from((None, "x", "y")))
    executor = draw(st.sampled_from("ab"))
    return executor_event(f"executor.{kind}", draw(_seconds), executor, pool=pool)


_events = st.lists(_job_events() | _executor_events(), min_size=1, max_size=25)


@settings(max_examples=100, deadline=None)
@given(_events, st.randoms(use_true_random=False), st.none() | st.floats(0, 300))
def test_any_order_and_any_repetition_give_the_same_timeline(
    events: list[Event], dice: random.Random, silent_at: float | None
) -> None:
    shuffled = [*events, *dice.choices(events, k=len(events) // 2)]
    dice.shuffle(shuffled)
    one, other = _folded(events), Timeline()
    for event in shuffled:
        other.add(event)
        if dice.random() < 0.3:
            other.changes_since(dice.randrange(20))  # whoever looks must not change what is seen
    for timeline in (one, other):
        if silent_at is not None:
            timeline.tick(T0 + silent_at)
    assert one.runs() == other.runs()
    assert one.executors() == other.executors()
    assert one.counters() == other.counters()
    for run in one.runs():
        _check_times(run)


@pytest.mark.parametrize("keep", [1, 5])
def test_memory_is_bounded_though_nobody_looks(keep: int) -> None:
    timeline = _folded(crowd(2_500, slots=8), keep=keep)
    assert len(timeline.runs()) == keep
